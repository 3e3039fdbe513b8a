"""Which corrections have a problem and which images are held out, looked through again only when something changed.

To look through 20,000 corrections takes a second, most of it in the tokenizer; a page has a tenth of that. So what was
found is kept until the dataset changes, each caption is tokenised once per vocabulary, and one look tokenises no more
than some thousands of new captions: the next look goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from captionloop.home import Home
from captionloop.model import corrections
from captionloop.model.database import Correction, CorrectionState, ReviewAction
from captionloop.model.dataset_problems import (
    Captioned,
    Problem,
    caption_problems,
    disagreements,
    missing_pictures,
    same_pictures,
)

_CAPTIONS_AT_ONCE = 2000
# Pictures may vanish from the disk without a trace in the database.
_FRESH_S = 600.0

NearDuplicates = Callable[[Session, int], Sequence[tuple[str, ...]]]
"""Groups of a project's images that look alike, by their hashes."""


@dataclass(frozen=True)
class Looked:
    """What a look through a project's dataset found.

    Args:
        problems: those that a person dismissed are among them.
        held_out: hashes of the images that the gate judges by.
        unchecked: captions that the tokenizer has not been asked about yet.
    """

    problems: Sequence[Problem]
    held_out: Collection[str]
    unchecked: int


class DatasetWatch:
    """Looks through datasets and remembers; any thread may ask."""

    def __init__(self, home: Home, *, near_duplicates: NearDuplicates | None = None) -> None:
        """
        Args:
            near_duplicates: left out, no pictures are said to be the same.
        """
        self._home = home
        self._near_duplicates = near_duplicates
        self._known: dict[int, _Known] = {}
        self._lock = Lock()

    def look(
        self, session: Session, project_id: int, *, vocabulary: str, can_be_written: Callable[[str], bool]
    ) -> Looked:
        """Look through a project's dataset.

        Args:
            vocabulary: names what `can_be_written` asks, as the champion's name does; with another one all captions
                are asked about again.
        """
        with self._lock:
            known = self._known.setdefault(project_id, _Known())
            state = (vocabulary, *_state(session, project_id))
            if known.looked is None or known.state != state or monotonic() > known.until:
                if known.vocabulary != vocabulary:
                    known.vocabulary, known.writable = vocabulary, {}
                known.looked = self._look(session, project_id, known.writable, can_be_written)
                # An unfinished look is gone on with at the next one.
                known.state = None if known.looked.unchecked else state
                known.until = monotonic() + _FRESH_S
            return known.looked

    def _look(
        self, session: Session, project_id: int, writable: dict[str, bool], can_be_written: Callable[[str], bool]
    ) -> Looked:
        teaching, unreadable = _corrections(session, project_id)
        unknown = {caption: None for found in teaching for caption in found.captions if caption not in writable}
        for caption in list(unknown)[:_CAPTIONS_AT_ONCE]:
            writable[caption] = can_be_written(caption)
        stored = _names_below(self._home.images)
        alike = self._near_duplicates(session, project_id) if self._near_duplicates else []
        return Looked(
            problems=[
                *missing_pictures([*teaching, *unreadable], has_picture=stored.__contains__),
                *caption_problems(teaching, can_be_written=lambda caption: writable.get(caption, True)),
                *disagreements(teaching),
                *same_pictures(teaching, alike),
            ],
            held_out=frozenset(corrections.split_of(corrections.training_examples(session, project_id)).held_out),
            unchecked=max(len(unknown) - _CAPTIONS_AT_ONCE, 0),
        )


@dataclass
class _Known:
    """What was found out about one project."""

    state: Any = None
    vocabulary: str = ""
    writable: dict[str, bool] = field(default_factory=dict)
    looked: Looked | None = None
    until: float = 0.0


def _state(session: Session, project_id: int) -> tuple[Any, ...]:
    """Another value after each change of the project's corrections, whoever made it."""
    teaches = (Correction.state == CorrectionState.ACTIVE) & Correction.left_out.is_(False)
    counted = session.execute(
        select(func.count(), func.sum(case((teaches, 1), else_=0)), func.max(Correction.updated_at)).where(
            Correction.project_id == project_id
        )
    ).one()
    actions = select(func.max(ReviewAction.id)).where(ReviewAction.project_id == project_id)
    return (*counted, session.scalar(actions))


def _corrections(session: Session, project_id: int) -> tuple[list[Captioned], list[Captioned]]:
    """Those that teach, and those that do not because their picture cannot be read."""
    fields = (Correction.id, Correction.image_sha256, Correction.captions, Correction.annotator)
    query = (
        select(*fields)
        .where(Correction.project_id == project_id, Correction.left_out.is_(False))
        .order_by(Correction.id.desc())
    )
    teaching = session.execute(query.where(Correction.state == CorrectionState.ACTIVE))
    unreadable = session.execute(query.where(Correction.state == CorrectionState.IMAGE_UNREADABLE))
    return [Captioned(*row) for row in teaching], [Captioned(*row) for row in unreadable]


def _names_below(images: Path) -> frozenset[str]:
    """The hashes of the pictures that we have; one listing instead of a question per picture."""
    folders = images.iterdir() if images.is_dir() else ()
    return frozenset(path.name for folder in folders for path in folder.iterdir())
