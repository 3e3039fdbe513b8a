"""A background search for problems of the dataset, incremental and cached.

Searching 20,000 corrections takes seconds, most of them in the tokenizer; a page has a tenth of one. So a thread
searches, callers wait only for a moment, and results are cached per correction, picture and caption. After a decision
on one correction only that one is checked again, within that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Any

from sqlalchemy import Executable, String, case, func, select, type_coerce
from sqlalchemy.orm import Session

from captionloop.home import Home
from captionloop.model.database import Correction, CorrectionState, Database, ReviewAction
from captionloop.model.dataset.problems import (
    Captioned,
    Problem,
    ProblemKind,
    disagreement,
    looks_like_a_test,
    missing_pictures,
    of_one,
    same_pictures,
)

PATIENCE_S = 0.25
"""How long a page waits for the search, in seconds."""

_AT_ONCE = 500  # rows read, or captions tokenized, between two checks whether to stop
# Pictures may vanish from the disk without a trace in the database.
_FRESH_S = 600.0

NearDuplicates = Callable[[Session, int], Sequence[tuple[str, ...]]]
"""Groups of near-duplicates among a project's images, by their hashes."""
Vocabulary = Callable[[str], bool]
"""Whether the model can learn to generate a caption (`learnable.is_learnable`)."""


@dataclass(frozen=True)
class KnownProblems:
    """The problems found in a project's dataset.

    Args:
        problems: dismissed ones included.
        is_complete: False while the search is running; then problems may be missing or outdated.
    """

    problems: Sequence[Problem] = ()
    is_complete: bool = False


class ProblemWatch:
    """Searches datasets for problems in one thread, and caches them. Thread-safe."""

    def __init__(self, database: Database, home: Home, *, near_duplicates: NearDuplicates) -> None:
        self._database = database
        self._home = home
        self._near_duplicates = near_duplicates
        self._known: dict[int, _Known] = {}
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dataset-watch")
        self._is_closed = Event()

    def problems(
        self, project_id: int, *, vocabulary: str, open_vocabulary: Callable[[], Vocabulary], patience_s: float
    ) -> KnownProblems:
        """The problems of a project's dataset; if it changed, a search of the changes is started and awaited.

        Args:
            vocabulary: key of `open_vocabulary`'s result, such as the champion's name; when it changes all captions are
                checked again.
            open_vocabulary: called in the searching thread, since it may load a tokenizer.
            patience_s: how long to wait for the end of the search, in seconds.

        Raises:
            CaptionloopError: raised by `open_vocabulary`.
        """
        with self._database.reading() as session:
            state = _State.read(session, project_id, vocabulary)
        with self._lock:
            known = self._known.setdefault(project_id, _Known())
            is_current = known.state == state and monotonic() < known.until
            if not is_current and (known.going is None or known.going.done()):
                known.found = KnownProblems(known.found.problems)
                known.going = self._thread.submit(self._search, project_id, known, state, open_vocabulary)
            going = known.going
        if going is not None and wait([going], patience_s).done:
            going.result()
        return known.found

    def close(self) -> None:
        """Stop searching; waits for the thread."""
        self._is_closed.set()
        self._thread.shutdown(cancel_futures=True)

    def _search(self, project_id: int, known: _Known, state: _State, open_vocabulary: Callable[[], Vocabulary]) -> None:
        dataset, before = known.dataset, known.state
        if before is None or before.vocabulary != state.vocabulary:
            dataset.writable = {}
        with self._database.reading() as session:
            if before is None or before.content != state.content or monotonic() >= known.until:
                known.alike = self._near_duplicates(session, project_id)
                changes = dataset.renew(session, project_id)
            else:
                changes = dataset.renew_left_out(session, project_id)
            for _ in changes:
                if self._is_closed.is_set():
                    return
        alike, stored = known.alike, _names_below(self._home.images)
        known.found = KnownProblems(dataset.problems(stored, alike))
        unknown = dataset.unknown_captions()
        if unknown:
            can_be_written = open_vocabulary()
            for start in range(0, len(unknown), _AT_ONCE):
                if self._is_closed.is_set():
                    return
                dataset.writable |= {text: can_be_written(text) for text in unknown[start : start + _AT_ONCE]}
        known.found = KnownProblems(dataset.problems(stored, alike), is_complete=True)
        known.state, known.until = state, monotonic() + _FRESH_S


@dataclass(frozen=True)
class _Row:
    """A correction, whether it is used in training (else its picture cannot be read), and its change stamp."""

    correction: Captioned
    teaches: bool
    is_test: bool
    stamp: tuple[Any, ...]


class _Dataset:
    """The cached state of a project's corrections. Used by the searching thread only."""

    def __init__(self) -> None:
        self.writable: dict[str, bool] = {}
        self._rows: dict[int, _Row] = {}
        self._of_image: dict[str, set[int]] = {}
        self._disagreements: dict[str, tuple[float, Problem]] = {}
        self._touched: set[str] = set()  # images with corrections that changed since
        self._left_out: set[int] = set()

    def renew(self, session: Session, project_id: int) -> Iterator[None]:
        """Read what changed since the last call, some rows at a time."""
        stamps = _stamps(session, project_id)
        for number in self._rows.keys() - stamps.keys():
            self._drop(number)
        self._left_out = _left_out(session, project_id)
        yield from self._read(
            session, {number: stamp for number, stamp in stamps.items() if self._stamp(number) != stamp}
        )

    def renew_left_out(self, session: Session, project_id: int) -> Iterator[None]:
        """The same if only "left out of training" changed."""
        left_out, before = _left_out(session, project_id), self._left_out
        for number in left_out - before:
            self._drop(number)
        self._left_out = left_out
        yield from self._read(session, _stamps(session, project_id, of=before - left_out))

    def _read(self, session: Session, stamps: Mapping[int, tuple[Any, ...]]) -> Iterator[None]:
        changed = iter(stamps)
        while some := list(islice(changed, _AT_ONCE)):
            for number, image, captions, annotator, state in session.execute(_captioned(some)):
                self._drop(number)
                is_test = any(map(looks_like_a_test, captions))
                correction = Captioned(number, image, captions, annotator)
                self._rows[number] = _Row(correction, state is CorrectionState.ACTIVE, is_test, stamps[number])
                if image is not None:
                    self._of_image.setdefault(image, set()).add(number)
                    self._touched.add(image)
            yield

    def unknown_captions(self) -> list[str]:
        """Captions not checked by the tokenizer yet, newest first."""
        of_rows = (row.correction.captions for row in self._newest() if row.teaches)
        return list({text: None for captions in of_rows for text in captions if text not in self.writable})

    def problems(self, stored: frozenset[str], alike: Sequence[tuple[str, ...]]) -> list[Problem]:
        """
        Args:
            stored: hashes of our copies of pictures.
            alike: groups of near-duplicates.
        """
        rows = list(self._newest())
        teaching = [row.correction for row in rows if row.teaches]
        unreadable = [row.correction for row in rows if not row.teaches]
        return [
            *missing_pictures([*teaching, *unreadable], has_picture=stored.__contains__),
            *(problem for row in rows if row.teaches and (problem := self._of_caption(row))),
            *self._of_pictures(),
            *same_pictures(teaching, alike),
        ]

    def _newest(self) -> Iterator[_Row]:
        return (self._rows[number] for number in sorted(self._rows, reverse=True))

    def _stamp(self, number: int) -> tuple[Any, ...] | None:
        return self._rows[number].stamp if number in self._rows else None

    def _drop(self, number: int) -> None:
        row = self._rows.pop(number, None)
        if row is not None and row.correction.image is not None:
            self._of_image[row.correction.image].discard(number)
            self._touched.add(row.correction.image)

    def _of_caption(self, row: _Row) -> Problem | None:
        if row.is_test:
            return of_one(ProblemKind.TEST, row.correction)
        if all(self.writable.get(text, True) for text in row.correction.captions):
            return None
        return of_one(ProblemKind.CANNOT_BE_WRITTEN, row.correction)

    def _of_pictures(self) -> list[Problem]:
        """Disagreements between annotators, most different first, then newest."""
        for image in self._touched:
            rows = (self._rows[number] for number in sorted(self._of_image[image], reverse=True))
            found = disagreement(image, [row.correction for row in rows if row.teaches])
            self._disagreements.pop(image, None)
            if found:
                self._disagreements[image] = found
        self._touched.clear()
        ordered = sorted(self._disagreements.values(), key=lambda pair: (pair[0], -max(pair[1].corrections)))
        return [problem for _, problem in ordered]


@dataclass(frozen=True)
class _State:
    """Differs after each change of a project's corrections, in any process.

    Args:
        content: changes when corrections come, change or go.
        decisions: changes when a reviewer decides something, or takes it back.
    """

    vocabulary: str
    content: tuple[Any, ...]
    decisions: tuple[Any, ...]

    @classmethod
    def read(cls, session: Session, project_id: int, vocabulary: str) -> _State:
        """The present state of a project's corrections."""
        is_active = Correction.state == CorrectionState.ACTIVE
        left_out, total, active, newest = session.execute(
            select(
                func.sum(case((Correction.left_out, 1), else_=0)),
                func.count(),
                func.sum(case((is_active, 1), else_=0)),
                func.max(Correction.updated_at),
            ).where(Correction.project_id == project_id)
        ).one()
        last = session.scalar(select(func.max(ReviewAction.id)).where(ReviewAction.project_id == project_id))
        return cls(vocabulary, (total, active, newest), (left_out, last))


class _Known:
    """The result for one project.

    Args:
        state: of the corrections when `found` was computed; None before the end of the first search.
        going: the running search, or the last one.
    """

    def __init__(self) -> None:
        self.found = KnownProblems()
        self.dataset = _Dataset()
        self.alike: Sequence[tuple[str, ...]] = ()
        self.state: _State | None = None
        self.until = 0.0
        self.going: Future[None] | None = None


def _stamps(session: Session, project_id: int, *, of: Collection[int] | None = None) -> dict[int, tuple[Any, ...]]:
    """The change stamp of each correction that is used in training, or whose picture cannot be read.

    As raw database values: parsing 20,000 datetimes takes longer than reading them.

    Args:
        of: numbers of corrections; None: all of the project.
    """
    moment, state = type_coerce(Correction.updated_at, String), type_coerce(Correction.state, String)
    chosen = select(Correction.id, Correction.image_sha256, moment, state).where(
        Correction.project_id == project_id,
        Correction.left_out.is_(False),
        Correction.state.in_([CorrectionState.ACTIVE, CorrectionState.IMAGE_UNREADABLE]),
    )
    if of is not None:
        chosen = chosen.where(Correction.id.in_(of))
    return {number: tuple(stamp) for number, *stamp in session.execute(chosen)}


def _left_out(session: Session, project_id: int) -> set[int]:
    return set(
        session.scalars(select(Correction.id).where(Correction.project_id == project_id, Correction.left_out.is_(True)))
    )


def _captioned(numbers: Sequence[int]) -> Executable:
    fields = (Correction.id, Correction.image_sha256, Correction.captions, Correction.annotator, Correction.state)
    return select(*fields).where(Correction.id.in_(numbers))


def _names_below(images: Path) -> frozenset[str]:
    """The hashes of our copies of pictures, by one directory listing."""
    folders = images.iterdir() if images.is_dir() else ()
    return frozenset(path.name for folder in folders for path in folder.iterdir())
