"""The lease of those who write below the directory of versions, on whichever host.

Each holds a shared lock on one file for as long as it writes, and the sweep of leftovers an exclusive one: so the sweep
finds nobody at work, and whatever has no row then was left by a crash. The kernel, or the file server, releases the
lock of a process that was killed, and keeps that of a paused one. NFS passes `flock` on to its server.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_log = logging.getLogger(__name__)

_LOCK = ".lock"


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Keep the sweep away for the time of a block; waits for the end of one that is under way."""
    with _locked(directory, fcntl.LOCK_SH):
        yield


@contextmanager
def nobody_writing(directory: Path) -> Iterator[bool | None]:
    """Keep writers away for the time of a block, which should be short.

    Yields:
        Whether nobody writes now; None where the file system has no locks.
    """
    with _locked(directory, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_held:
        yield is_held


@contextmanager
def _locked(directory: Path, kind: int) -> Iterator[bool | None]:
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _take(handle, kind)
    finally:
        os.close(handle)


def _take(handle: int, kind: int) -> bool | None:
    try:
        fcntl.flock(handle, kind)
    except BlockingIOError:
        return False
    except OSError as error:
        _log.debug("files cannot be locked here (%s)", error)
        return None
    return True
