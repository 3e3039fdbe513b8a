"""Differences of two sets of captions of the same images in each metric, by a paired bootstrap over images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captionloop.model.metrics.comparison import INTERVAL, resampled, resampling_weights
from captionloop.model.metrics.estimate import Estimate
from captionloop.model.metrics.scores import (
    BLEU_ORDER,
    Evaluation,
    Tokens,
    bleu_counts,
    bleu_from_counts,
)

SCORE = "score"  # CIDEr-D + BLEU-4, the criterion of BLIP's own training and of the gate


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of both sets.

    Args:
        first, second: its value for each.
        difference: second minus first.
        interval: its 95 % paired-bootstrap interval.
        p_value: two-sided, from the same resamples. Never 0, as the number of resamples is finite.
    """

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "interval": list(self.interval),
            "p_value": self.p_value,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Difference:
        """The mirror of `to_dict`."""
        low, high = values["interval"]
        return cls(**{**values, "interval": (float(low), float(high))})


@dataclass(frozen=True, slots=True)
class Differences:
    """Both evaluations, and the difference in each metric by its name, `SCORE` first."""

    first: Evaluation
    second: Evaluation
    figures: Mapping[str, Difference]


def compare_figures(
    references: Mapping[str, Sequence[str]],
    first: Mapping[str, str],
    second: Mapping[str, str],
    *,
    corpus: Iterable[Sequence[str]] = (),
    seed: int = 0,
) -> Differences:
    """Compare each metric of two sets of captions of the same images.

    Args:
        references: image id → human captions.
        first, second: image id → caption, for the same images.
        corpus: references of further images, for CIDEr-D's document frequencies (see `evaluate_captions`).
        seed: of the bootstrap.

    Raises:
        SettingsError: the three do not have the same images.
    """
    evaluations, (before, after) = resampled(_figures, references, first, second, corpus=corpus, seed=seed)
    return Differences(
        first=evaluations[0],
        second=evaluations[1],
        figures={name: _difference(before[name], after[name]) for name in before},
    )


def bootstrap_figures(
    references: Mapping[str, Sequence[str]], captions: Mapping[str, str], evaluation: Evaluation, *, seed: int = 0
) -> dict[str, Estimate]:
    """Each metric of one set of captions with its 95 % bootstrap interval over the images, `SCORE` first.

    Args:
        references, captions: as evaluated.
        evaluation: of these captions.
        seed: of the bootstrap.
    """
    images = list(captions)
    weights = resampling_weights(len(images), seed=seed)
    found = _figures(Tokens.of(references, captions), evaluation, images, weights)
    return {
        name: Estimate(float(values[0]), *map(float, np.percentile(values[1:], INTERVAL)))
        for name, values in found.items()
    }


def _figures(
    tokens: Tokens, evaluation: Evaluation, images: Sequence[str], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Each metric of each resample: name → (1 + resamples,)."""
    counts = np.asarray(
        [
            (scores.rouge_l, scores.cider_d, scores.exact_match, scores.word_edits, scores.reference_words)
            for scores in (evaluation.per_image[image] for image in images)
        ],
        dtype=float,
    )
    rouge, cider, exact, edits, words = (weights @ counts).T
    bleu = bleu_from_counts(weights @ bleu_counts(tokens) * len(images))
    return {
        SCORE: cider + bleu[:, BLEU_ORDER - 1],
        "cider_d": cider,
        **{f"bleu_{order + 1}": bleu[:, order] for order in range(BLEU_ORDER)},
        "rouge_l": rouge,
        "exact_match": exact,
        "word_edit_rate": edits / np.maximum(words, 1 / len(images)),
    }


def _difference(before: np.ndarray, after: np.ndarray) -> Difference:
    differences = after - before
    resamples = differences[1:]
    low, high = np.percentile(resamples, INTERVAL)
    # Twice the smaller tail. The original sample counts as one more resample, without which a p-value could be 0.
    tail = min(np.sum(resamples <= 0), np.sum(resamples >= 0))
    return Difference(
        first=float(before[0]),
        second=float(after[0]),
        difference=float(differences[0]),
        interval=(float(low), float(high)),
        p_value=min(1.0, 2 * float(tail + 1) / (len(resamples) + 1)),
    )
