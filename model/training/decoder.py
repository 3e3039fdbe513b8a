"""BLIP's text decoder as it is trained: whole captions at once, with gradients.

The modules are those of `transformers`, or what PEFT put in their place; the path through them is ours. It leaves out
what training does not need: a mask (padding comes last, where a causal decoder cannot see it), a cache, the vocabulary
where nothing is asked for, and, for captions, the keys and values of the picture (`_attend_to_image`).

`captioning/decoder.py` is its pair: the same network, token by token, without gradients.

Shapes: B examples, L tokens, P image patches, W width of the image encoder, H of the decoder, V vocabulary.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.models.blip.modeling_blip_text import BlipTextLayer, BlipTextLMHeadModel, BlipTextSelfAttention

# Reading the picture without keys and values takes 4 * L * P * W * heads multiplications a layer, forward and back, and
# with them about 4 * P * W * H; with heads of 64 that is less for up to 64 tokens.
_SHORT = 64


def logits_at(
    decoder: BlipTextLMHeadModel, ids: Tensor, places: Tensor, features: Tensor, *, recompute: bool = False
) -> Tensor:
    """What `decoder(ids, encoder_hidden_states=features).logits` says at some places.

    Args:
        decoder: in training or evaluation mode.
        ids: int64 (B, L), padding last.
        places: bool (B, L).
        features: what the image encoder made of the pictures, (B, P + 1, W); layers hand on their dtype.
        recompute: keep no layer's inner results for the backward pass; needs less memory, and a third more time.

    Returns:
        (places that are true, V), row by row.
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
    """What each token reads of those before it and of itself: (B, L, H)."""
    queries, keys, values = (
        _split(attention, linear(hidden)) for linear in (attention.query, attention.key, attention.value)
    )
    dropout = attention.dropout.p if attention.training else 0.0
    read = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, dropout_p=dropout)
    return read.transpose(1, 2).flatten(2)


def _attend_to_image(attention: BlipTextSelfAttention, hidden: Tensor, features: Tensor) -> Tensor:
    """What each token reads of the picture: (B, L, H).

    A picture has many patches and a caption few tokens. So the key matrix is applied to the queries, and the value
    matrix to what was read, instead of both to every patch:

        q · (K f + b) = (Kᵀ q) · f + q · b,   and softmax does not see q · b, which is the same for all patches;
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
    shares = probabilities.sum(dim=-1).unflatten(1, (heads, -1, 1))  # 1, but for dropout
    return (read + shares * attention.value.bias.view(heads, 1, size)).transpose(1, 2).flatten(2)


def _by_head(rows: Tensor, matrices: Tensor) -> Tensor:
    """(B, heads, L, X) times (heads, X, Y), which broadcasting would copy for each example, is (B, heads, L, Y)."""
    examples, heads, length, _ = rows.shape
    product = rows.transpose(0, 1).reshape(heads, examples * length, -1) @ matrices
    return product.view(heads, examples, length, -1).transpose(0, 1)


def _split(attention: BlipTextSelfAttention, hidden: Tensor) -> Tensor:
    """(B, L, H) to (B, heads, L, head size)."""
    return hidden.view(*hidden.shape[:2], attention.num_attention_heads, -1).transpose(1, 2)


def _are_plain(*linears: nn.Module) -> bool:
    """Whether they are their weight and bias and nothing else; LoRA's are more."""
    return all(type(linear) is nn.Linear for linear in linears)
