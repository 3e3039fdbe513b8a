"""Ports on this machine: whether one is free, and who holds one that is not."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from captionloop.errors import BusyError

LOOPBACK = "127.0.0.1"
_LISTENING = "0A"  # the state TCP_LISTEN in /proc/net/tcp


def is_free(port: int, *, host: str = LOOPBACK) -> bool:
    """True when nothing listens on `port`, neither on `host` nor under the name localhost (which may be IPv6)."""
    if _answers("127.0.0.1", port) or _answers("::1", port):
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Without it a port would count as taken for a minute after its server stopped (TIME_WAIT).
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free(port: int, *, variable: str, purpose: str, host: str = LOOPBACK) -> None:
    """Make sure that `purpose` can listen on `port`.

    Raises:
        BusyError: something else does; the message says what, and which variable moves us elsewhere.
    """
    if is_free(port, host=host):
        return
    found = holder(port)
    by = f" by {found}" if found else ""
    raise BusyError(
        f"Port {port} for {purpose} is taken{by}: end that program or set {variable} to another port, "
        f"for example {variable}={_free_above(port)}."
    )


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
