"""Greedy and beam search, with the results of `transformers`.

The rules are those of `GenerationMixin._beam_search` in `transformers` 5.23 with `early_stopping=False` and
`length_penalty=1`: of the best 2K continuations, those in the first half that end with [SEP] are finished, scored by
their mean log-probability per token; the best K of the others continue. A picture is done when its best running beam
scores no better than its worst finished one; then it leaves the batch.

Shapes: N pictures, K beams, L tokens of the longest caption, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from captionloop.model.captioning.decoder import TextDecoder

_NEVER = -1e9  # the score of excluded candidates, as in `transformers`: above -inf, the score of forbidden tokens
_SHARE_WORTH_MOVING = 0.5  # compact the batch when no more than this share of its pictures is left


@dataclass(frozen=True)
class SearchRules:
    """Parameters of the search.

    Args:
        beams: beams per picture; 1 is greedy search.
        shortest: the end token is forbidden while a sequence has fewer tokens, prompt included.
        longest: most tokens of a sequence, prompt included.
        repetition_penalty: on tokens that have occurred (CTRL, arXiv 1909.05858, section 4.1); 1 is off.
        end: id of the token that ends a caption.
    """

    beams: int
    shortest: int
    longest: int
    repetition_penalty: float
    end: int


@dataclass(frozen=True)
class Hypothesis:
    """A finished caption.

    Args:
        ids: from [DEC] on, prompt included, up to the end token unless the length limit cut it.
        log_probabilities: of the tokens after the prompt, in nats, before repetition penalty and length rules.
    """

    ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]


def search(decoder: TextDecoder, features: Tensor, prompt: Tensor, rules: SearchRules) -> list[list[Hypothesis]]:
    """The K best captions of each picture, best first.

    Args:
        decoder: the text decoder.
        features: encoder output, (N, patches + 1, vision hidden), in the decoder's dtype and on its device.
        prompt: token ids from [DEC] on, int64 (P,).
        rules: parameters of the search.
    """
    if rules.beams == 1:
        return [[written] for written in _greedy(decoder, features, prompt, rules)]
    return _beam_search(decoder, features, prompt, rules)


def _greedy(decoder: TextDecoder, features: Tensor, prompt: Tensor, rules: SearchRules) -> list[Hypothesis]:
    begin = len(prompt)
    reading, logits = decoder.begin(features, prompt, beams=1, longest=rules.longest)
    captions = _Captions.beginning_with(prompt, len(features), rules)
    rows = torch.arange(len(features), device=features.device)  # indices of unfinished pictures in the batch
    only_parent = torch.zeros_like(rows)[:, None]
    for length in range(begin + 1, rules.longest + 1):
        allowed = _keeping_to(rules, logits, captions.tokens[rows, 0, : length - 1])
        tokens = allowed.argmax(dim=-1)
        captions.tokens[rows, 0, length - 1] = tokens
        chosen = torch.log_softmax(logits, dim=-1).gather(1, tokens[:, None]).squeeze(1)
        captions.log_probabilities[rows, 0, length - 1] = chosen
        left = (tokens != rules.end).nonzero().flatten()
        if len(left) == 0 or length == rules.longest:
            break
        if len(left) < len(tokens):
            reading.keep(left)
            rows = rows[left]
        logits = reading.write(tokens[left, None], only_parent[: len(left)]).squeeze(1)
    at_hand = captions.on_cpu()
    return [at_hand.written(row, begin, rules)[0] for row in range(len(features))]


def _beam_search(decoder: TextDecoder, features: Tensor, prompt: Tensor, rules: SearchRules) -> list[list[Hypothesis]]:
    beams, begin = rules.beams, len(prompt)
    found: list[list[Hypothesis]] = [[] for _ in features]
    pictures = torch.arange(len(features), device=features.device)  # whose captions each row holds
    is_open = torch.ones_like(pictures, dtype=torch.bool)
    reading, logits = decoder.begin(features, prompt, beams=beams, longest=rules.longest)
    logits = logits[:, None].expand(-1, beams, -1)
    running = _Captions.beginning_with(prompt, len(features), rules)
    running.scores[:, 1:] = _NEVER  # all beams start equal; without this they would stay duplicates
    finished = _Captions.beginning_with(prompt, len(features), rules)
    finished.scores[:] = _NEVER

    for length in range(begin + 1, rules.longest + 1):
        candidates, parents = _continued(running, logits, length, rules)
        ends = (candidates.tokens[:, :, length - 1] == rules.end) | (length == rules.longest)

        on_their_way = (candidates.scores + ends * _NEVER).topk(beams).indices
        running = candidates.taken(on_their_way)

        counts = ends.clone()
        counts[:, beams:] = False
        candidates.scores = candidates.scores / (length - begin) + ~counts * _NEVER
        finished = finished.joined(candidates)
        finished = finished.taken(finished.scores.topk(beams).indices)

        could_improve = running.scores[:, 0] / (length - begin) > finished.scores[:, -1]
        goes_on = is_open & could_improve & (length < rules.longest)
        if over := (is_open & ~goes_on).nonzero().flatten().tolist():
            at_hand, places = finished.on_cpu(), pictures.tolist()
            for row in over:
                found[places[row]] = at_hand.written(row, begin, rules)
        is_open = goes_on
        left = is_open.nonzero().flatten()
        if len(left) == 0:
            break
        parents = parents.gather(1, on_their_way)
        if len(left) <= len(is_open) * _SHARE_WORTH_MOVING:
            reading.keep(left)
            pictures, is_open, parents = pictures[left], is_open[left], parents[left]
            running, finished = running.kept(left), finished.kept(left)
        logits = reading.write(running.tokens[:, :, length - 1], parents)
    return found


def _continued(running: _Captions, logits: Tensor, length: int, rules: SearchRules) -> tuple[_Captions, Tensor]:
    """The 2K best continuations over all beams of a picture.

    Args:
        running: the beams, scored by the sum of their log-probabilities.
        logits: of the next token, float32 (N, K, V).
        length: of the continuations.
        rules: parameters of the search.

    Returns:
        The continuations, best first, and the parent beam of each, int64 (N, 2K).
    """
    plain = torch.log_softmax(logits, dim=-1)
    allowed = _keeping_to(rules, plain, running.tokens[:, :, : length - 1])
    scores, places = (running.scores[:, :, None] + allowed).flatten(1).topk(2 * rules.beams)
    parents, tokens = places // logits.shape[-1], places % logits.shape[-1]
    captions = running.taken(parents)
    captions.scores = scores
    captions.tokens[:, :, length - 1] = tokens
    captions.log_probabilities[:, :, length - 1] = plain.flatten(1).gather(1, places)
    return captions, parents


def _keeping_to(rules: SearchRules, scores: Tensor, tokens: Tensor) -> Tensor:
    """Scores of the next token, (..., V), after tokens (..., length): repetition penalty and minimum length applied."""
    if rules.repetition_penalty != 1:
        present = scores.gather(-1, tokens)
        penalty = rules.repetition_penalty
        scores = scores.scatter(-1, tokens, torch.where(present < 0, present * penalty, present / penalty))
    if tokens.shape[-1] < rules.shortest:
        scores = scores.index_fill(-1, torch.tensor([rules.end], device=scores.device), -math.inf)
    return scores


@dataclass
class _Captions:
    """Partial captions of each picture.

    Args:
        tokens: prompt included, int64 (N, K, L).
        log_probabilities: of each token after the prompt, float32 (N, K, L).
        scores: ranking, float32 (N, K).
    """

    tokens: Tensor
    log_probabilities: Tensor
    scores: Tensor

    @classmethod
    def beginning_with(cls, prompt: Tensor, pictures: int, rules: SearchRules) -> _Captions:
        tokens = prompt.new_zeros(pictures, rules.beams, rules.longest)
        tokens[:, :, : len(prompt)] = prompt
        log_probabilities = torch.zeros_like(tokens, dtype=torch.float32)
        return cls(tokens, log_probabilities, log_probabilities[:, :, 0].clone())

    def taken(self, places: Tensor) -> _Captions:
        """Those at the given indices, (N, any number), of each picture."""
        wide = places[:, :, None].expand(-1, -1, self.tokens.shape[2])
        return _Captions(
            self.tokens.gather(1, wide), self.log_probabilities.gather(1, wide), self.scores.gather(1, places)
        )

    def kept(self, pictures: Tensor) -> _Captions:
        return _Captions(self.tokens[pictures], self.log_probabilities[pictures], self.scores[pictures])

    def joined(self, others: _Captions) -> _Captions:
        """These and the others of each picture."""
        return _Captions(
            torch.cat([self.tokens, others.tokens], dim=1),
            torch.cat([self.log_probabilities, others.log_probabilities], dim=1),
            torch.cat([self.scores, others.scores], dim=1),
        )

    def on_cpu(self) -> _Captions:
        """Copied together, since every copy from a GPU waits for its queue."""
        return _Captions(self.tokens.cpu(), self.log_probabilities.cpu(), self.scores.cpu())

    def written(self, picture: int, begin: int, rules: SearchRules) -> list[Hypothesis]:
        """One picture's captions, each cut after its end token."""
        captions = []
        for ids, logs in zip(self.tokens[picture].tolist(), self.log_probabilities[picture].tolist(), strict=True):
            length = ids.index(rules.end, begin) + 1 if rules.end in ids[begin:] else rules.longest
            captions.append(Hypothesis(tuple(ids[:length]), tuple(logs[begin:length])))
        return captions
