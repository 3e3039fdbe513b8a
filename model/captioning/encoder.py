"""BLIP's image encoder for inference: constant weights, no gradients.

`training/encoder.py` is its pair: the same network with gradients. Here matrices are packed (`packed_linear`), and
attention is the faster of two: PyTorch's fused kernel, or matrix products one picture at a time, whose scores fit into
the CPU's cache (`captionloop bench`, docs/performance.md).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.blip.modeling_blip import BlipEncoderLayer, BlipVisionModel

from captionloop.device import bf16_unit_of_cpu, is_gpu
from captionloop.model.captioning.packed_linear import packed

# Matrices are packed for a number of rows; this is the number of patches of a picture of 384 x 384.
_packed = partial(packed, rows=577)


class ImageEncoder:
    """The encoder of a model in evaluation mode. After a change of the weights, make a new one."""

    def __init__(self, encoder: BlipVisionModel) -> None:
        self._embeddings, self._norm = encoder.embeddings, encoder.post_layernorm
        self._layers = [_Layer(layer) for layer in encoder.encoder.layers]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode pictures.

        Args:
            pixels: (images, 3, side, side), in the encoder's dtype.

        Returns:
            (images, patches + 1, vision hidden).
        """
        hidden: Tensor = self._embeddings(pixels)
        for layer in self._layers:
            hidden = layer(hidden)
        normed: Tensor = self._norm(hidden)
        return normed


class _Layer:
    def __init__(self, layer: BlipEncoderLayer) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._heads, self._scale = attention.num_heads, attention.scale
        self._norm_1, self._norm_2 = layer.layer_norm1, layer.layer_norm2
        self._qkv, self._projection = _packed(attention.qkv), _packed(attention.projection)
        self._wide, self._activation, self._narrow = _packed(mlp.fc1), mlp.activation_fn, _packed(mlp.fc2)
        self._attend = _by_products if _products_are_quicker(attention.qkv.weight) else _fused

    def __call__(self, hidden: Tensor) -> Tensor:
        images, patches, width = hidden.shape
        qkv = self._qkv(self._norm_1(hidden)).view(images, patches, 3, self._heads, width // self._heads)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        read = self._attend(queries, keys, values, self._scale).transpose(1, 2).reshape(images, patches, width)
        hidden = hidden + self._projection(read)
        return hidden + self._narrow(self._activation(self._wide(self._norm_2(hidden))))


def _fused(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    return functional.scaled_dot_product_attention(queries, keys, values, scale=scale)


def _by_products(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention by matrix products: queries, keys and values (images, heads, patches, head size) to the same."""
    read = torch.empty(queries.shape, dtype=queries.dtype)
    scores = torch.empty(*queries.shape[1:3], keys.shape[2], dtype=queries.dtype)
    shares = torch.empty_like(scores)
    for query, key, value, out in zip(queries, keys, values, read, strict=True):
        torch.baddbmm(scores, query, key.transpose(1, 2), beta=0, alpha=scale, out=scores)
        torch.softmax(scores, dim=-1, out=shares)
        torch.bmm(shares, value, out=out)
    return read


def _products_are_quicker(weight: Tensor) -> bool:
    """In bf16 on a CPU without AMX: PyTorch's fused attention uses bf16 instructions only with AMX."""
    return not is_gpu(weight.device) and weight.dtype is torch.bfloat16 and bf16_unit_of_cpu() != "AMX"
