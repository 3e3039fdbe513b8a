"""Our commands as processes of their own that need not import PyTorch again: each is forked from one that has.

Importing takes 6 to 9 s of a core, more than most of what a test asks of such a process. Environment, output, current
directory and session are the process's own, as after `subprocess.Popen`; only what is read while importing or by the
interpreter (`OMP_…`, `PYTHON…`) is that of the server it is forked from. `tests/e2e/` starts the same commands in the
ordinary way.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from captionloop.backend.cli import main

# All that `captionloop worker`, `serve` and `train` import.
_IMPORTED = (
    "captionloop.backend.cli",
    "captionloop.backend.server.serve",
    "captionloop.jobs.entry",
    "captionloop.jobs.learning.finetune_run",
    "captionloop.jobs.worker.rq_worker",
    "captionloop.model.captioning.captioner",
    "captionloop.model.finetuning.folder_training",
    "captionloop.model.sweep.trials",
)
# `multiprocessing`'s own server, which has nothing of the test that asks.
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(list(_IMPORTED))


class ForkedProcess:
    """What `subprocess.Popen` offers of a process, for a function that is called in one forked for it.

    The function has to be importable by module and name, and its arguments are pickled.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        log: Path,
        environment: Mapping[str, str],
        start_new_session: bool = False,
    ) -> None:
        log.touch()  # there at once, for who reads it
        call = (function, arguments, log, dict(environment), Path.cwd(), start_new_session)
        self._process = _FORKED.Process(target=_called, args=call)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def __enter__(self) -> "ForkedProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.wait()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def forked_command(
    *arguments: str, log: Path, environment: Mapping[str, str], start_new_session: bool = False
) -> ForkedProcess:
    """`captionloop` with these arguments; what it prints and logs is added to `log`."""
    return ForkedProcess(main, arguments, log=log, environment=environment, start_new_session=start_new_session)


def _called(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    log: Path,
    environment: dict[str, str],
    directory: Path,
    starts_new_session: bool,
) -> None:
    gc.freeze()  # what is shared needs no look for garbage
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(directory)
    if starts_new_session:
        os.setsid()
    with log.open("ab") as file:
        for output in (1, 2):
            os.dup2(file.fileno(), output)
    function(*arguments)
