"""A process group for data-parallel training, one process per GPU, started from within a run.

`torch.multiprocessing` starts them and ends all when one fails; `accelerate` connects them, by a file, so that no free
port is needed. The result is plain data in a file of the run's scratch directory.

On Linux all are forked from one process that has imported what they need, which takes seconds, and has made no CUDA
call. Elsewhere, as on macOS, a fork after such imports is not safe, and each imports for itself.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from captionloop import errors
from captionloop.errors import CaptionloopError, RunError
from captionloop.home import read_json, write_json
from captionloop.jobs.processes.end_with_parent import end_with_starter
from captionloop.logs import TEXT, log_to_stderr

_RESULT, _FAILURE, _MEETING = "result.json", "failure.json", "meeting"
# The main process validates while the others wait for it.
_LONGEST_WAIT = timedelta(hours=2)
_START_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
_IMPORTED_ONCE = ["accelerate", "captionloop.jobs.learning.finetune_run"]


def in_processes(
    function: Callable[..., Mapping[str, Any]],
    *arguments: Any,
    processes: int,
    device: str,
    scratch: Path,
    log_level: str,
    log_format: str = TEXT,
) -> dict[str, Any]:
    """Call a function in each process of a new group.

    Args:
        function: importable by module and name; returns plain data.
        arguments: of the function; they are pickled.
        processes: how many.
        device: a value of CAPTIONLOOP_DEVICE; on GPUs each process has its own.
        scratch: a directory for their communication.
        log_level: of the main process; the others log only errors.
        log_format: of all.

    Returns:
        The result of the function in the main process.

    Raises:
        RunError: there are too few GPUs, a process was killed, or it failed unexpectedly.
        CaptionloopError: raised by the function in a process.
    """
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

    from captionloop.device import chosen_device, device_count, is_gpu

    chosen = chosen_device(device)
    if is_gpu(chosen) and (there := device_count(chosen)) < processes:
        raise RunError(
            f"CAPTIONLOOP_PROCESSES is {processes}, and there are {there} GPUs ({chosen.type}); each process needs one "
            "of its own."
        )
    scratch.mkdir(parents=True, exist_ok=True)
    for name in (_RESULT, _FAILURE, _MEETING):
        (scratch / name).unlink(missing_ok=True)
    call = (dict(os.environ), processes, is_gpu(chosen), scratch, log_level, log_format, function, arguments)
    multiprocessing.set_forkserver_preload(_IMPORTED_ONCE)
    try:
        start_processes(_join_in, call, processes, start_method=_START_METHOD)  # type: ignore[no-untyped-call]
    except (ProcessRaisedException, ProcessExitedException) as error:
        failure = read_json(scratch / _FAILURE) or {"unexpected": str(error)}
        if "kind" in failure:
            raise getattr(errors, failure["kind"])(failure["message"]) from error
        raise RunError(f"One of {processes} processes that trained together failed: {failure['unexpected']}") from error
    return read_json(scratch / _RESULT)


def _join_in(
    rank: int,
    environment: dict[str, str],
    processes: int,
    on_gpus: bool,
    scratch: Path,
    log_level: str,
    log_format: str,
    function: Callable[..., Mapping[str, Any]],
    arguments: tuple[Any, ...],
) -> None:
    end_with_starter()
    os.environ.clear()
    os.environ.update(environment)
    # As torchrun sets them; read by torch and accelerate.
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    threads = max((os.cpu_count() or 1) // processes, 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    log_to_stderr(log_level if rank == 0 else "error", form=log_format)

    import torch
    from accelerate import PartialState

    torch.set_num_threads(threads)
    state = PartialState(
        cpu=not on_gpus,
        init_method=(scratch / _MEETING).as_uri(),
        rank=rank,
        world_size=processes,
        timeout=_LONGEST_WAIT,
    )
    try:
        result = function(*arguments)
    except Exception as error:
        _tell_failure(scratch / _FAILURE, error)
        raise
    if state.is_main_process:
        write_json(scratch / _RESULT, result)
    state.wait_for_everyone()
    state.destroy_process_group()


def _tell_failure(path: Path, error: Exception) -> None:
    if path.exists():  # the others then fail because this one is gone
        return
    if isinstance(error, CaptionloopError):
        write_json(path, {"kind": type(error).__name__, "message": str(error)})
    else:
        write_json(path, {"unexpected": f"{type(error).__name__}: {error}"})
