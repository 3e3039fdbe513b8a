"""Comparisons of two versions on the same held-out images: where they are stored, and orders for display."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from captionloop.home import Home
from captionloop.model.evaluation.comparison_file import COMPARISON, ComparedImage, StoredComparison, read_comparison
from captionloop.model.versions.store import VersionInfo


@dataclass(frozen=True)
class FoundComparison:
    """A comparison of two versions, the older one first.

    Args:
        first, second: their names.
        stored: metrics and images; its "champion" is the first, its "candidate" the second.
        made_at: when the captions were written.
    """

    first: str
    second: str
    stored: StoredComparison
    made_at: datetime


def find_comparison(home: Home, project_id: int, first: VersionInfo, second: VersionInfo) -> FoundComparison | None:
    """The requested comparison of two versions, else that of the second's run, if it was with the first.

    Args:
        first: the older of the two.

    Raises:
        CheckpointError: its file is damaged.
    """
    path = home.comparison(project_id, first.version, second.version)
    if (made := read_comparison(path)) is not None:
        moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return FoundComparison(first.version, second.version, made, moment)
    of_run = read_comparison(second.path / COMPARISON)
    if of_run is not None and of_run.champion == first.version:
        return FoundComparison(first.version, second.version, of_run, second.created_at)
    return None


def fewer_words(image: ComparedImage) -> int:
    """How many fewer words a person would have to change in the second's caption than in the first's."""
    return image.champion.word_edits - image.candidate.word_edits


# Orders of a comparison's images. Word counts are often equal, so CIDEr-D breaks ties.
_BY: Mapping[str, Callable[[ComparedImage], Any]] = {
    "difference": lambda image: (-abs(fewer_words(image)), -abs(image.candidate.cider_d - image.champion.cider_d)),
    "worst": lambda image: (-image.candidate.word_edits, image.candidate.cider_d),
    "images": lambda image: image.image,
}
ORDERS = tuple(_BY)


def ordered(images: Sequence[ComparedImage], order: str) -> list[ComparedImage]:
    """The images by one of `ORDERS`: most different first, the second's worst first, or unsorted."""
    return sorted(images, key=_BY[order])
