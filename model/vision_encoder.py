"""BLIP's image encoder with fused attention: the modules are those of `transformers`, the path through them is ours.

`BlipAttention` multiplies, scales and normalises one after the other, with all scores in memory between (577 x 577 for
each head of each layer of BLIP-base). PyTorch's fused attention does the same in one pass.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional
from transformers.models.blip.modeling_blip import BlipAttention, BlipVisionModel


def encode_pixels(encoder: BlipVisionModel, pixels: Tensor) -> Tensor:
    """What the text decoder reads of pictures: `encoder(pixel_values=pixels).last_hidden_state`.

    Args:
        encoder: in evaluation or training mode; gradients flow.
        pixels: (images, 3, side, side), in the encoder's dtype.

    Returns:
        (images, patches + 1, vision hidden).
    """
    hidden: Tensor = encoder.embeddings(pixels)
    for layer in encoder.encoder.layers:
        hidden = hidden + _attend(layer.self_attn, layer.layer_norm1(hidden))
        hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
    return encoder.post_layernorm(hidden)


def _attend(attention: BlipAttention, hidden: Tensor) -> Tensor:
    images, patches, width = hidden.shape
    qkv = attention.qkv(hidden).view(images, patches, 3, attention.num_heads, attention.head_dim)
    queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
    read = functional.scaled_dot_product_attention(
        queries, keys, values, scale=attention.scale, dropout_p=attention.dropout.p if attention.training else 0.0
    )
    return attention.projection(read.transpose(1, 2).reshape(images, patches, width))
