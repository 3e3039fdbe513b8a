"""Real processes of ours, to be killed: the worker as a command of its own, and what is still there afterwards."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from captionloop.home import Home
from tests.support.forked import ForkedProcess, forked_command

COMMAND = (sys.executable, "-c", "from captionloop.backend.cli import main; main()")


@contextmanager
def running_worker(home: Home, redis_url: str, log: Path, **variables: str) -> Iterator[ForkedProcess]:
    """The worker's own process; what it says is in `log`. Without other variables nobody answers as Label Studio."""
    environment = {
        "CAPTIONLOOP_HOME": str(home.root), "REDIS_URL": redis_url, "CAPTIONLOOP_LOG_FORMAT": "json",
        "LABEL_STUDIO_URL": "http://localhost:9", "LABEL_STUDIO_API_KEY": "5" * 40,
    }  # fmt: skip
    with running("worker", log=log, environment=environment | variables) as process:
        yield process


@contextmanager
def running(command: str, *, log: Path, environment: Mapping[str, str]) -> Iterator[ForkedProcess]:
    """Another command that goes on by itself, as a process; killed at the end if it is still there."""
    with forked_command(command, log=log, environment={**os.environ, **environment}) as process:
        try:
            yield process
        finally:
            process.kill()


def until(holds: Callable[[], bool], *, within_s: float = 180, every_s: float = 0.1) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(every_s)


def alive(pids: Iterable[int]) -> list[int]:
    """Those of the processes that still run; a zombie does not."""
    return [pid for pid in pids if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
