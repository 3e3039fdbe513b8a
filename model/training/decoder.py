"""BLIP's text decoder for training: whole captions at once, with gradients.

The modules are those of `transformers`, or PEFT's replacements; the forward pass is ours. It omits what training does
not need: a padding mask (padding comes last, where a causal decoder cannot see it), a key-value cache, logits at
positions that do not count in the loss, and, for short captions, the picture's keys and values (`_attend_to_image`).

`captioning/decoder.py` is its pair: the same network, token by token, without gradients.

Shapes: B examples, L tokens, P image patches, W width of the image encoder, H of the decoder, V vocabulary.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.models.blip.modeling_blip_text import BlipTextLayer, BlipTextLMHeadModel, BlipTextSelfAttention

# Cross-attention without keys and values takes 4 * L * P * W * heads multiplications a layer, forward and backward,
# with them about 4 * P * W * H; with a head size of 64 the former is less for up to 64 tokens.
_SHORT = 64


def logits_at(
    decoder: BlipTextLMHeadModel, ids: Tensor, places: Tensor, features: Tensor, *, recompute: bool = False
) -> Tensor:
    """The logits of `decoder(ids, encoder_hidden_states=features)` at some positions.

    Args:
        decoder: in training or evaluation mode.
        ids: int64 (B, L), padding last.
        places: mask of positions, bool (B, L).
        features: encoder output, (B, P + 1, W); its dtype is that of the activations.
        recompute: gradient checkpointing; needs less memory, and a third more time.

    Returns:
        (number of positions, V), row by row.
    """
    hidden: Tensor = decoder.bert.embeddings(input_ids=ids).to(features.dtype)
    for layer in decoder.bert.encoder.layer:
        if recompute:
            hidden = checkpoint(_layer, layer, hidden, features, use_reentrant=False)
        else:
            hidden = _layer(layer, hidden, features)
    logits: Tensor = decoder.cls(hidden[places])
    return logits


def _layer(layer: BlipTextLayer, hidden: Tensor, features: Tensor) -> Tensor:
    hidden = layer.attention.output(_attend_to_past(layer.attention.self, hidden), hidden)
    hidden = layer.crossattention.output(_attend_to_image(layer.crossattention.self, hidden, features), hidden)
    read: Tensor = layer.feed_forward_chunk(hidden)
    return read


def _attend_to_past(attention: BlipTextSelfAttention, hidden: Tensor) -> Tensor:
    """Causal self-attention: (B, L, H)."""
    queries, keys, values = (
        _split(attention, linear(hidden)) for linear in (attention.query, attention.key, attention.value)
    )
    dropout = attention.dropout.p if attention.training else 0.0
    read = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, dropout_p=dropout)
    return read.transpose(1, 2).flatten(2)


def _attend_to_image(attention: BlipTextSelfAttention, hidden: Tensor, features: Tensor) -> Tensor:
    """Cross-attention: (B, L, H).

    A picture has many patches and a caption few tokens. So the key matrix is applied to the queries, and the value
    matrix to the weighted sums of features, instead of both to every patch:

        q · (K f + b) = (Kᵀ q) · f + q · b,   where q · b is the same for all patches and cancels in the softmax;
        sum over f of p_f (V f + c) = V (sum over f of p_f f) + (sum over f of p_f) c.
    """
    queries = _split(attention, attention.query(hidden)) / math.sqrt(attention.attention_head_size)
    if hidden.shape[1] > _SHORT or not _are_plain(attention.key, attention.value):
        keys, values = _split(attention, attention.key(features)), _split(attention, attention.value(features))
        probabilities = attention.dropout((queries @ keys.transpose(2, 3)).softmax(dim=-1))
        return (probabilities @ values).transpose(1, 2).flatten(2)
    heads, size, width = queries.shape[1], queries.shape[3], features.shape[2]
    keys, values = (linear.weight.view(heads, size, width) for linear in (attention.key, attention.value))
    scores = _by_head(queries, keys).flatten(1, 2) @ features.transpose(1, 2)
    probabilities = attention.dropout(scores.softmax(dim=-1))  # (B, heads * L, P + 1)
    read = _by_head((probabilities @ features).unflatten(1, (heads, -1)), values.transpose(1, 2))
    shares = probabilities.sum(dim=-1).unflatten(1, (heads, -1, 1))  # 1 without dropout
    return (read + shares * attention.value.bias.view(heads, 1, size)).transpose(1, 2).flatten(2)


def _by_head(rows: Tensor, matrices: Tensor) -> Tensor:
    """(B, heads, L, X) @ (heads, X, Y) → (B, heads, L, Y), without the copies per example that broadcasting makes."""
    examples, heads, length, _ = rows.shape
    product = rows.transpose(0, 1).reshape(heads, examples * length, -1) @ matrices
    return product.view(heads, examples, length, -1).transpose(0, 1)


def _split(attention: BlipTextSelfAttention, hidden: Tensor) -> Tensor:
    """(B, L, H) to (B, heads, L, head size)."""
    return hidden.view(*hidden.shape[:2], attention.num_attention_heads, -1).transpose(1, 2)


def _are_plain(*linears: nn.Module) -> bool:
    """Whether they are plain linear layers, without LoRA."""
    return all(type(linear) is nn.Linear for linear in linears)
