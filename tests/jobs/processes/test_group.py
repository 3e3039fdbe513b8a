"""Process groups: start, connection, common end, and errors."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.forked import ForkedProcess

from captionloop.errors import ImageError, RunCancelled, RunError
from captionloop.jobs.processes.group import in_processes

pytestmark = pytest.mark.slow


def run(function: Any, *arguments: Any, scratch: Path) -> dict[str, Any]:
    return in_processes(function, *arguments, processes=2, device="cpu", scratch=scratch, log_level="warning")


def added_up(amount: int) -> dict[str, Any]:
    import torch
    from accelerate import PartialState
    from accelerate.utils import reduce

    total = reduce(torch.tensor(amount + PartialState().process_index), "sum")
    return {"total": int(total), "rank": PartialState().process_index}


def cancelled_everywhere() -> dict[str, Any]:
    raise RunCancelled("The run was cancelled at step 3.")


def fails_in_the_second_alone(error: Exception) -> dict[str, Any]:
    from accelerate import PartialState

    if PartialState().process_index == 1:
        raise error
    PartialState().wait_for_everyone()
    return {}


def killed() -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def waits(directory: Path) -> dict[str, Any]:
    (directory / str(os.getpid())).touch()
    time.sleep(600)
    return {}


def waits_in_a_group(seen: Path, scratch: Path) -> None:
    run(waits, seen, scratch=scratch)


def test_processes_of_a_group_compute_together_and_the_main_one_answers(tmp_path: Path) -> None:
    assert run(added_up, 10, scratch=tmp_path) == {"total": 21, "rank": 0}


def test_an_error_that_all_processes_raise_is_raised(tmp_path: Path) -> None:
    with pytest.raises(RunCancelled, match="cancelled at step 3"):
        run(cancelled_everywhere, scratch=tmp_path)


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (ImageError("image 7 cannot be read"), ImageError, "image 7 cannot be read"),
        (ValueError("odd"), RunError, "One of 2 processes that trained together failed: ValueError: odd"),
    ],
)
def test_a_process_that_fails_does_not_leave_the_other_waiting(
    tmp_path: Path, raised: Exception, expected: type[Exception], message: str
) -> None:
    with pytest.raises(expected, match=message):
        run(fails_in_the_second_alone, raised, scratch=tmp_path)


@pytest.mark.faults
def test_a_process_that_is_killed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"One of 2 processes that trained together failed: .*SIGKILL"):
        run(killed, scratch=tmp_path)


@pytest.mark.faults
def test_processes_of_a_group_end_when_their_parent_was_killed(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    parent = ForkedProcess(waits_in_a_group, seen, tmp_path, log=tmp_path / "log.txt", environment=os.environ)
    _wait_until(lambda: len(list(seen.iterdir())) == 2)
    parent.kill()
    parent.wait()
    children = [int(path.name) for path in seen.iterdir()]
    _wait_until(lambda: not any(map(_is_alive, children)))


def _wait_until(true: Any, *, within_s: float = 180) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def _is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
