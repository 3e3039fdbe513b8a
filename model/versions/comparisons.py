"""Two versions' captions of the same held-out images, wherever they were kept, and ordered for people to look at."""

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
        stored: figures and images; its "champion" is the first, its "candidate" the second.
        made_at: when the captions were written.
    """

    first: str
    second: str
    stored: StoredComparison
    made_at: datetime


def find_comparison(home: Home, project_id: int, first: VersionInfo, second: VersionInfo) -> FoundComparison | None:
    """The comparison of two versions that was made on purpose, else that of the second's run, if it was with the first.

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
    """How many words fewer a person would have to change in the second's caption than in the first's."""
    return image.champion.word_edits - image.candidate.word_edits


# How the images of a comparison can be ordered. Words are few and often equal, so CIDEr-D decides among those.
_BY: Mapping[str, Callable[[ComparedImage], Any]] = {
    "difference": lambda image: (-abs(fewer_words(image)), -abs(image.candidate.cider_d - image.champion.cider_d)),
    "worst": lambda image: (-image.candidate.word_edits, image.candidate.cider_d),
    "images": lambda image: image.image,
}
ORDERS = tuple(_BY)


def ordered(images: Sequence[ComparedImage], order: str) -> list[ComparedImage]:
    """The images by one of `ORDERS`: most different first, the second's worst first, or as they come."""
    return sorted(images, key=_BY[order])
