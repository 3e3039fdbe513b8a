"""Ports on this machine: listening, whether one is free, and which process uses it."""

import errno
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from captionloop.errors import BusyError, CaptionloopError, ServiceError, SettingsError

LOOPBACK = "127.0.0.1"
_LISTENING = "0A"  # the state TCP_LISTEN in /proc/net/tcp


def is_free(port: int) -> bool:
    """Whether nothing listens on `port` of this machine's loopback addresses, IPv4 and IPv6."""
    if _is_answered(port):
        return False
    try:
        _close(_bound(LOOPBACK, port))
    except OSError:
        return False
    return True


def require_free(port: int, *, variable: str, purpose: str, host: str = LOOPBACK) -> None:
    """Check that `purpose` can listen on `port`, and that nothing else answers there under the name localhost.

    Raises:
        BusyError, SettingsError, ServiceError: as `listen`.
    """
    if _is_answered(port):
        raise _taken(port, variable, purpose)
    _close(listen(port, variable=variable, purpose=purpose, host=host))


def listen(port: int, *, variable: str, purpose: str, host: str = LOOPBACK) -> list[socket.socket]:
    """Sockets that listen on `port` of each address that `host` stands for.

    Args:
        port: 0 takes a free one.
        variable: the setting that the port comes from.
        purpose: what will listen there, for messages.

    Raises:
        BusyError: something else listens there; the message says what, and names an alternative.
        SettingsError: `host` is not an address of this machine, or the port is privileged.
        ServiceError: the system refuses for another reason.
    """
    try:
        return _bound(host, port)
    except (OSError, UnicodeError) as error:  # Unicode: a name that is none, such as one of dots alone
        raise _refusal(error, host, port, variable, purpose) from error


def free_port() -> int:
    """A port that is free at this moment, chosen by the system."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def holder(port: int) -> str | None:
    """The program that listens on `port`, as "name (process 123)"; None when the system does not tell."""
    pid = _holder_from_proc(port) if Path("/proc/net/tcp").exists() else _holder_from_lsof(port)
    if pid is None:
        return None
    return f"{_program(pid)} (process {pid})"


def _bound(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)  # a name may be listed twice
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(address, family=family)) for family, address in addresses]
        stack.pop_all()
    return sockets


def _close(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()


def _refusal(error: OSError | UnicodeError, host: str, port: int, variable: str, purpose: str) -> CaptionloopError:
    number = getattr(error, "errno", None)
    begin = f"{purpose[0].upper()}{purpose[1:]} cannot listen on"
    if number == errno.EADDRINUSE:
        return _taken(port, variable, purpose)
    if number == errno.EACCES:
        return SettingsError(
            f"Port {port} for {purpose} is kept for root: set {variable} to one of 1024 or above, "
            f"for example {variable}={_free_above(7999 + port)}."
        )
    if isinstance(error, (socket.gaierror, UnicodeError)) or number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return SettingsError(
            f"{begin} {host!r}, which is no address of this machine: set CAPTIONLOOP_HOST to one that is, "
            "such as 127.0.0.1, or to 0.0.0.0 for all of them."
        )
    return ServiceError(f"{begin} port {port} of {host}: {error}.")


def _taken(port: int, variable: str, purpose: str) -> BusyError:
    found = holder(port)
    by = f" by {found}" if found else ""
    return BusyError(
        f"Port {port} for {purpose} is taken{by}: end that program or set {variable} to another port, "
        f"for example {variable}={_free_above(port)}."
    )


def _is_answered(port: int) -> bool:
    return _answers("127.0.0.1", port) or _answers("::1", port)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _free_above(port: int) -> int:
    candidates = range(port + 1, min(port + 200, 65536))
    return next((candidate for candidate in candidates if is_free(candidate)), None) or free_port()


def _holder_from_proc(port: int) -> int | None:
    inodes = set(_listening_inodes(port))
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            target = os.readlink(link)
        except OSError:  # another user's process, or one that has just ended
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            return int(link.parts[2])
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            column = row.split()
            if int(column[1].rpartition(":")[2], 16) == port and column[3] == _LISTENING:
                yield column[9]


def _holder_from_lsof(port: int) -> int | None:
    if not shutil.which("lsof"):
        return None
    try:
        answer = subprocess.run(
            ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fp"], capture_output=True, text=True, timeout=3
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"^p(\d+)$", answer.stdout, re.MULTILINE)
    return int(found.group(1)) if found else None


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a program"
