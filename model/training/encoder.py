"""BLIP's image encoder for training: the modules are those of `transformers`, the forward pass is ours.

`captioning/encoder.py` is its pair: the same network without gradients.

`BlipAttention` materialises all attention scores (577 x 577 for each head of each layer of BLIP-base). PyTorch's fused
attention does not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.models.blip.modeling_blip import BlipAttention, BlipEncoderLayer, BlipVisionModel

from captionloop.device import is_gpu
from captionloop.private_operators import softmax_backward


def encode_images(
    encoder: BlipVisionModel, pixels: Tensor, *, dtype: torch.dtype | None = None, recompute: bool = False
) -> Tensor:
    """The same as `encoder(pixel_values=pixels).last_hidden_state`, with gradients.

    Args:
        encoder: in evaluation or training mode.
        pixels: (images, 3, side, side), in the encoder's dtype.
        dtype: of the activations, under autocast; default: the encoder's.
        recompute: gradient checkpointing; needs less memory, and a third more time.

    Returns:
        (images, patches + 1, vision hidden).
    """
    hidden: Tensor = encoder.embeddings(pixels)
    hidden = hidden.to(dtype or hidden.dtype)
    for layer in encoder.encoder.layers:
        hidden = checkpoint(_layer, layer, hidden, use_reentrant=False) if recompute else _layer(layer, hidden)
    normed: Tensor = encoder.post_layernorm(hidden)
    return normed


def _layer(layer: BlipEncoderLayer, hidden: Tensor) -> Tensor:
    hidden = hidden + _attend(layer.self_attn, layer.layer_norm1(hidden))
    return hidden + layer.mlp(layer.layer_norm2(hidden))


def _attend(attention: BlipAttention, hidden: Tensor) -> Tensor:
    images, patches, width = hidden.shape
    qkv = attention.qkv(hidden).view(images, patches, 3, attention.num_heads, attention.head_dim)
    queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
    dropout = attention.dropout.p if attention.training else 0.0
    if qkv.requires_grad and not is_gpu(qkv.device) and not dropout:
        read: Tensor = _Attention.apply(queries, keys, values, attention.scale)  # type: ignore[no-untyped-call]
    else:
        read = functional.scaled_dot_product_attention(queries, keys, values, scale=attention.scale, dropout_p=dropout)
    return attention.projection(read.transpose(1, 2).reshape(images, patches, width))


class _Attention(torch.autograd.Function):
    """Fused attention whose backward pass is matrix products, one picture at a time.

    PyTorch's own backward pass on a CPU takes twice as long in bf16, as it does not use AMX.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(queries, keys, values)
        ctx.scale = scale
        return functional.scaled_dot_product_attention(queries, keys, values, scale=scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, values = ctx.saved_tensors
        to_scores = softmax_backward()
        found = queries.new_empty(len(queries), 3, *queries.shape[1:])
        for picture, (query, key, value, gradient) in enumerate(zip(queries, keys, values, *gradients, strict=True)):
            query = query * ctx.scale
            shares = (query @ key.transpose(1, 2)).softmax(dim=-1)
            of_shares = gradient @ value.transpose(1, 2)
            of_scores = to_scores(of_shares, shares)
            torch.matmul(of_scores, key, out=found[picture, 0]).mul_(ctx.scale)
            torch.matmul(of_scores.transpose(1, 2), query, out=found[picture, 1])
            torch.matmul(shares.transpose(1, 2), gradient, out=found[picture, 2])
        of_queries, of_keys, of_values = found.unbind(1)
        return of_queries, of_keys, of_values, None
