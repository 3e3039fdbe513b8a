"""Evaluation on images that are not trained on: metrics with intervals, and sample captions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from captionloop.model.metrics import Score, bootstrap_score, evaluate_captions
from captionloop.model.metrics.differences import SCORE

SAMPLES = 8  # sample captions of a validation


@dataclass(frozen=True, slots=True)
class SampleCaption:
    """A generated caption of an image, with the human captions."""

    image: str  # SHA-256 of its bytes
    caption: str
    references: Sequence[str]


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Metrics and samples of a validation.

    Args:
        score: CIDEr-D + BLEU-4, BLIP's criterion for selecting weights; higher is better.
        metrics: all metrics by name, the score with its interval included.
        samples: of the first images, the same ones each time.
    """

    score: Score
    metrics: Mapping[str, float]
    samples: tuple[SampleCaption, ...]

    @classmethod
    def of(
        cls,
        references: Mapping[str, Sequence[str]],
        captions: Mapping[str, str],
        *,
        corpus: Iterable[Sequence[str]] = (),
    ) -> ValidationResult:
        """Score captions.

        Args:
            references: image hash → human captions.
            captions: the same images → generated caption.
            corpus: references of further images, for CIDEr-D's document frequencies (see `evaluate_captions`).

        Raises:
            SettingsError: the two do not have the same images, or none.
        """
        evaluation = evaluate_captions(references, captions, corpus=corpus)
        score = bootstrap_score(references, captions, evaluation)
        low, high = score.interval
        return cls(
            score=score,
            metrics={SCORE: score.value, f"{SCORE}_low": low, f"{SCORE}_high": high, **evaluation.to_dict()},
            samples=tuple(
                SampleCaption(image, captions[image], references[image]) for image in list(captions)[:SAMPLES]
            ),
        )

    def __str__(self) -> str:
        images = round(self.metrics["images"])
        if images == 1:
            return f"CIDEr-D + BLEU-4 {self.score.value:.2f} on a single image, which says next to nothing"
        low, high = self.score.interval
        return f"CIDEr-D + BLEU-4 {self.score.value:.2f}, 95 % interval {low:.2f} to {high:.2f}, on {images} images"
