"""BLIP's text decoder, several times faster than `transformers`' `generate`, with the same captions.

    B images, k beams, R = B * k rows, T longest sequence, P image positions, H hidden, h heads, d = H / h

Where the time goes in the ordinary way, and what is done here instead:

- cross-attention keys and values are the same for all beams of an image: computed and kept once per image, (B, h, P, d),
  with the beams as so many queries;
- keys and values of the caption so far lie in one buffer that is reordered in one go when beams change places;
- query, key and value are one matrix product; the vocabulary is scored at the last position only;
- the prompt is read once per image, not once per beam;
- an image whose beams are done leaves the batch;
- in bf16 on a CPU the weights are laid out once in the order in which oneDNN multiplies, not at every step.

The search is `transformers`' beam search (`early_stopping=False`, `length_penalty=1`, which are BLIP's settings), and
greedy search for one beam. Tests hold it to `generate` token by token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BlipForConditionalGeneration

from captionloop.model.generation import GenerationSettings

_NEVER = -1.0e9  # the score `transformers` gives to what must not be chosen
_LEAVE_AT = 0.75  # copying what remains of a batch pays when at most this share of it is still at work


@dataclass(frozen=True)
class Decoded:
    """One caption: its token ids without prompt, up to [SEP] and without it, and the mean probability of its tokens.

    `score` counts [SEP] if it was written, and is taken from the logits as they are, before penalty and length rules.
    """

    ids: list[int]
    score: float


class FastDecoder:
    """The text decoder of a model, prepared for captioning. Later changes to the model's weights are not seen.

    Args:
        model: in the dtype and on the device in which to compute; in `eval` mode.
    """

    def __init__(self, model: BlipForConditionalGeneration) -> None:
        decoder = model.text_decoder
        text = decoder.config
        self._start, self._end = text.bos_token_id, text.sep_token_id
        self._embeddings = decoder.bert.embeddings
        self._layers = [_Layer(layer) for layer in decoder.bert.encoder.layer]
        head = decoder.cls.predictions
        self._transform = _linear([head.transform.dense])
        self._activation: Callable[[Tensor], Tensor] = head.transform.transform_act_fn
        self._norm: nn.LayerNorm = head.transform.LayerNorm
        self._vocabulary = _linear([head.decoder])

    @torch.no_grad()
    def decode(self, features: Tensor, settings: GenerationSettings, *, prompt: Sequence[int] = ()) -> list[Decoded]:
        """Caption encoder outputs.

        Args:
            features: (B, P, vision hidden), in the model's dtype and on its device.
            settings: as `generate` would take them.
            prompt: word-piece ids that come before the caption.
        """
        start = [self._start, *prompt]
        state = _State(
            images=[layer.look_at(features) for layer in self._layers],
            own=[layer.empty_cache(len(features), settings.max_length) for layer in self._layers],
        )
        for position, token in enumerate(start):
            tokens = features.new_full((len(features),), token, dtype=torch.long)
            logits = self._step(state, tokens, position)
        search = _greedy if settings.num_beams == 1 else _beam_search
        return search(self._step, state, logits, start=start, end=self._end, settings=settings)

    def _step(self, state: _State, tokens: Tensor, position: int) -> Tensor:
        """Read one token per row, int64 (R,), at `position`; returns the next token's logits, float32 (R, words)."""
        embeddings = self._embeddings
        hidden = embeddings.word_embeddings(tokens) + embeddings.position_embeddings.weight[position]
        hidden = embeddings.LayerNorm(hidden)
        for layer, own, image in zip(self._layers, state.own, state.images, strict=True):
            hidden = layer(hidden, own, image, position)
        hidden = self._norm(self._activation(self._transform(hidden)))
        return self._vocabulary(hidden).float()


@dataclass
class _State:
    """What the decoder remembers, one entry per layer, keys and values stacked: own (2, R, h, T, d) of the caption so
    far, images (2, B, h, P, d)."""

    images: list[Tensor]
    own: list[Tensor]

    def take_rows(self, rows: Tensor, *, length: int) -> None:
        """Go on with these rows, int64 (R',), of which `length` positions are filled."""
        for index, cache in enumerate(self.own):
            moved = cache.new_empty((2, len(rows), *cache.shape[2:]))
            moved[:, :, :, :length] = cache[:, :, :, :length].index_select(1, rows)
            self.own[index] = moved

    def take_images(self, kept: Tensor) -> None:
        self.images = [image.index_select(1, kept) for image in self.images]


class _Layer:
    """One decoder layer, one position at a time."""

    def __init__(self, layer: Any) -> None:
        own, cross = layer.attention.self, layer.crossattention.self
        self._heads: int = own.num_attention_heads
        self._own = _linear([own.query, own.key, own.value])
        self._own_out, self._own_norm = _linear([layer.attention.output.dense]), layer.attention.output.LayerNorm
        self._ask, self._look = _linear([cross.query]), _linear([cross.key, cross.value])
        self._cross_out = _linear([layer.crossattention.output.dense])
        self._cross_norm: nn.LayerNorm = layer.crossattention.output.LayerNorm
        self._up, self._activation = _linear([layer.intermediate.dense]), layer.intermediate.intermediate_act_fn
        self._down, self._norm = _linear([layer.output.dense]), layer.output.LayerNorm

    def look_at(self, features: Tensor) -> Tensor:
        """Cross-attention keys and values of images: (B, P, vision hidden) to (2, B, h, P, d)."""
        images, positions, _ = features.shape
        both = self._look(features.flatten(0, 1)).view(images, positions, 2, self._heads, -1)
        return both.permute(2, 0, 3, 1, 4).contiguous()

    def empty_cache(self, rows: int, length: int) -> Tensor:
        """(2, R, h, T, d)"""
        weight = self._own_norm.weight
        return weight.new_empty((2, rows, self._heads, length, len(weight) // self._heads))

    def __call__(self, hidden: Tensor, own: Tensor, image: Tensor, position: int) -> Tensor:
        """hidden (R, H) at `position` to (R, H); the position's keys and values are added to `own`."""
        rows, images = len(hidden), image.shape[1]
        query, key, value = self._own(hidden).view(rows, 3, self._heads, 1, -1).unbind(1)
        own[0, :, :, position : position + 1] = key
        own[1, :, :, position : position + 1] = value
        past = own[:, :, :, : position + 1]
        context = functional.scaled_dot_product_attention(query, past[0], past[1])
        hidden = self._own_norm(self._own_out(context.reshape(rows, -1)) + hidden)

        query = self._ask(hidden).view(images, rows // images, self._heads, -1).transpose(1, 2)  # (B, h, k, d)
        context = functional.scaled_dot_product_attention(query, image[0], image[1])
        hidden = self._cross_norm(self._cross_out(context.transpose(1, 2).reshape(rows, -1)) + hidden)

        return self._norm(self._down(self._activation(self._up(hidden))) + hidden)


def _linear(parts: list[nn.Linear]) -> Callable[[Tensor], Tensor]:
    """One matrix product for several linear layers with the same input: (rows, in) to (rows, sum of outs)."""
    weight = parts[0].weight.detach() if len(parts) == 1 else torch.cat([part.weight.detach() for part in parts])
    bias = parts[0].bias.detach() if len(parts) == 1 else torch.cat([part.bias.detach() for part in parts])
    if weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return _prepacked(weight, bias)
    return lambda rows: functional.linear(rows, weight, bias)


def _prepacked(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """The same with the weight in oneDNN's own layout, as `torch.compile` does it for inference on CPUs."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.to_mkldnn())
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda rows: multiply(rows, packed, bias, "none", [], "")


_Step = Callable[[_State, Tensor, int], Tensor]


def _greedy(
    step: _Step, state: _State, logits: Tensor, *, start: list[int], end: int, settings: GenerationSettings
) -> list[Decoded]:
    count = len(logits)
    results: dict[int, Decoded] = {}
    working = torch.arange(count, device=logits.device)  # which image each row is
    sequences = torch.tensor([start], device=logits.device).expand(count, -1)
    probabilities = logits.new_empty((count, 0))
    while True:
        length = sequences.shape[1]
        scores = _penalise(logits, sequences, settings.repetition_penalty)
        if length < settings.min_length:
            scores[:, end] = -torch.inf
        chosen = scores.argmax(1, keepdim=True)
        sequences = torch.cat([sequences, chosen], 1)
        probabilities = torch.cat([probabilities, torch.softmax(logits, 1).gather(1, chosen)], 1)
        done = (chosen[:, 0] == end) | (length + 1 >= settings.max_length)
        for row in done.nonzero()[:, 0].tolist():
            ids = sequences[row, len(start) :].tolist()
            results[int(working[row])] = _decoded(ids, probabilities[row].tolist(), end)
        kept = (~done).nonzero()[:, 0]
        if len(kept) == 0:
            return [results[image] for image in range(count)]
        if len(kept) < len(working):
            working, sequences, probabilities = working[kept], sequences[kept], probabilities[kept]
            state.take_rows(kept, length=length)
            state.take_images(kept)
        logits = step(state, sequences[:, -1], length)


def _beam_search(
    step: _Step, state: _State, logits: Tensor, *, start: list[int], end: int, settings: GenerationSettings
) -> list[Decoded]:
    beams = settings.num_beams
    search = _Beams(len(logits), beams, start=start, device=logits.device)
    # All beams begin alike; `transformers` computes each and then lets only the first choose.
    logits = logits.repeat_interleave(beams, 0)
    state.take_rows(torch.arange(len(logits), device=logits.device) // beams, length=len(start))
    results: dict[int, Decoded] = {}
    working = torch.arange(len(logits) // beams, device=logits.device)
    length = len(start)
    while True:
        rows = search.advance(logits, end=end, settings=settings)
        length += 1
        at_work = search.can_improve() if length < settings.max_length else torch.zeros_like(search.open)
        for index in (search.open & ~at_work).nonzero()[:, 0].tolist():
            ids, probabilities = search.best(index, len(start))
            results[int(working[index])] = _decoded(ids, probabilities, end)
        search.open &= at_work
        kept = search.open.nonzero()[:, 0]
        if len(kept) == 0:
            return [results[image] for image in range(len(results))]
        if len(kept) <= _LEAVE_AT * len(working):
            rows = rows.view(-1, beams)[kept].flatten()
            working = working[kept]
            search.keep(kept)
            state.take_images(kept)
        state.take_rows(rows, length=length - 1)
        logits = step(state, search.last_tokens(), length - 1)


class _Beams:
    """Running and finished hypotheses of B images, as `GenerationMixin._beam_search` keeps them.

    running and finished sequences (B, k, length), their scores (B, k), and the probability of each token, (B, k,
    length), with 1 for the prompt's.
    """

    def __init__(self, images: int, beams: int, *, start: list[int], device: torch.device) -> None:
        self.beams = beams
        self.prompt_length = len(start)
        self.open = torch.ones(images, dtype=torch.bool, device=device)
        self.running = torch.tensor(start, device=device).expand(images, beams, -1)
        self.running_probabilities = torch.ones(self.running.shape, device=device)
        self.running_scores = torch.zeros((images, beams), device=device)
        self.running_scores[:, 1:] = _NEVER
        self.finished, self.finished_probabilities = self.running, self.running_probabilities
        self.finished_scores = torch.full((images, beams), _NEVER, device=device)
        self.is_finished = torch.zeros((images, beams), dtype=torch.bool, device=device)

    def advance(self, logits: Tensor, *, end: int, settings: GenerationSettings) -> Tensor:
        """Add one token to each running hypothesis; returns the row that each now continues, int64 (B * k,)."""
        images, beams, length = self.running.shape
        log_probabilities = torch.log_softmax(logits, 1)
        scores = _penalise(log_probabilities, self.running.flatten(0, 1), settings.repetition_penalty)
        if length < settings.min_length:
            scores[:, end] = -torch.inf
        words = scores.shape[1]
        total = (scores.view(images, beams, words) + self.running_scores[:, :, None]).flatten(1)

        # Twice as many as beams, so that enough are left to go on if all of the best end here.
        top_scores, top = total.topk(2 * beams, dim=1)
        from_beam, token = top // words, top % words
        sequences = torch.cat([_pick(self.running, from_beam), token[:, :, None]], 2)
        chosen = log_probabilities.view(images, -1).gather(1, top).exp()
        probabilities = torch.cat([_pick(self.running_probabilities, from_beam), chosen[:, :, None]], 2)
        ends = (token == end) | (length + 1 >= settings.max_length)

        self._finish(sequences, probabilities, top_scores, ends)
        going_on = top_scores + ends * _NEVER
        self.running_scores, best = going_on.topk(beams, dim=1)
        self.running, self.running_probabilities = _pick(sequences, best), _pick(probabilities, best)
        offset = torch.arange(images, device=logits.device)[:, None] * beams
        return (from_beam.gather(1, best) + offset).flatten()

    def _finish(self, sequences: Tensor, probabilities: Tensor, scores: Tensor, ends: Tensor) -> None:
        """Merge what ends now into the best finished hypotheses; only the k best candidates may end."""
        ends = ends.clone()
        ends[:, self.beams :] = False
        scores = scores / (sequences.shape[2] - self.prompt_length)  # length_penalty = 1
        scores = scores + ~self.open[:, None] * _NEVER + ~ends * _NEVER
        merged_scores = torch.cat([self.finished_scores, scores], 1)
        self.finished_scores, best = merged_scores.topk(self.beams, dim=1)
        self.finished = _pick(torch.cat([_pad(self.finished), sequences], 1), best)
        self.finished_probabilities = _pick(torch.cat([_pad(self.finished_probabilities), probabilities], 1), best)
        self.is_finished = torch.cat([self.is_finished, ends], 1).gather(1, best)

    def can_improve(self) -> Tensor:
        """Whether a running hypothesis of each image could still be better than its worst finished one, bool (B,)."""
        possible = self.running_scores[:, :1] / (self.running.shape[2] - self.prompt_length)
        worst = torch.where(self.is_finished, self.finished_scores.amin(1, keepdim=True), _NEVER)
        return (possible > worst).any(1)

    def best(self, image: int, prompt_length: int) -> tuple[list[int], list[float]]:
        tokens: list[int] = self.finished[image, 0, prompt_length:].tolist()
        probabilities: list[float] = self.finished_probabilities[image, 0, prompt_length:].tolist()
        return tokens, probabilities

    def last_tokens(self) -> Tensor:
        return self.running[:, :, -1].flatten()

    def keep(self, images: Tensor) -> None:
        """Go on with these images only, int64 (B',)."""
        self.open = self.open[images]
        self.running, self.running_probabilities = self.running[images], self.running_probabilities[images]
        self.finished, self.finished_probabilities = self.finished[images], self.finished_probabilities[images]
        self.running_scores, self.finished_scores = self.running_scores[images], self.finished_scores[images]
        self.is_finished = self.is_finished[images]


def _pick(values: Tensor, beams: Tensor) -> Tensor:
    """values (B, n, length) at beams (B, m): (B, m, length)"""
    return values.gather(1, beams[:, :, None].expand(-1, -1, values.shape[2]))


def _pad(values: Tensor) -> Tensor:
    """One more position for hypotheses that ended before it; -1 is no token."""
    return functional.pad(values, (0, 1), value=-1)


def _penalise(scores: Tensor, sequences: Tensor, penalty: float) -> Tensor:
    """A copy of scores (R, words) with those of tokens that are in sequences (R, length) made less likely."""
    if penalty == 1.0:
        return scores.clone()
    seen = scores.gather(1, sequences)
    return scores.scatter(1, sequences, torch.where(seen < 0, seen * penalty, seen / penalty))


def _decoded(ids: list[int], probabilities: list[float], end: int) -> Decoded:
    """Cut after [SEP], or before what was only padded."""
    if end in ids:
        written = ids.index(end) + 1
    elif -1 in ids:
        written = ids.index(-1)
    else:
        written = len(ids)
    score = sum(probabilities[:written]) / written
    return Decoded([token for token in ids[:written] if token != end], min(max(score, 0.0), 1.0))
