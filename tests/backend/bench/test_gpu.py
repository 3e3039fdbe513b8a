"""What the benchmark needs of a GPU. There is none here: `nvidia-smi` and the memory are stand-ins."""

import os
import time
from pathlib import Path

import pytest
import torch

from captionloop.backend.bench import plain
from captionloop.backend.bench.gpu_use import GpuUse

SAYS = """#!/bin/sh
case "$*" in *--id=GPU-1*) echo 80; echo 100; echo '[N/A]';; esac; echo ready > "$0.ready"
exec sleep 60
"""


def test_the_use_is_the_mean_of_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(SAYS)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    with GpuUse("GPU-1") as use:
        while not (tmp_path / "nvidia-smi.ready").exists():
            time.sleep(0.01)

    assert use.share == 0.9


def test_the_use_is_not_told_where_there_is_no_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with GpuUse("GPU-1") as use:
        pass

    assert use.share is None


class Clock:
    """Time as work takes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


@pytest.mark.parametrize(("room", "best"), [(100, 64), (40, 32)])
def test_the_plain_way_takes_the_batch_that_is_quickest_and_fits(
    room: int, best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def work(batch: int) -> None:
        if batch > room:
            raise torch.OutOfMemoryError
        clock.now += 20 + batch

    assert plain.quickest_batch(work) == best


def test_the_plain_way_takes_no_batch_that_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def work(batch: int) -> None:
        clock.now += batch

    assert plain.quickest_batch(work) == 8
