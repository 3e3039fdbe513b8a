"""What a candidate has forgotten: styles that it is not judged in, but that the champion writes and people still want.

A candidate that is surely worse in one of them, the whole 95 % interval of the difference below 0, is not promoted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from captionloop.model.evaluation.gate import FEW_IMAGES, Rule, Verdict
from captionloop.model.metrics import compare_captions


@dataclass(frozen=True, slots=True)
class EarlierStyle:
    """Champion and candidate on the held-out images of a style that the candidate is not judged in.

    Args:
        style: None is the one without a name.
        images: how many.
        difference: candidate minus champion in CIDEr-D (0–10) + BLEU-4 (0–1).
        interval: its 95 % paired-bootstrap interval.
        exactly_right: captions of the champion and of the candidate that equal a reference.
    """

    style: str | None
    images: int
    difference: float
    interval: tuple[float, float]
    exactly_right: tuple[int, int]

    @property
    def is_forgotten(self) -> bool:
        return self.interval[1] < 0

    def __str__(self) -> str:
        before, after = self.exactly_right
        name = "the style without a name" if self.style is None else f"the style {self.style!r}"
        text = (
            f"{'Forgotten: ' if self.is_forgotten else ''}in {name} {after} instead of {before} of {self.images} exact"
        )
        return text + (", too few to tell" if self.images < FEW_IMAGES else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a manifest."""
        return {
            "style": self.style,
            "images": self.images,
            "difference": self.difference,
            "interval": list(self.interval),
            "exactly_right": list(self.exactly_right),
            "is_forgotten": self.is_forgotten,
        }


def earlier_style(
    style: str | None,
    references: Mapping[str, Sequence[str]],
    champion_captions: Mapping[str, str],
    candidate_captions: Mapping[str, str],
    *,
    corpus: Sequence[Sequence[str]],
) -> EarlierStyle:
    """Compare both on a style.

    Args:
        references: held-out image → human captions in the style.
        champion_captions, candidate_captions: the same images → generated caption in the style.
        corpus: human captions in the style, of all images.
    """
    found = compare_captions(references, champion_captions, candidate_captions, corpus=corpus)
    images = len(references)
    return EarlierStyle(
        style=style,
        images=images,
        difference=found.difference,
        interval=found.interval,
        exactly_right=(round(found.first.exact_match * images), round(found.second.exact_match * images)),
    )


def not_forgetting(verdict: Verdict, earlier: Sequence[EarlierStyle], *, rule: Rule) -> Verdict:
    """The verdict with what became of the earlier styles; a candidate that forgot one is not promoted.

    Args:
        rule: the gate's; "always" promotes all the same.
    """
    if not earlier:
        return verdict
    stays = verdict.promote and rule != "always" and any(style.is_forgotten for style in earlier)
    reason = f"{verdict.reason} Earlier styles: {'; '.join(map(str, earlier))}."
    if stays:
        reason = reason.replace("Promoted: ", "Rejected for what it forgot: ", 1)
    return replace(verdict, promote=verdict.promote and not stays, reason=reason, earlier=tuple(earlier))
