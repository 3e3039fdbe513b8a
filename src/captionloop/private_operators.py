"""PyTorch's operators without a public name, which any release may drop or change.

Each is looked up once and checked on a small example. If it is missing, fails, or disagrees with the public modules, a
warning is logged and the public ones are used: the same captions and gradients, but slower.

Shapes: R rows, I and O inputs and outputs of a matrix, P keys that a query looks at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

_log = logging.getLogger(__name__)

T = TypeVar("T")

Linear = Callable[[Tensor], Tensor]
"""(..., I) to (..., O)."""
Pack = Callable[[Tensor, Tensor, int], Linear]
"""A weight (O, I), a bias (O,) and the expected number of rows, to a packed linear layer."""
SoftmaxBackward = Callable[[Tensor, Tensor], Tensor]
"""The gradient of softmax's output and the output, each (..., P), to the gradient of its input."""

# Of sums of some dozen products of numbers up to 1.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


@cache
def pack_for_cpu(dtype: torch.dtype) -> Pack | None:
    """The function that packs a weight matrix into oneDNN's layout once, instead of at each call of plain `linear`.

    Args:
        dtype: float32 or bfloat16.

    Returns:
        None if PyTorch or the CPU does not support it.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    if dtype is torch.bfloat16 and not _multiplies_bf16():
        return None
    return _tried(f"packed matrices in {dtype}", _mkldnn_linear, lambda pack: _multiplies_as_linear(pack, dtype))


@cache
def softmax_backward() -> SoftmaxBackward:
    """The backward pass of softmax over the last dimension, on the CPU, in float32 and bfloat16."""
    found = _tried("softmax's backward pass", lambda: _softmax_backward_data, _gives_the_gradient_of_softmax)
    return found or _plain_softmax_backward


def _tried(what: str, look_up: Callable[[], T], agrees: Callable[[T], bool]) -> T | None:
    try:
        operator = look_up()
        if agrees(operator):
            return operator
        problem = "it answers otherwise than the plain modules"
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:  # what a missing or changed operator raises
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
    _log.warning("PyTorch %s: no %s (%s); the plain way is taken, which is slower", torch.__version__, what, problem)
    return None


def _mkldnn_linear() -> Pack:
    reorder, multiply = torch.ops.mkldnn._reorder_linear_weight, torch.ops.mkldnn._linear_pointwise

    def pack(weight: Tensor, bias: Tensor, rows: int) -> Linear:
        ordered = reorder(weight, rows)
        return lambda inputs: multiply(inputs, ordered, bias, "none", [], "")

    return pack


def _multiplies_bf16() -> bool:
    supported = _tried(
        "word on bfloat16 from oneDNN",
        lambda: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        lambda operator: isinstance(operator(), bool),
    )
    return supported is not None and bool(supported())


@torch.no_grad()
def _multiplies_as_linear(pack: Pack, dtype: torch.dtype) -> bool:
    weight, bias = _some(80, 48).to(dtype), _some(80).to(dtype)
    multiply = pack(weight, bias, 24)
    # Other numbers of rows than the one it was packed for, and more than two dimensions, as captions come.
    for inputs in (_some(3, 48), _some(24, 48), _some(2, 65, 48)):
        plain = functional.linear(inputs, weight.float(), bias.float())
        if not _is_close(multiply(inputs.to(dtype)), plain, dtype):
            return False
    return True


def _softmax_backward_data(of_outcome: Tensor, outcome: Tensor) -> Tensor:
    return torch._softmax_backward_data(of_outcome, outcome, -1, outcome.dtype)


def _plain_softmax_backward(of_outcome: Tensor, outcome: Tensor) -> Tensor:
    """dL/ds_i = p_i (dL/dp_i - sum over j of p_j dL/dp_j) for p = softmax(s)."""
    return outcome * (of_outcome - (of_outcome * outcome).sum(dim=-1, keepdim=True))


@torch.no_grad()
def _gives_the_gradient_of_softmax(operator: SoftmaxBackward) -> bool:
    outcome, of_outcome = _some(2, 5, 33).softmax(dim=-1), _some(2, 5, 33)
    plain = _plain_softmax_backward(of_outcome, outcome)
    return all(_is_close(operator(of_outcome.to(dtype), outcome.to(dtype)), plain, dtype) for dtype in _TOLERANCE)


def _some(*shape: int) -> Tensor:
    """Numbers between -1 and 1, the same each time; PyTorch's random numbers are left alone."""
    count = torch.Size(shape).numel()
    return torch.arange(1.0, count + 1).square().sin().view(shape)


def _is_close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    tolerance = _TOLERANCE[dtype]
    return found.dtype is dtype and torch.allclose(found.float(), expected, rtol=tolerance, atol=tolerance)
