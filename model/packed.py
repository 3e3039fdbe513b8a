"""Matrices in the order in which a CPU's matrix unit reads them, for a model whose weights stay as they are.

Plain `linear` in bf16 puts the whole matrix into that order again with each call.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Linear = Callable[[Tensor], Tensor]
"""(..., in) to (..., out)."""


def packed(*linears: nn.Linear, rows: int) -> Linear:
    """Several matrices that read the same, as one whose output is theirs side by side.

    Args:
        linears: with a bias each; they may change afterwards only where nothing is packed, and then should not.
        rows: about how many will be multiplied at once; the order is chosen for it, and right for any number.
    """
    if len(linears) == 1:
        weight, bias = linears[0].weight.detach(), linears[0].bias.detach()
    else:
        weight = torch.cat([linear.weight.detach() for linear in linears])
        bias = torch.cat([linear.bias.detach() for linear in linears])
    if not _can_pack(weight):
        return lambda inputs: functional.linear(inputs, weight, bias)
    ordered = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return lambda inputs: torch.ops.mkldnn._linear_pointwise(inputs, ordered, bias, "none", [], "")


def _can_pack(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype is torch.bfloat16
        and torch._C._has_mkldnn
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
