"""A simulated device, "pretend", which is as strict as a GPU about the device of tensors.

Importing this registers it, by PyTorch's open registration, for the rest of the process: import it in one of its own.
A tensor "on" it holds an ordinary one and computes with that, so the numbers are the CPU's. What differs is what a GPU
refuses: an operator that is given tensors of both (a CPU tensor of no dimension, which is a number, aside), `numpy()`
without `cpu()`, and, as Apple's GPUs do, float64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

DEVICE = "pretend"

_aten = torch.ops.aten
# The only ones that may read from one device and write to another.
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
# Made by PyTorch as empty tensors that grow, which what holds another tensor cannot.
_MADE_HERE = ("arange", "arange.start", "arange.start_step", "eye", "eye.m", "empty_strided")


class MixedDevicesError(RuntimeError):
    """What a GPU's operators say as RuntimeError."""


class _Module:
    """What PyTorch, and we, ask of a kind of device; the counterpart of `torch.cuda`."""

    def is_initialized(self) -> bool:
        return True

    is_available = is_initialized

    def _is_in_bad_fork(self) -> bool:
        return False

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def manual_seed_all(self, seed: int) -> None:
        """Random numbers are drawn by the CPU's generator, which is seeded beside this."""

    def get_rng_state(self, device: object) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device: object) -> None:
        torch.set_rng_state(state)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def max_memory_allocated(self, device: object) -> int:
        return 2**20

    def empty_cache(self) -> None:
        pass

    synchronize = empty_cache


class _OnDevice(torch.Tensor):
    """A tensor on the device. `held` is the one on the CPU that has its numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> _OnDevice:
        if held.dtype is torch.float64:
            raise TypeError("the pretend device has no float64")
        # A view of a tensor from outside of inference mode is none of the mode's.
        with torch.inference_mode(held.is_inference()):
            made: _OnDevice = torch.Tensor._make_wrapper_subclass(
                cls,
                held.size(),
                held.stride(),
                held.storage_offset(),
                dtype=held.dtype,
                device=torch.device(f"{DEVICE}:0"),
            )
        made.held = held
        return made

    def __init__(self, held: torch.Tensor) -> None:
        pass

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(operator, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, *_: object, **__: object) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"{self.held!r} on {self.device}"


def _run(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute with what the tensors hold; the outcome lies where a GPU's operator would leave it."""
    parts = operator.decompose(*args, **kwargs)
    if parts is not NotImplemented:  # it was made of others, each of which came here
        return parts
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, _OnDevice)]
    if operator not in _COPIES:
        _refuse_strangers(operator, tensors)
    asked = kwargs.get("device")
    stays = bool(ours) if asked is None else torch.device(asked).type == DEVICE
    if asked is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    held_args, held_kwargs = tree_map_only(_OnDevice, lambda tensor: tensor.held, (args, kwargs))
    found = operator(*held_args, **held_kwargs)
    written_to = {id(tensor.held): tensor for tensor in ours}

    def wrapped(tensor: torch.Tensor) -> torch.Tensor:
        same = written_to.get(id(tensor))
        if same is None:
            return _OnDevice(tensor) if stays else tensor
        assert same.shape == tensor.shape, f"{operator} gave a tensor another shape, which this device cannot do"
        return same

    return tree_map_only(torch.Tensor, wrapped, found)


def _refuse_strangers(operator: Any, tensors: list[torch.Tensor]) -> None:
    strangers = [tensor for tensor in tensors if not isinstance(tensor, _OnDevice) and tensor.dim() > 0]
    if strangers:
        places = ", ".join(f"{tuple(tensor.shape)} on {tensor.device}" for tensor in tensors)
        raise MixedDevicesError(f"{operator} was given tensors of several devices: {places}")


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    held, read = ((tensor.held if isinstance(tensor, _OnDevice) else tensor) for tensor in (target, source))
    held.copy_(read)
    return target


def _register() -> tuple[torch.library.Library, ...]:
    _setup_privateuseone_for_python_backend(DEVICE, backend_module=_Module())
    anything, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    anything.fallback(lambda operator, *args, **kwargs: _run(operator, args, kwargs), "PrivateUse1")
    for name in _MADE_HERE:
        packet, _, overload = name.partition(".")
        operator = getattr(getattr(_aten, packet), overload or "default")
        aten.impl(name, lambda *args, operator=operator, **kwargs: _run(operator, args, kwargs), "PrivateUse1")
    aten.impl("_copy_from", _copy_from, "PrivateUse1")
    # Else `Module.to` puts new parameters into a module, and those that two modules share are two afterwards.
    torch.__future__.set_swap_module_params_on_conversion(True)
    return anything, aten  # what they registered goes with them


_KEPT = _register()
