"""What people kept unchanged, for parts of the corrections: by annotator, week, length and word of the suggestion."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from captionloop.model.captions.scripts import count_units
from captionloop.model.database import Correction, CorrectionState
from captionloop.model.metrics.estimate import Estimate, wilson

NEWEST = 5000  # corrections that are looked at
_LENGTHS = (1, 21, 41, 61, 81)  # characters of the suggestion, from which a part begins
_LEAST = 5  # suggestions that make a word worth a row
_MOST_ROWS = 12

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Slice:
    """A part of the corrections.

    Args:
        name: what is common to it.
        count: its corrections, of which people kept the share `kept` unchanged.
        filters: of the page Review, that lead to it.
    """

    name: str
    count: int
    kept: Estimate
    filters: Mapping[str, str]


@dataclass(frozen=True)
class Slices:
    """The parts, and how many corrections were looked at. Annotators and words come least kept first."""

    looked_at: int
    annotators: Sequence[Slice]
    weeks: Sequence[Slice]
    lengths: Sequence[Slice]
    words: Sequence[Slice]


class _Tally(Generic[Key]):
    def __init__(self) -> None:
        self._found: defaultdict[Key, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, keys: Iterable[Key], *, is_kept: bool) -> None:
        for key in keys:
            self._found[key][0] += 1
            self._found[key][1] += is_kept

    def slices(self, name: Callable[[Key], str], filters: Callable[[Key], Mapping[str, str]]) -> list[Slice]:
        return [
            Slice(name(key), count, wilson(kept, count), filters(key)) for key, (count, kept) in self._found.items()
        ]


def slices(session: Session, project_id: int) -> Slices:
    """The parts of a project's newest corrections that have a suggestion."""
    rows = session.execute(
        select(Correction.suggestion, Correction.words_changed, Correction.annotator, Correction.annotated_at)
        .where(
            Correction.project_id == project_id,
            Correction.state == CorrectionState.ACTIVE,
            Correction.words_changed.is_not(None),
        )
        .order_by(Correction.annotated_at.desc())
        .limit(NEWEST)
    ).all()
    annotators, words = _Tally[str](), _Tally[str]()
    weeks, lengths = _Tally[date](), _Tally[int]()
    for suggestion, changed, annotator, at in rows:
        assert suggestion is not None  # words are changed of one
        is_kept = changed == 0
        annotators.add([annotator] if annotator else [], is_kept=is_kept)
        weeks.add([at.date() - timedelta(days=at.weekday())], is_kept=is_kept)
        lengths.add([max(start for start in _LENGTHS if start <= max(len(suggestion), 1))], is_kept=is_kept)
        words.add(_words(suggestion), is_kept=is_kept)
    frequent = [found for found in words.slices(str, lambda word: {"text": word}) if found.count >= _LEAST]
    return Slices(
        looked_at=len(rows),
        annotators=_least_kept(annotators.slices(str, lambda name: {"annotator": name})),
        weeks=sorted(weeks.slices(str, _in_week), key=lambda found: found.name, reverse=True)[:_MOST_ROWS],
        lengths=sorted(lengths.slices(_length, _of_length), key=lambda found: int(found.filters["length_from"])),
        words=_least_kept(frequent)[:_MOST_ROWS],
    )


def _least_kept(found: Sequence[Slice]) -> list[Slice]:
    """By the upper end of the interval, so that a part of few corrections is not the worst by chance."""
    return sorted(found, key=lambda one: (one.kept.high, one.name))


def _words(suggestion: str) -> set[str]:
    """The words, without what stands around them; in scripts without spaces the characters."""
    pieces = (unit for word in suggestion.casefold().split() for unit in count_units(word))
    units = (piece.strip(".,;:!?\"'()") for piece in pieces)
    return {unit for unit in units if unit}


def _in_week(monday: date) -> dict[str, str]:
    return {"since": str(monday), "until": str(monday + timedelta(days=6))}


def _ends(start: int) -> int | None:
    following = [other for other in _LENGTHS if other > start]
    return following[0] - 1 if following else None


def _length(start: int) -> str:
    end = _ends(start)
    return f"{start} to {end} characters" if end else f"{start} characters and more"


def _of_length(start: int) -> dict[str, str]:
    end = _ends(start)
    return {"length_from": str(start)} | ({"length_to": str(end)} if end else {})
