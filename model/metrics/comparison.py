"""Comparison of two sets of captions of the same images, by a paired bootstrap over images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from captionloop.model.metrics.scores import Evaluation, Tokens, bleu_4_from_counts, bleu_counts, evaluate_captions

# Resamples of the images. 2,000 determine the ends of a 95 % interval to about a twentieth of its width.
_RESAMPLES = 2000
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of captions of the same images.

    Args:
        first, second: the figures of each.
        difference: second minus first, in CIDEr-D (0–10) + BLEU-4 (0–1).
        interval: 95 % bootstrap interval of it.
        evidence: the differences in score and in words to edit, each divided by its standard error, summed; above 0
            when the second is better.
        probability: share of the resamples in which the evidence is for the second; ties count half.
        same_captions: both have the same caption for every image.
        letter_perfect: for how many images each equals a reference exactly, capitals and spaces included.
    """

    first: Evaluation
    second: Evaluation
    difference: float
    interval: tuple[float, float]
    evidence: float
    probability: float
    same_captions: bool
    letter_perfect: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Score:
    """CIDEr-D (0–10) + BLEU-4 (0–1) of a set of captions, with its uncertainty.

    Args:
        value: the score.
        standard_error: by a bootstrap over the images; meaningless for a single image.
        interval: 95 % bootstrap interval.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]


def bootstrap_score(
    references: Mapping[str, Sequence[str]], captions: Mapping[str, str], evaluation: Evaluation, *, seed: int = 0
) -> Score:
    """The score by which BLIP's own training selects weights, with a bootstrap interval.

    Args:
        references, captions: as evaluated.
        evaluation: of these captions.
        seed: of the bootstrap.
    """
    images = list(captions)
    weights = resampling_weights(len(images), seed=seed)
    scores = _resampled_score(Tokens.of(references, captions), evaluation, images, weights)
    low, high = np.percentile(scores[1:], INTERVAL)
    return Score(float(scores[0]), float(np.std(scores[1:])), (float(low), float(high)))


def compare_captions(
    references: Mapping[str, Sequence[str]],
    first: Mapping[str, str],
    second: Mapping[str, str],
    *,
    corpus: Iterable[Sequence[str]] = (),
    seed: int = 0,
) -> Comparison:
    """Compare two sets of captions of the same images.

    CIDEr-D + BLEU-4 is the criterion of BLIP's own training. On a few dozen images it is noisy: one rare word weighs as
    much as ten common ones. The number of words that a person would have to change is less noisy, so the two are added,
    each divided by its standard error.

    Args:
        references: image id → human captions.
        first, second: image id → caption, for the same images.
        corpus: references of further images, for CIDEr-D's document frequencies (see `evaluate_captions`).
        seed: of the bootstrap.

    Raises:
        SettingsError: the three do not have the same images.
    """
    images = list(first)
    evaluations, ((first_scores, first_edits), (second_scores, second_edits)) = resampled(
        _score_and_edits, references, first, second, corpus=corpus, seed=seed
    )
    differences, fewer_edits = second_scores - first_scores, first_edits - second_edits
    evidence = _in_standard_errors(differences) + _in_standard_errors(fewer_edits)
    low, high = np.percentile(differences[1:], INTERVAL)
    return Comparison(
        first=evaluations[0],
        second=evaluations[1],
        difference=float(differences[0]),
        interval=(float(low), float(high)),
        evidence=float(evidence[0]),
        probability=float(np.mean(evidence[1:] > 0) + np.mean(evidence[1:] == 0) / 2),
        same_captions=all(first[image] == second[image] for image in images),
        letter_perfect=(_letter_perfect(references, first), _letter_perfect(references, second)),
    )


def _letter_perfect(references: Mapping[str, Sequence[str]], captions: Mapping[str, str]) -> int:
    return sum(caption in references[image] for image, caption in captions.items())


_T = TypeVar("_T")
Measure = Callable[[Tokens, Evaluation, Sequence[str], np.ndarray], _T]
"""(tokens of a set of captions, its evaluation, the images, `resampling_weights`) → figures of each resample."""


def resampled(
    measure: Measure[_T],
    references: Mapping[str, Sequence[str]],
    first: Mapping[str, str],
    second: Mapping[str, str],
    *,
    corpus: Iterable[Sequence[str]],
    seed: int,
) -> tuple[tuple[Evaluation, Evaluation], tuple[_T, _T]]:
    """Both sets' evaluations, and their figures in the same resamples. Arguments as of `compare_captions`."""
    corpus = list(corpus)
    before, after = (evaluate_captions(references, captions, corpus=corpus) for captions in (first, second))
    images = list(first)
    weights = resampling_weights(len(images), seed=seed)  # the first row: each image once

    def measured(captions: Mapping[str, str], evaluation: Evaluation) -> _T:
        return measure(Tokens.of(references, captions), evaluation, images, weights)

    return (before, after), (measured(first, before), measured(second, after))


def resampling_weights(images: int, *, seed: int) -> np.ndarray:
    """Weight of each image in each resample, (1 + resamples, images); row 0 is the original sample."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=_RESAMPLES)
    return np.vstack([np.ones(images), drawn]) / images


def _resampled_score(tokens: Tokens, evaluation: Evaluation, images: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """CIDEr-D + BLEU-4 of each resample: (1 + resamples,)."""
    bleu_4 = bleu_4_from_counts(weights @ bleu_counts(tokens) * len(images))
    return weights @ _per_image(evaluation, images, "cider_d") + bleu_4


def _score_and_edits(
    tokens: Tokens, evaluation: Evaluation, images: Sequence[str], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return (
        _resampled_score(tokens, evaluation, images, weights),
        weights @ _per_image(evaluation, images, "word_edit_rate"),
    )


def _per_image(evaluation: Evaluation, images: Sequence[str], score: str) -> np.ndarray:
    return np.asarray([getattr(evaluation.per_image[image], score) for image in images], dtype=float)


def _in_standard_errors(resampled: np.ndarray) -> np.ndarray:
    """In units of the standard error; if that is 0, 0 without a difference and a very large value with one."""
    error = float(np.std(resampled[1:]))
    if error < 1e-12:
        return np.sign(np.where(np.abs(resampled) < 1e-12, 0.0, resampled)) * 1e3
    return resampled / error
