"""Processes that stand still: stopped by SIGSTOP, of which no code of ours hears, and continued by SIGCONT."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress

from sqlalchemy import make_url

Pids = Callable[[], Collection[int]]


@contextmanager
def stopped(pids: Pids, *, database: str = "") -> Iterator[None]:
    """Let processes stand still for the block.

    Args:
        pids: tells which; asked again for those that they started meanwhile.
        database: the address of a SQLite database that none of them may have locked then, as nobody else could write
            to it until they go on.
    """
    while True:
        _signal(pids, signal.SIGSTOP)
        _signal(pids, signal.SIGSTOP)  # also what was forked in between
        if not database or _can_be_written(database):
            break
        _signal(pids, signal.SIGCONT)
        time.sleep(0.01)
    try:
        yield
    finally:
        _signal(pids, signal.SIGCONT)


def _signal(pids: Pids, number: signal.Signals) -> None:
    for pid in pids():
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _can_be_written(url: str) -> bool:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return True
    with closing(sqlite3.connect(str(parsed.database), timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True
