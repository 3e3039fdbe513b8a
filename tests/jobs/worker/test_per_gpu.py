"""`captionloop worker --gpus all`: what it starts on a machine with so many GPUs. Here is none."""

import os
import sys
from pathlib import Path

import pytest
import torch
from tests.support.forked import ForkedProcess
from tests.support.processes import alive, until

from captionloop.errors import SettingsError
from captionloop.jobs.worker.per_gpu import plan, run_each


def test_each_gpu_has_a_worker_that_sees_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)

    assert plan({"REDIS_URL": "redis://x"}) == [
        {"REDIS_URL": "redis://x", "CUDA_VISIBLE_DEVICES": str(number)} for number in range(8)
    ]


def test_only_gpus_that_were_allotted_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    made = plan({"CUDA_VISIBLE_DEVICES": "3, GPU-8f1c"})

    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in made] == ["3", "GPU-8f1c"]


def test_a_machine_without_a_gpu_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    with pytest.raises(SettingsError, match="finds no GPU here"):
        plan({})


def test_several_gpus_for_one_run_exclude_a_worker_for_each() -> None:
    with pytest.raises(SettingsError, match="CAPTIONLOOP_PROCESSES is 4, but"):
        plan({"CUDA_VISIBLE_DEVICES": "0,1", "CAPTIONLOOP_PROCESSES": "4"})


@pytest.mark.slow
def test_a_worker_that_is_killed_begins_again_and_all_end_with_the_command(tmp_path: Path) -> None:
    script = "import os, time; open(f'{os.environ[\"CUDA_VISIBLE_DEVICES\"]}-{os.getpid()}', 'w'); time.sleep(600)"
    environments = [{**os.environ, "CUDA_VISIBLE_DEVICES": gpu} for gpu in ("0", "1")]
    command = [sys.executable, "-S", "-c", script]

    def pids(gpu: str) -> list[int]:
        return [int(path.name.partition("-")[2]) for path in tmp_path.glob(f"{gpu}-*")]

    with ForkedProcess(run_each, command, environments, log=tmp_path / "log", environment=os.environ) as parent:
        until(lambda: bool(pids("0") and pids("1")))
        os.kill(pids("0")[0], 9)
        until(lambda: len(pids("0")) == 2)
        assert len(pids("1")) == 1
        parent.terminate()
    assert alive([*pids("0"), *pids("1")]) == []
