"""How busy the GPU is, as `nvidia-smi`, which comes with its driver, tells it."""

from __future__ import annotations

import statistics
import subprocess
from types import TracebackType

_COMMAND = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", "--loop-ms=100"]


class GpuUse:
    """Use it in a `with` block.

    Attributes:
        share: of the block's time in which the first GPU computed something, 0 to 1; None where it was not told.
    """

    def __init__(self) -> None:
        self.share: float | None = None

    def __enter__(self) -> GpuUse:
        self._process = subprocess.Popen(_COMMAND, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        said, _ = self._process.communicate()
        percentages = [float(line) for line in said.splitlines() if line.strip().isdigit()]
        if percentages:
            self.share = statistics.mean(percentages) / 100
