"""BLIP's text decoder for generation: one step for all beams of all pictures at once.

The weights are those of `transformers`' `BlipTextLMHeadModel`. The computation differs:

- A picture's cross-attention keys and values are computed once and shared by its beams.
- The key-value cache of a picture is shared by its beams: one slot per token, and a mask of each beam's own past
  (`_visible`), instead of copying the cache when a beam is continued by another.
- Query, key and value are one matrix product, and logits are computed for the newest tokens only.
- On a CPU the weight matrices are packed (`packed_linear`).

`training/decoder.py` is its pair: the same network, whole captions at once, with gradients.
`tests/model/captioning/test_captioner.py` compares it with plain `transformers`, token by token.

Shapes: N pictures, R tokens read at once (of the prompt, or one for each beam), S slots, H width, V vocabulary.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from transformers.models.blip.modeling_blip_text import BlipTextAttention, BlipTextLayer, BlipTextLMHeadModel

from captionloop.model.captioning.packed_linear import packed

# Matrices are packed for a number of rows; this one is as fast with 3 as with 96.
_packed = partial(packed, rows=24)


class TextDecoder:
    """The decoder of a model in evaluation mode.

    It has its own packed copies of matrices: after a change of the weights, make a new one.
    """

    def __init__(self, model: BlipTextLMHeadModel) -> None:
        self._embeddings = model.bert.embeddings
        self._layers = [_Layer(layer) for layer in model.bert.encoder.layer]
        head = model.cls.predictions
        self._transform = head.transform
        self._vocabulary = _packed(head.decoder)
        self.vocabulary_size: int = head.decoder.out_features

    def begin(self, features: Tensor, prompt: Tensor, *, beams: int, longest: int) -> tuple[DecoderState, Tensor]:
        """Compute the cross-attention keys and values of pictures, and read the prompt.

        Args:
            features: encoder output, (N, patches + 1, vision hidden), in the weights' dtype.
            prompt: token ids from [DEC] on, int64 (P,).
            beams: beams per picture.
            longest: most tokens of a caption, prompt included.

        Returns:
            The state, and the logits of the first token of each picture's caption, float32 (N, V).
        """
        reading = DecoderState(self, features, slots=len(prompt) + beams * (longest - len(prompt)))
        causal = torch.ones(len(prompt), len(prompt), dtype=torch.bool, device=features.device).tril()
        tokens = prompt.expand(len(features), -1)
        hidden = reading.read(
            tokens, torch.arange(len(prompt), device=features.device), causal.expand(len(tokens), -1, -1)
        )
        reading.fork(beams)
        return reading, self.logits(hidden[:, -1])

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the next token: (..., H) to float32 (..., V)."""
        return self._vocabulary(self._transform(hidden)).float()


class DecoderState:
    """The key-value cache of every layer for a batch of pictures."""

    def __init__(self, decoder: TextDecoder, features: Tensor, *, slots: int) -> None:
        self._decoder = decoder
        self._pictures = [layer.image_keys_and_values(features) for layer in decoder._layers]
        self._past = [layer.blank(len(features), slots, like=features) for layer in decoder._layers]
        self._used = 0
        self._length = 0
        self._visible = torch.empty(0)

    def fork(self, beams: int) -> None:
        """Continue with several beams that share everything read so far."""
        self._visible = self._visible[:, -1:].expand(-1, beams, -1)

    def write(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Replace each beam by one of the present beams and one more token.

        Args:
            tokens: int64 (N, beams).
            parents: index of the beam that each continues, int64 (N, beams).

        Returns:
            Logits of the next token, float32 (N, beams, V).
        """
        count, beams = tokens.shape
        seen = self._visible.gather(1, parents[:, :, None].expand(-1, -1, self._used))
        itself = torch.eye(beams, dtype=torch.bool, device=tokens.device).expand(count, -1, -1)
        position = torch.tensor([self._length], device=tokens.device)
        return self._decoder.logits(self.read(tokens, position, torch.cat([seen, itself], dim=2)))

    def keep(self, pictures: Tensor) -> None:
        """Keep only some of the pictures: their indices, int64 (kept,)."""
        self._visible = self._visible[pictures]
        self._pictures = [(keys[pictures], values[pictures]) for keys, values in self._pictures]
        self._past = [(keys[pictures], values[pictures]) for keys, values in self._past]

    def read(self, tokens: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
        """Read tokens into the next free slots.

        Args:
            tokens: int64 (N, R).
            positions: of the tokens in their captions, int64 (R,), or (1,) if the same for all.
            visible: attention mask over the slots, bool (N, R, slots used, these tokens included).

        Returns:
            Hidden states (N, R, H).
        """
        begin, end = self._used, self._used + tokens.shape[1]
        hidden: Tensor = self._decoder._embeddings(input_ids=tokens, position_ids=positions[None])
        for layer, (keys, values), picture in zip(self._decoder._layers, self._past, self._pictures, strict=True):
            hidden = layer(hidden, keys[:, :, :end], values[:, :, :end], slice(begin, end), visible, picture)
        self._used, self._length, self._visible = end, self._length + len(positions), visible
        return hidden


class _Layer:
    """Self-attention over the slots, cross-attention over the picture, and the feed-forward part."""

    def __init__(self, layer: BlipTextLayer) -> None:
        attention = layer.attention.self
        self._heads, self._head_size = attention.num_attention_heads, attention.attention_head_size
        self._scale = 1 / math.sqrt(self._head_size)
        self._self_qkv = _packed(attention.query, attention.key, attention.value)
        self._self_output = _Output(layer.attention)
        self._cross_query = _packed(layer.crossattention.self.query)
        self._cross_keys_values = _packed(layer.crossattention.self.key, layer.crossattention.self.value)
        self._cross_output = _Output(layer.crossattention)
        self._wide = _packed(layer.intermediate.dense)
        self._activation = layer.intermediate.intermediate_act_fn
        self._output = _Output(layer)

    def image_keys_and_values(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention keys and values of pictures, each (N, heads, patches + 1, head size)."""
        keys, values = self._cross_keys_values(features).chunk(2, dim=2)
        # Contiguous in memory, since every step reads all of them.
        return self._split(keys).contiguous(), self._split(values).contiguous()

    def blank(self, pictures: int, slots: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
        shape = (pictures, self._heads, slots, self._head_size)
        return like.new_zeros(shape), like.new_zeros(shape)

    def __call__(
        self,
        hidden: Tensor,
        keys: Tensor,
        values: Tensor,
        fresh: slice,
        visible: Tensor,
        picture: tuple[Tensor, Tensor],
    ) -> Tensor:
        """(N, R, H) to the same; keys and values of these tokens are stored in the `fresh` slots."""
        query, key, value = (self._split(part) for part in self._self_qkv(hidden).chunk(3, dim=2))
        keys[:, :, fresh], values[:, :, fresh] = key, value
        hidden = self._self_output(self._attend(query, keys, values, visible[:, None]), hidden)
        hidden = self._cross_output(self._attend(self._split(self._cross_query(hidden)), *picture), hidden)
        return self._output(self._activation(self._wide(hidden)), hidden)

    def _split(self, hidden: Tensor) -> Tensor:
        """(N, L, H) to (N, heads, L, head size)."""
        return hidden.view(*hidden.shape[:2], self._heads, self._head_size).transpose(1, 2)

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None = None) -> Tensor:
        """Attention: (N, R, H)."""
        scores = (query * self._scale) @ keys.transpose(2, 3)
        if visible is not None:
            scores = scores.masked_fill(~visible, -math.inf)
        return (scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2)


class _Output:
    """The end of each part of a layer: output projection, residual, layer norm."""

    def __init__(self, part: BlipTextAttention | BlipTextLayer) -> None:
        self._dense, self._norm = _packed(part.output.dense), part.output.LayerNorm

    def __call__(self, hidden: Tensor, residual: Tensor) -> Tensor:
        normed: Tensor = self._norm(self._dense(hidden) + residual)
        return normed
