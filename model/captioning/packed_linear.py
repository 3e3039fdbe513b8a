"""Matrices in the order in which a CPU's matrix unit reads them, for a model whose weights stay as they are.

Plain `linear` puts the whole matrix into that order again with each call. In bf16 that always costs more than it is
worth; in fp32 where few rows are multiplied by a large matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from captionloop.device import is_gpu
from captionloop.private_operators import Linear, pack_for_cpu

# In fp32. A call of a packed matrix takes longer to begin: of 128 x 512 it takes one and a half of plain `linear`'s
# time, of 768 x 3072 a fifth.
_FEW_ROWS, _LARGE = 64, 2**18


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
    if _is_worth_packing(weight, rows) and (pack := pack_for_cpu(weight.dtype)):
        return pack(weight, bias, rows)
    return lambda inputs: functional.linear(inputs, weight, bias)


def _is_worth_packing(weight: Tensor, rows: int) -> bool:
    if is_gpu(weight.device):
        return False
    if weight.dtype is torch.float32:
        return rows <= _FEW_ROWS and weight.numel() >= _LARGE
    return weight.dtype is torch.bfloat16
