"""Speed of the machine: matrix products and memory bandwidth, measured with PyTorch."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from captionloop.device import bf16_unit_of_cpu, computes_in_bf16, device_name, give_back_memory, is_gpu, wait_for

_SIDE, _GPU_SIDE = 4096, 8192  # of the matrices
_COPIED_BYTES = 512 * 2**20  # more than any cache holds
_LOOKS = 5  # measurements, of which the best counts: other processes can only slow it down


@dataclass(frozen=True)
class Machine:
    """
    Args:
        name: of the CPU or GPU, with the number of usable cores.
        bf16_unit: the bf16 instructions: "AMX", "AVX-512" or "GPU"; None without.
        fp32, bf16: rate of matrix products, in FLOP/s; `bf16` is None without bf16 instructions, as PyTorch would take
            minutes.
        memory: bandwidth of copying (read and written), in bytes per second.
        load: the load average of the last minute, before the measurement.
    """

    name: str
    bf16_unit: str | None
    fp32: float
    bf16: float | None
    memory: float
    load: float
    torch: str

    @property
    def products(self) -> float:
        """The rate of matrix products in the dtype that we compute in: bf16 if supported, else fp32."""
        return self.bf16 or self.fp32

    @property
    def bytes_each(self) -> int:
        """Bytes per number of that dtype."""
        return 2 if self.bf16 else 4


def look_at_machine(device: torch.device) -> Machine:
    """Measure the CPU, or a GPU."""
    load = os.getloadavg()[0]
    unit = _bf16_unit(device)
    machine = Machine(
        name=_name(device),
        bf16_unit=unit,
        fp32=_products(torch.float32, device),
        bf16=_products(torch.bfloat16, device) if unit else None,
        memory=_memory(device),
        load=load,
        torch=torch.__version__,
    )
    give_back_memory(device)  # for those who are compared
    return machine


def _products(dtype: torch.dtype, device: torch.device) -> float:
    side = _GPU_SIDE if is_gpu(device) else _SIDE
    first, second = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _best(lambda: first @ second, device)


def _memory(device: torch.device) -> float:
    source = torch.ones(_COPIED_BYTES, dtype=torch.uint8, device=device)  # zeros would all be one page of memory
    target = torch.ones_like(source)
    return 2 * _COPIED_BYTES / _best(lambda: target.copy_(source), device)


def _best(work: Callable[[], object], device: torch.device) -> float:
    """Seconds."""
    best = float("inf")
    for _ in range(1 + _LOOKS):  # the first one warms up, and never is the best
        begun = time.perf_counter()
        work()
        wait_for(device)
        best = min(best, time.perf_counter() - begun)
    return best


def _name(device: torch.device) -> str:
    if is_gpu(device):
        return device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {torch.get_num_threads()} cores"


def _bf16_unit(device: torch.device) -> str | None:
    if is_gpu(device):
        return "GPU" if computes_in_bf16(device) else None
    return bf16_unit_of_cpu()
