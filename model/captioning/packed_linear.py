"""Weight matrices packed into oneDNN's memory layout, for constant weights on a CPU.

Plain `linear` repacks the whole matrix with each call. Packing once is always faster in bf16, and in fp32 where few
rows are multiplied by a large matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from captionloop.device import is_gpu
from captionloop.private_operators import Linear, pack_for_cpu

# In fp32. A packed call has a higher fixed cost: with 128 x 512 it takes 1.5 times as long as plain `linear`, with
# 768 x 3072 a fifth.
_FEW_ROWS, _LARGE = 64, 2**18


def packed(*linears: nn.Linear, rows: int) -> Linear:
    """Several linear layers with the same input, fused into one; their outputs are concatenated.

    Args:
        linears: with a bias each; their weights must not change afterwards.
        rows: typical number of input rows, for which the layout is chosen; any number is correct.
    """
    if len(linears) == 1:
        weight, bias = linears[0].weight.detach(), linears[0].bias.detach()
    else:
        weight = torch.cat([linear.weight.detach() for linear in linears])
        bias = torch.cat([linear.bias.detach() for linear in linears])
    if _is_worth_packing(weight, rows) and (pack := pack_for_cpu(weight.dtype)):
        return pack(weight, bias, rows)
    return lambda inputs: functional.linear(inputs, weight, bias)


def _is_worth_packing(weight: Tensor, rows: int) -> bool:
    if is_gpu(weight.device):
        return False
    if weight.dtype is torch.float32:
        return rows <= _FEW_ROWS and weight.numel() >= _LARGE
    return weight.dtype is torch.bfloat16
