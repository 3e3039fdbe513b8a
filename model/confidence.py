"""How sure a version is of a caption: signals out of the beam search that made it.

None of them needs a second generation, since the search has the other captions at hand (`Captioner.beams`). What each
is worth for choosing what to ask people is measured in docs/active-learning.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from captionloop.model.captioner import Beam
from captionloop.model.metrics.scores import word_edits
from captionloop.model.text import normalise_caption


@dataclass(frozen=True)
class Confidence:
    """The signals of one caption.

    Args:
        log_probability: mean over its tokens, in nats, at most 0. `math.exp` of it is the geometric mean of their
            probabilities, which one doubtful word lowers more than it does the arithmetic mean that `Suggestion.score`
            is.
        entropy: of the captions that the search ended with, in nats: -Σ p ln p with p the probability of each whole
            caption, renormalised over these. 0 with a single beam, at most ln(beams).
        disagreement: share of the words, 0 to 1, that the other captions would have otherwise, weighted by p. It stands
            in for consensus CIDEr-D, which needs document frequencies that a single picture does not have.
    """

    log_probability: float
    entropy: float
    disagreement: float


def confidence_of(beams: Sequence[Beam]) -> Confidence:
    """The signals of the caption that is served.

    Args:
        beams: of one picture, the served caption first, as `Captioner.beams` gives them.
    """
    served = beams[0]
    weights = _renormalised([sum(beam.log_probabilities) for beam in beams])
    return Confidence(
        log_probability=sum(served.log_probabilities) / len(served.log_probabilities),
        entropy=sum(-weight * math.log(weight) for weight in weights if weight),
        disagreement=sum(
            weight * words_apart(served.suggestion.caption, beam.suggestion.caption)
            for weight, beam in zip(weights, beams, strict=True)
        ),
    )


def words_apart(caption: str, other: str) -> float:
    """Share of the words of the longer caption that differ, 0 to 1; with the previous version's caption for `other`,
    the disagreement with it."""
    longest = max(len(normalise_caption(text).split()) for text in (caption, other))
    return word_edits(caption, other) / longest if longest else 0.0


def _renormalised(log_probabilities: Sequence[float]) -> list[float]:
    highest = max(log_probabilities)
    weights = [math.exp(value - highest) for value in log_probabilities]
    return [weight / sum(weights) for weight in weights]


def _whole(beams: Sequence[Beam]) -> float:
    return math.exp(sum(beams[0].log_probabilities))


def _per_token(beams: Sequence[Beam]) -> float:
    return math.exp(confidence_of(beams).log_probability)


def _evenness(beams: Sequence[Beam]) -> float:
    return 1 - confidence_of(beams).entropy / math.log(len(beams)) if len(beams) > 1 else 1.0


SIGNALS: Mapping[str, Callable[[Sequence[Beam]], float]] = {
    "score": lambda beams: beams[0].suggestion.score,
    "token_probability": _per_token,
    "caption_probability": _whole,
    "entropy": _evenness,
    "disagreement": lambda beams: 1 - confidence_of(beams).disagreement,
}
"""What a strategy may go by: a picture's beams → 0 (doubtful) to 1 (sure), none of them calibrated."""
