"""Runs one command, and ends all its processes with `captionloop up`. A script, started by `processes.py`.

    python guard.py GRACE_S COMMAND…

Its standard input is a pipe that only `up` holds open. When the pipe closes, because `up` asked for it or because it
was killed in whatever way, or when SIGTERM comes, the command's process group gets SIGTERM and, GRACE_S seconds later,
every process that descends from it gets SIGKILL. On Linux that reaches processes which left the group and lost their
parent (the worker puts each job in a session of its own), because the guard is their "child subreaper".

It imports nothing of ours, so that four of them take little memory and start at once.
"""

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.05


def main(grace_s: float, command: list[str]) -> int:
    """Run `command` until it ends or must stop; returns its exit code (128 + N if signal N ended it)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wakes, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, _note)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = _start(command)
    status = _wait(child, wakes)
    if status is None:
        status = _end(child, grace_s)
    _kill_descendants()
    code = -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


_asked_to_stop = False


def _note(number: int, _: object) -> None:
    global _asked_to_stop
    _asked_to_stop = _asked_to_stop or number == signal.SIGTERM


def _start(command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # should the guard itself be killed
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(127)


def _wait(child: int, wakes: int) -> int | None:
    """The child's status once it has ended; None as soon as it must be stopped."""
    while True:
        status = _reap(child)
        if status is not None:
            return status
        ready, _, _ = select.select([0, wakes], [], [])
        if wakes in ready:
            os.read(wakes, 4096)
        if _asked_to_stop or 0 in ready:
            return None


def _end(child: int, grace_s: float) -> int | None:
    _signal_group(child, signal.SIGTERM)
    status = None
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        ended = _reap(child)
        status = ended if ended is not None else status
        if status is not None:
            return status
        time.sleep(_POLL_S)
    _signal_group(child, signal.SIGKILL)
    return None


def _reap(child: int) -> int | None:
    """Collect everything that has ended; the status of `child` when that is among it."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _kill_descendants() -> None:
    """SIGKILL all descendants, repeatedly until none is left, since a dying process may just have started another."""
    for _ in range(100):
        left = _descendants(os.getpid())
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)
        _reap(-1)


def _descendants(ancestor: int) -> list[int]:
    parents = _parents()
    found = [ancestor]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def _parents() -> dict[int, int]:
    """The parent of every process; empty where there is no /proc, and there only the process group is ended."""
    parents = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    # The second field, the program's name in brackets, may hold spaces and brackets itself.
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    return parents


def _signal_group(leader: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
