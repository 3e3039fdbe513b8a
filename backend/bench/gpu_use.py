"""GPU utilisation, by `nvidia-smi`."""

from __future__ import annotations

import statistics
import subprocess
from contextlib import suppress
from types import TracebackType

_COMMAND = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=100"]


class GpuUse:
    """Use it in a `with` block.

    Args:
        gpu: its name in `nvidia-smi`.

    Attributes:
        share: of the block's time in which the GPU was busy, 0 to 1; None if unknown.
    """

    def __init__(self, gpu: str) -> None:
        self._gpu = gpu
        self.share: float | None = None

    def __enter__(self) -> GpuUse:
        self._process: subprocess.Popen[str] | None = None
        with suppress(FileNotFoundError):  # some containers have the driver without it
            self._process = subprocess.Popen([*_COMMAND, f"--id={self._gpu}"], stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        said, _ = self._process.communicate()
        percentages = [float(line) for line in said.splitlines() if line.strip().isdigit()]
        if percentages:
            self.share = statistics.mean(percentages) / 100
