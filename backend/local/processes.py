"""The processes that `captionloop up` starts, each with a log, and ended with all its descendants.

Every program runs below a guard (`guard.py`), which ends it on request, and also when `up` is killed.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from captionloop.errors import BusyError, ServiceError
from captionloop.home import Home, read_json

_GUARD = Path(__file__).with_name("guard.py")
_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 30.0
# After running for this long a program counts as recovered, and its next crash is followed by a quick restart again.
_STEADY_AFTER_S = 60.0
# Time for the guard, beyond the program's own grace period, to kill what is left and to end itself.
_GUARD_GRACE_S = 4.0
_LARGEST_LOG_BYTES = 20_000_000


@dataclass(frozen=True)
class Program:
    """A command that is kept running; `name` is used in messages and for the log file."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path | None = None
    grace_s: float = 5.0  # between SIGTERM and SIGKILL


class Process:
    """A program and, while it runs, its guard."""

    def __init__(self, program: Program, *, log: Path) -> None:
        self.program = program
        self.log = log
        self._guard: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int | None:
        """The guard's process id; SIGTERM to it ends the program."""
        return self._guard.pid if self._guard else None

    @property
    def runtime_s(self) -> float:
        return time.monotonic() - self._started

    def start(self) -> None:
        """Start the program, also again after it has ended."""
        self.ask_to_stop()  # closes the pipe to the guard that has ended
        self.log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(self.log)
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self._guard = subprocess.Popen(
                # -I and -S: nothing but the standard library, so that it is up at once whatever the environment says.
                [sys.executable, "-I", "-S", str(_GUARD), str(self.program.grace_s), *self.program.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.program.environment),
                cwd=self.program.directory,
                start_new_session=True,  # a Ctrl-C on the terminal is for us alone
            )
        self._started = time.monotonic()

    def exit_code(self) -> int | None:
        """The program's exit code; None while it runs."""
        return self._guard.poll() if self._guard else None

    def require_running(self) -> None:
        """Check that the program has not ended.

        Raises:
            ServiceError: it has; the message contains the end of its log.
        """
        code = self.exit_code()
        if code is None:
            return
        tail = self.last_lines(12)
        raise ServiceError(
            f"{self.name} {how_it_ended(code)} while starting. Its log is {self.log}"
            + (f" and ends with:\n{tail}" if tail else ", and it is empty.")
        )

    def last_lines(self, count: int) -> str:
        """The end of the log, indented for a message."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 8192))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join("    " + line for line in lines[-count:])

    def ask_to_stop(self) -> None:
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()

    def wait_until_stopped(self) -> None:
        """Wait for the guard, which kills what does not end in time; as a last resort kill the guard."""
        if not self._guard:
            return
        try:
            self._guard.wait(self.program.grace_s + _GUARD_GRACE_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

    def stop(self) -> None:
        self.ask_to_stop()
        self.wait_until_stopped()


class Supervisor:
    """Starts programs, restarts those that crash, and stops all of them at the end of a `with` block."""

    def __init__(self, logs: Path, *, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._backoff_s: dict[str, float] = {}
        self._restart_at: dict[str, float] = {}
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, program: Program) -> Process:
        process = Process(program, log=self._logs / f"{program.name}.log")
        self.processes[program.name] = process
        process.start()
        return process

    def look_after(self) -> None:
        """Restart programs that have ended, after their delay. Call it about once a second."""
        for process in self.processes.values():
            code = process.exit_code()
            if code is not None:
                self._recover(process, code)

    def stop(self) -> None:
        """Stop everything in reverse order. Idempotent."""
        with _shielded_from_signals():
            processes = list(self.processes.values())[::-1]
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                process.wait_until_stopped()
        self.processes.clear()

    def _recover(self, process: Process, code: int) -> None:
        now = time.monotonic()
        if process.name not in self._restart_at:
            steady = process.runtime_s > _STEADY_AFTER_S
            backoff_s = _FIRST_BACKOFF_S if steady else self._backoff_s.get(process.name, _FIRST_BACKOFF_S)
            self._backoff_s[process.name] = min(2 * backoff_s, _LONGEST_BACKOFF_S)
            self._restart_at[process.name] = now + backoff_s
            self._say(
                f"{process.name} {how_it_ended(code)}; it is started again in {backoff_s:.0f} s. Its log: {process.log}"
            )
        elif now >= self._restart_at[process.name]:
            del self._restart_at[process.name]
            process.start()


def how_it_ended(code: int) -> str:
    """An exit code in words: "ended with exit code 3", "was killed by SIGKILL"."""
    if code > 128:
        try:
            return f"was ended by {signal.Signals(code - 128).name}"
        except ValueError:
            pass
    return f"ended with exit code {code}"


@contextmanager
def sole_owner(home: Home) -> Iterator[None]:
    """Exclude a second `captionloop up` in this home during the block.

    The lock is the kernel's (flock on the directory), so it is released when its process ends in any way.

    Raises:
        BusyError: another one holds the home.
    """
    handle = os.open(home.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not _lock(handle, patience_s=1.0):
            running = read_json(home.services)
            pid = f" (process {running['pid']})" if "pid" in running else ""
            raise BusyError(
                f"Captionloop is already running in {home.root}{pid}: end that one first, "
                "or set CAPTIONLOOP_HOME to another directory (and CAPTIONLOOP_PORT and "
                "CAPTIONLOOP_LABEL_STUDIO_PORT to other ports)."
            )
        yield
    finally:
        os.close(handle)


def is_owned(home: Home) -> bool:
    """Whether a `captionloop up` runs in this home; otherwise a services file is left from a crash."""
    try:
        handle = os.open(home.root, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP (a closed terminal) end the block as Ctrl-C does, with KeyboardInterrupt."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling({signal.SIGTERM: interrupt, signal.SIGHUP: interrupt, signal.SIGINT: interrupt}):
        yield


@contextmanager
def _shielded_from_signals() -> Iterator[None]:
    """Ignore further signals, so that a second Ctrl-C does not interrupt the shutdown."""
    with _handling(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN)):
        yield


@contextmanager
def _handling(handlers: Mapping[signal.Signals, Callable[[int, FrameType | None], None] | int]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_until(
    is_done: Callable[[], bool],
    *,
    meanwhile: Callable[[], None],
    within_s: float,
    too_late: str,
    looks_every_s: float = 0.1,
) -> None:
    """Wait for a process that was just started.

    Args:
        meanwhile: called each time that it is not done yet; may raise.
        too_late: the message when it was not done in time.

    Raises:
        ServiceError: it was not done in time.
    """
    deadline = time.monotonic() + within_s
    while not is_done():
        meanwhile()
        if time.monotonic() > deadline:
            raise ServiceError(too_late)
        time.sleep(looks_every_s)


def _lock(handle: int, *, patience_s: float) -> bool:
    """Take the lock, with retries in case `is_owned` holds it for a moment."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LARGEST_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
