"""The device of models, and everything in which kinds of devices differ.

No other module names a kind of GPU or uses its API (`torch.cuda`, `torch.mps`, `torch.xpu`); `tests/test_device.py`
checks that. `tests/test_on_another_device.py` runs encoder, decoder and training on a simulated device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from captionloop.errors import SettingsError

AUTO, CPU = "auto", "cpu"
KINDS = ("cuda", "mps", "xpu", CPU)
"""In order of preference. ROCm's PyTorch calls an AMD GPU "cuda"."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def chosen_device(name: str) -> torch.device:
    """The device for a setting.

    It may initialise a GPU's driver, which does not survive a fork: call it in the process that computes.

    Args:
        name: a value of CAPTIONLOOP_DEVICE: one of `KINDS`, or "auto" for the first available.

    Raises:
        SettingsError: the device is not available.
    """
    here = [kind for kind in KINDS if _is_here(kind)]
    if name == AUTO:
        return torch.device(here[0])
    if name not in here:
        raise SettingsError(
            f"CAPTIONLOOP_DEVICE is {name!r}, but PyTorch {torch.__version__} finds no such device here, only "
            f"{', '.join(here)}. Name one of these, leave it at auto, or install a PyTorch and a driver for {name}."
        )
    return torch.device(name)


def is_gpu(device: torch.device) -> bool:
    """Whether it is an accelerator: asynchronous, and faster with large batches."""
    return device.type != CPU


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the hardware has bf16 matrix instructions; without them bf16 is slower than fp32.

    False for Apple's GPUs: they accept bf16, but PyTorch does not tell which of them are faster with it.
    """
    if device.type == CPU:
        return bf16_unit_of_cpu() is not None
    is_supported = getattr(_module(device), "is_bf16_supported", None)
    return is_supported is not None and bool(is_supported(including_emulation=False))


def bf16_unit_of_cpu() -> str | None:
    """The CPU's bf16 instructions: "AMX", "AVX-512" or None."""
    has = torch.cpu.get_capabilities()
    return "AMX" if has.get("amx_tile") else "AVX-512" if has.get("avx512_bf16") else None


def device_name(device: torch.device) -> str:
    """The name of the GPU."""
    name_of = getattr(_module(device), "get_device_name", None)
    return str(name_of(device)) if name_of else f"GPU ({device.type})"


def nvidia_name(device: torch.device) -> str | None:
    """The name of an NVIDIA GPU in `nvidia-smi`."""
    if device.type != "cuda":
        return None
    return f"GPU-{_module(device).get_device_properties(device).uuid}"


def device_count(device: torch.device) -> int:
    """The number of devices of its kind."""
    return int(_module(device).device_count())


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that a process with this environment may use, by the names that CUDA_VISIBLE_DEVICES has for them.

    No driver is initialised. ROCm's PyTorch reads the same variable.
    """
    given = environment.get(_VISIBLE)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def seeing_only(gpu: str) -> dict[str, str]:
    """The variable of a process that may use this GPU alone."""
    return {_VISIBLE: gpu}


def peak_memory(device: torch.device) -> int | None:
    """Peak memory of tensors on a GPU so far, in bytes; None for the CPU.

    For Apple's GPUs, which do not record the peak, the present use.
    """
    if not is_gpu(device):
        return None
    module = _module(device)
    if hasattr(module, "max_memory_allocated"):
        return int(module.max_memory_allocated(device))
    return int(module.driver_allocated_memory())


def limit_memory(device: torch.device, share: float) -> None:
    """Limit this process to a share of the GPU's memory, 0 to 1."""
    if is_gpu(device):
        _module(device).set_per_process_memory_fraction(share)


def give_back_memory(device: torch.device) -> None:
    """Release the GPU memory that PyTorch's allocator caches."""
    if is_gpu(device):
        _module(device).empty_cache()


def wait_for(device: torch.device) -> None:
    """Synchronise with the device."""
    _module(device).synchronize()


def random_state(device: torch.device) -> Tensor | None:
    """State of a GPU's generator, uint8 on the CPU; None for the CPU, whose state is `torch.get_rng_state()`."""
    return _module(device).get_rng_state(device) if is_gpu(device) else None


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Restore a state of `random_state`."""
    _module(device).set_rng_state(state, device)


@contextmanager
def own_random_numbers(device: torch.device) -> Iterator[None]:
    """Isolates the random number generators of CPU and device within the block."""
    with torch.random.fork_rng(devices=[device] if is_gpu(device) else [], device_type=device.type):
        yield


def _is_here(kind: str) -> bool:
    return bool(torch.get_device_module(kind).is_available())


def _module(device: torch.device) -> Any:
    """PyTorch's module for devices of a kind, such as `torch.cuda`."""
    return torch.get_device_module(device)
