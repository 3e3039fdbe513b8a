"""A worker on each GPU of a machine, each in a process that sees only its own."""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from types import FrameType

from captionloop.device import seeing_only, visible_gpus
from captionloop.errors import SettingsError
from captionloop.jobs.processes.end_with_parent import end_with

_log = logging.getLogger(__name__)

# Between two checks, and so between the end of a worker and its successor.
_LOOK_EVERY_S = 5.0


def plan(environment: Mapping[str, str]) -> list[dict[str, str]]:
    """The environment of each worker.

    Args:
        environment: of this process; if its CUDA_VISIBLE_DEVICES names GPUs, only these get a worker.

    Raises:
        SettingsError: there is no GPU, or a run is to use several.
    """
    gpus = visible_gpus(environment)
    if not gpus:
        raise SettingsError("PyTorch finds no GPU here, so --gpus all would start no worker. Leave it out.")
    if environment.get("CAPTIONLOOP_PROCESSES", "1") != "1":
        raise SettingsError(
            f"CAPTIONLOOP_PROCESSES is {environment['CAPTIONLOOP_PROCESSES']}, but with --gpus all each worker has one "
            "GPU. Leave one of the two out."
        )
    return [{**environment, **seeing_only(gpu)} for gpu in gpus]


def run_each(command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> None:
    """Keep a process running in each environment until SIGINT or SIGTERM, which all of them then get as SIGTERM."""
    told_to_end = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        told_to_end.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    running = [_started(command, environment) for environment in environments]
    while not told_to_end.wait(_LOOK_EVERY_S):
        for place, environment in enumerate(environments):
            if (code := running[place].poll()) is not None:
                _log.error("worker %d of %d ended with %d; another one begins", place + 1, len(running), code)
                running[place] = _started(command, environment)
    for process in running:
        process.terminate()
    for process in running:
        process.wait()


def _started(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=dict(environment),
        start_new_session=True,  # a Ctrl-C on the terminal is for us alone: RQ takes a second signal as "at once"
        preexec_fn=partial(end_with, os.getpid()),
    )
