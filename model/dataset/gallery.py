"""Queries for the page Dataset: corrections by state and split, dismissed problems, figures per annotator."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from captionloop.errors import NotFoundError
from captionloop.model.database import Correction, CorrectionState, Dismissal, utc_now
from captionloop.model.dataset.problems import ProblemKind
from captionloop.model.dataset.review import contains

TEACHING, LEFT_OUT = "teaching", "left-out"
STATES = (TEACHING, LEFT_OUT, *(state.value for state in CorrectionState if state is not CorrectionState.ACTIVE))
TRAIN, HELD_OUT = "train", "held-out"


@dataclass(frozen=True)
class GalleryFilter:
    """Which corrections to show.

    Args:
        state: one of `STATES`; None: all.
        split: `TRAIN` or `HELD_OUT`, of those used in training or by the gate; None: both.
        held_out: hashes of the images that are held out.
        text: in the suggestion or a caption, ignoring case and accents; empty: any.
    """

    state: str | None
    split: str | None
    held_out: Collection[str]
    text: str = ""

    def conditions(self, project_id: int) -> list[ColumnElement[bool]]:
        """The same in SQL."""
        found = [Correction.project_id == project_id]
        if self.state in (TEACHING, LEFT_OUT) or self.split is not None:
            found.append(Correction.state == CorrectionState.ACTIVE)
        if self.state == LEFT_OUT:
            found.append(Correction.left_out.is_(True))
        elif self.state == TEACHING or self.split is not None:
            found.append(Correction.left_out.is_(False))
        elif self.state is not None:
            found.append(Correction.state == CorrectionState(self.state))
        if self.split is not None:
            is_held_out = Correction.image_sha256.in_(sorted(self.held_out))
            found.append(is_held_out if self.split == HELD_OUT else ~is_held_out)
        if self.text:
            found.append(contains(self.text))
        return found


@dataclass(frozen=True)
class AnnotatorFigures:
    """Figures of one annotator.

    Args:
        corrections: active ones, those left out of training included.
        median_time_s: median lead time of a task, in seconds; None if Label Studio has none.
        changed: share of those with a suggestion in which a word was changed; None without any.
    """

    annotator: str
    corrections: int
    median_time_s: float | None
    changed: float | None


def count(session: Session, project_id: int, wanted: GalleryFilter) -> int:
    return session.scalar(select(func.count()).where(*wanted.conditions(project_id))) or 0


def listed(
    session: Session, project_id: int, wanted: GalleryFilter, *, offset: int, limit: int
) -> Sequence[Correction]:
    """A page of the gallery, newest first."""
    query = select(Correction).where(*wanted.conditions(project_id))
    newest = (Correction.annotated_at.desc(), Correction.id.desc())
    return session.scalars(query.order_by(*newest).offset(offset).limit(limit)).all()


def rows(session: Session, project_id: int, wanted: GalleryFilter) -> Iterator[Correction]:
    """The whole gallery, oldest first, a thousand rows in memory at a time."""
    query = select(Correction).where(*wanted.conditions(project_id)).order_by(Correction.id)
    for row in session.scalars(query.execution_options(yield_per=1000)):
        yield row
        session.expunge(row)


def by_number(session: Session, project_id: int, numbers: Collection[int]) -> dict[int, Correction]:
    """These corrections of the project."""
    chosen = select(Correction).where(Correction.project_id == project_id, Correction.id.in_(numbers))
    return {row.id: row for row in session.scalars(chosen)}


def dismissals(session: Session, project_id: int) -> list[Dismissal]:
    """The dismissed problems, latest first."""
    chosen = select(Dismissal).where(Dismissal.project_id == project_id, Dismissal.taken_back_at.is_(None))
    return list(session.scalars(chosen.order_by(Dismissal.id.desc())))


def dismiss(session: Session, project_id: int, kind: ProblemKind, subject: str, *, by: str) -> None:
    """Dismiss a problem. Idempotent."""
    same = [Dismissal.kind == kind.value, Dismissal.subject == subject, Dismissal.taken_back_at.is_(None)]
    if session.scalars(select(Dismissal.id).where(Dismissal.project_id == project_id, *same)).first() is None:
        session.add(Dismissal(project_id=project_id, kind=kind.value, subject=subject, by=by))
        session.flush()


def take_back(session: Session, project_id: int, dismissal_id: int, *, by: str) -> None:
    """Show a dismissed problem again.

    Raises:
        NotFoundError: it was not dismissed, or is shown again already.
    """
    found = session.get(Dismissal, dismissal_id)
    if found is None or found.project_id != project_id or found.taken_back_at is not None:
        raise NotFoundError("This problem is not dismissed, or no longer.")
    found.taken_back_by, found.taken_back_at = by, utc_now()
    session.flush()


def annotator_figures(session: Session, project_id: int) -> list[AnnotatorFigures]:
    """The figures of each annotator, busiest first."""
    active = [
        Correction.project_id == project_id,
        Correction.state == CorrectionState.ACTIVE,
        Correction.annotator.is_not(None),
    ]
    changed = func.avg(case((Correction.words_changed > 0, 1.0), (Correction.words_changed == 0, 0.0)))
    figures = session.execute(
        select(Correction.annotator, func.count(), changed).where(*active).group_by(Correction.annotator)
    ).all()
    times = _median_times(session, active)
    found = [
        AnnotatorFigures(name or "", total, times.get(name), None if share is None else float(share))
        for name, total, share in figures
    ]
    return sorted(found, key=lambda row: (-row.corrections, row.annotator))


def _median_times(session: Session, active: Sequence[ColumnElement[bool]]) -> dict[str | None, float]:
    """The median of each annotator's times."""
    ranked = (
        select(
            Correction.annotator,
            Correction.lead_time_s,
            func.row_number().over(partition_by=Correction.annotator, order_by=Correction.lead_time_s).label("rank"),
            func.count().over(partition_by=Correction.annotator).label("total"),
        )
        .where(*active, Correction.lead_time_s.is_not(None))
        .subquery()
    )
    middle = ranked.c.rank.in_([(ranked.c.total + 1) // 2, (ranked.c.total + 2) // 2])
    medians = select(ranked.c.annotator, func.avg(ranked.c.lead_time_s)).where(middle).group_by(ranked.c.annotator)
    return {name: float(median) for name, median in session.execute(medians)}
