"""Confidence signals of a caption, from the beam search that produced it.

The final beams (`Captioner.beams`) suffice for all but one, which needs an earlier version's caption. Their value for
choosing tasks is measured in docs/active-learning.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from captionloop.model.captioning.captioner import Beam
from captionloop.model.metrics.consensus import MOST, DocumentFrequencies, consensus_cider_d
from captionloop.model.metrics.word_changes import word_edits, words_of


@dataclass(frozen=True)
class Confidence:
    """The signals of one caption.

    Args:
        log_probability: mean over its tokens, in nats, at most 0. `math.exp` of it is the geometric mean of their
            probabilities, which one unlikely word lowers more than the arithmetic mean, `Suggestion.score`.
        entropy: over the final beams, in nats: -Σ p ln p with p the probability of each whole caption, normalised over
            the beams. 0 with a single beam, at most ln(beams).
        disagreement: share of words, 0 to 1, in which the other beams differ, weighted by p.
    """

    log_probability: float
    entropy: float
    disagreement: float


def confidence_of(beams: Sequence[Beam]) -> Confidence:
    """The signals of the served caption.

    Args:
        beams: of one picture, best first, from `Captioner.beams`.
    """
    served = beams[0]
    weights = _renormalised([sum(beam.log_probabilities) for beam in beams])
    return Confidence(
        log_probability=sum(served.log_probabilities) / len(served.log_probabilities),
        entropy=sum(-weight * math.log(weight) for weight in weights if weight),
        disagreement=sum(
            weight * words_apart(served.scored.caption, beam.scored.caption)
            for weight, beam in zip(weights, beams, strict=True)
        ),
    )


def consensus(beams: Sequence[Beam], frequencies: DocumentFrequencies) -> float:
    """The served caption's mean CIDEr-D against the other beams, 0 to 10; 10 if there are none.

    Unlike `Confidence.disagreement` it gives common words little weight, and weighs all other beams equally.
    """
    served, *others = (beam.scored.caption for beam in beams)
    return consensus_cider_d(served, others, frequencies) if others else MOST


def words_apart(caption: str, other: str) -> float:
    """Share of the words of the longer caption that differ, 0 to 1; with the previous version's caption for `other`,
    the disagreement with it."""
    longest = max(len(words_of(text)) for text in (caption, other))
    return word_edits(caption, other) / longest if longest else 0.0


def _renormalised(log_probabilities: Sequence[float]) -> list[float]:
    highest = max(log_probabilities)
    weights = [math.exp(value - highest) for value in log_probabilities]
    return [weight / sum(weights) for weight in weights]


@dataclass(frozen=True)
class Background:
    """Further inputs of signals.

    Args:
        frequencies: of the human captions in the project so far.
        previous: the previous version's caption; None if there is none, or the signal is not in `COMPARE_VERSIONS`.
    """

    frequencies: DocumentFrequencies
    previous: str | None = None


Signal = Callable[[Sequence[Beam], Background], float]


def _token_probability(beams: Sequence[Beam], _: Background) -> float:
    return math.exp(confidence_of(beams).log_probability)


def _caption_probability(beams: Sequence[Beam], _: Background) -> float:
    return math.exp(sum(beams[0].log_probabilities))


def _evenness(beams: Sequence[Beam], _: Background) -> float:
    return 1 - confidence_of(beams).entropy / math.log(len(beams)) if len(beams) > 1 else 1.0


def _same_as_before(beams: Sequence[Beam], background: Background) -> float:
    previous = background.previous
    return 1.0 if previous is None else 1 - words_apart(beams[0].scored.caption, previous)


SIGNALS: Mapping[str, Signal] = {
    "score": lambda beams, _: beams[0].scored.score,
    "token_probability": _token_probability,
    "caption_probability": _caption_probability,
    "entropy": _evenness,
    "disagreement": lambda beams, _: 1 - confidence_of(beams).disagreement,
    "consensus": lambda beams, background: consensus(beams, background.frequencies) / MOST,
    "previous_version": _same_as_before,
}
"""Signals for strategies: a picture's beams → 0 (uncertain) to 1 (certain), uncalibrated."""

COMPARE_VERSIONS = frozenset({"previous_version"})
"""The signals that need the previous version's caption, which costs a second captioning."""
