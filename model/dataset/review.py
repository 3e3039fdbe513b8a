"""Reviewing corrections: filters, orders, and the reviewer's decisions.

A decision is stored in the correction, in columns that a sync never changes, and as a `ReviewAction` with the fields
before and after, for undo.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from captionloop.errors import NotFoundError
from captionloop.model.captions.search import search_form
from captionloop.model.database import Category, Correction, CorrectionState, ReviewAction, utc_now
from captionloop.model.dataset.corrections import rewrite

# Above it a tab shows "999+": counting all would slow down every page.
MOST_COUNTED = 999
LONGEST_NOTE = 2000  # characters
CAPTIONS = "captions"
"""In a `ReviewAction`: the captions that a reviewer changed, in Label Studio as well."""
# Sorts after every score and every number of changed words: corrections without one come last.
_NO_SCORE = 2.0
_NO_CHANGE = -1
# Imported captions have no task, and no person of this project to ask.
_IS_CORRECTED = or_(
    func.coalesce(Correction.words_changed, 0) > 0,
    and_(Correction.words_changed.is_(None), Correction.task_id.is_not(None)),
)


class Order(enum.StrEnum):
    """In which order corrections are reviewed."""

    MOST_CHANGED = "most-changed"
    LOWEST_SCORE = "lowest-score"
    NEWEST = "newest"


@dataclass(frozen=True)
class ReviewFilter:
    """Which corrections to review; a field that is None or empty does not filter.

    Args:
        version: of the suggestion.
        annotator: of the correction.
        is_changed: whether a word of the suggestion was changed.
        is_corrected: whether a person wrote it: changed, or in Label Studio without a suggestion of ours.
        category: the reviewer's, or our guess where no reviewer chose one.
        lowest_score, highest_score: of the suggestion, both included.
        since, until: days (UTC) of the annotation, both included.
        is_reviewed: whether a reviewer decided anything.
        is_left_out: of training.
        is_sent_back: to its annotator, who has not changed it since.
        length_from, length_to: characters of the suggestion, both included.
        text: in the suggestion or a caption, ignoring case and accents.
        style: number of the correction's; 0 is the one without a name.
        numbers: of the corrections.
    """

    version: str | None = None
    annotator: str | None = None
    is_changed: bool | None = None
    is_corrected: bool | None = None
    category: Category | None = None
    lowest_score: float | None = None
    highest_score: float | None = None
    since: date | None = None
    until: date | None = None
    is_reviewed: bool | None = None
    is_left_out: bool | None = None
    is_sent_back: bool | None = None
    length_from: int | None = None
    length_to: int | None = None
    text: str = ""
    style: int | None = None
    numbers: Sequence[int] = ()

    def conditions(self, project_id: int) -> list[ColumnElement[bool]]:
        """The filter in SQL. Only active corrections are reviewed, since only they can be trained on."""
        found = [Correction.project_id == project_id, Correction.state == CorrectionState.ACTIVE]
        if self.version is not None:
            found.append(Correction.suggestion_version == self.version)
        if self.annotator is not None:
            found.append(Correction.annotator == self.annotator)
        if self.is_changed is not None:
            found.append(Correction.words_changed > 0 if self.is_changed else Correction.words_changed == 0)
        if self.is_corrected is not None:
            found.append(_IS_CORRECTED if self.is_corrected else ~_IS_CORRECTED)
        if self.category is not None:
            found.append(func.coalesce(Correction.category, Correction.guess) == self.category)
        if self.lowest_score is not None:
            found.append(Correction.suggestion_score >= self.lowest_score)
        if self.highest_score is not None:
            found.append(Correction.suggestion_score <= self.highest_score)
        if self.since is not None:
            found.append(Correction.annotated_at >= _midnight(self.since))
        if self.until is not None and self.until < date.max:
            found.append(Correction.annotated_at < _midnight(self.until + timedelta(days=1)))
        if self.is_reviewed is not None:
            found.append(Correction.reviewed_at.is_not(None) if self.is_reviewed else Correction.reviewed_at.is_(None))
        if self.is_left_out is not None:
            found.append(Correction.left_out.is_(self.is_left_out))
        if self.is_sent_back is not None:
            found.append(Correction.sent_back != "" if self.is_sent_back else Correction.sent_back == "")
        if self.length_from is not None:
            found.append(func.length(Correction.suggestion) >= self.length_from)
        if self.length_to is not None:
            found.append(func.length(Correction.suggestion) <= self.length_to)
        if self.text:
            found.append(contains(self.text))
        if self.style is not None:
            found.append(Correction.style_id.is_not_distinct_from(self.style or None))
        if self.numbers:
            found.append(Correction.id.in_(self.numbers))
        return found


@dataclass(frozen=True)
class Neighbours:
    """The position of a correction in a list.

    Args:
        position: from 0.
        previous, following: numbers of the neighbours; None at the ends.
    """

    position: int
    previous: int | None
    following: int | None


def contains(text: str) -> ColumnElement[bool]:
    """Whether a text is in a correction's suggestion or captions, ignoring case and accents."""
    return Correction.search_text.contains(search_form(text), autoescape=True)


def count(session: Session, project_id: int, wanted: ReviewFilter) -> int:
    return session.scalar(select(func.count()).where(*wanted.conditions(project_id))) or 0


def count_to_review(session: Session, project_id: int) -> int:
    """The number of unreviewed captions that a person wrote or changed, counted up to `MOST_COUNTED` + 1."""
    conditions = ReviewFilter(is_corrected=True, is_reviewed=False).conditions(project_id)
    some = select(Correction.id).where(*conditions).limit(MOST_COUNTED + 1).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def listed(
    session: Session, project_id: int, wanted: ReviewFilter, order: Order, *, offset: int, limit: int
) -> Sequence[Correction]:
    """A page of the list."""
    # Sorting ids alone is ten times as fast as sorting whole rows.
    chosen = _ordered(select(Correction.id), order).where(*wanted.conditions(project_id)).offset(offset).limit(limit)
    return session.scalars(_ordered(select(Correction).where(Correction.id.in_(chosen)), order)).all()


def rows(session: Session, project_id: int, wanted: ReviewFilter, order: Order) -> Iterator[Correction]:
    """The whole list, a thousand rows in memory at a time."""
    query = _ordered(select(Correction), order).where(*wanted.conditions(project_id))
    for row in session.scalars(query.execution_options(yield_per=1000)):
        yield row
        session.expunge(row)


def get(session: Session, project_id: int, correction_id: int) -> Correction:
    """
    Raises:
        NotFoundError: the project has no such correction.
    """
    found = session.get(Correction, correction_id)
    if found is None or found.project_id != project_id:
        raise NotFoundError(f"There is no correction {correction_id} in this project.")
    return found


def neighbours(
    session: Session, project_id: int, wanted: ReviewFilter, order: Order, correction: Correction
) -> Neighbours:
    """The position of a correction in the list, even if the filter excludes it.

    One that was just decided may no longer match a filter for unreviewed ones; it keeps its position.
    """
    conditions = wanted.conditions(project_id)
    before, after = _before(order, correction), _after(order, correction)
    chosen = select(Correction.id).where(*conditions)
    return Neighbours(
        position=session.scalar(select(func.count()).where(*conditions, before)) or 0,
        previous=session.scalar(_ordered(chosen.where(before), order, backwards=True).limit(1)),
        following=session.scalar(_ordered(chosen.where(after), order).limit(1)),
    )


def annotators(session: Session, project_id: int) -> list[str]:
    """The annotators of corrections, sorted."""
    chosen = select(Correction.annotator).where(Correction.project_id == project_id, Correction.annotator.is_not(None))
    return [name for name in session.scalars(chosen.distinct().order_by(Correction.annotator)) if name]


def decide(
    session: Session,
    project_id: int,
    correction_id: int,
    *,
    by: str,
    category: Category | None = None,
    left_out: bool | None = None,
    note: str | None = None,
    sent_back: str | None = None,
) -> ReviewAction:
    """Store a reviewer's decision; fields that are None stay unchanged.

    Args:
        sent_back: what its annotator is asked to change; empty: nothing any more.

    Raises:
        NotFoundError: the project has no such correction.
    """
    correction = _locked(session, project_id, correction_id)
    chosen = {"category": category, "left_out": left_out, "note": note, "sent_back": sent_back}
    values: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    values |= {"reviewed_by": by, "reviewed_at": utc_now()}
    action = _remember(session, correction, values, by=by)
    for name, value in values.items():
        setattr(correction, name, value)
    session.flush()
    return action


def edit(
    session: Session, project_id: int, correction_id: int, captions: Sequence[str], *, updated_at: datetime, by: str
) -> Correction:
    """Keep a reviewer's change of captions that Label Studio has already; the earlier ones stay as a revision.

    Args:
        updated_at: of the annotation, by Label Studio's clock.

    Raises:
        NotFoundError: the project has no such correction.
    """
    correction = _locked(session, project_id, correction_id)
    now = utc_now()
    _remember(
        session, correction, {CAPTIONS: list(captions), "sent_back": "", "reviewed_by": by, "reviewed_at": now}, by=by
    )
    correction.reviewed_by, correction.reviewed_at = by, now
    rewrite(session, correction, captions, updated_at=updated_at)
    return correction


def _remember(session: Session, correction: Correction, values: dict[str, Any], *, by: str) -> ReviewAction:
    action = ReviewAction(
        project_id=correction.project_id,
        correction_id=correction.id,
        before={name: _to_json(getattr(correction, name)) for name in values},
        after={name: _to_json(value) for name, value in values.items()},
        by=by,
    )
    session.add(action)
    return action


def last_action(session: Session, project_id: int, *, by: str) -> ReviewAction | None:
    """A reviewer's last decision in a project that is not undone yet; None when there is none."""
    return session.scalars(
        select(ReviewAction)
        .where(ReviewAction.project_id == project_id, ReviewAction.by == by, ReviewAction.undone.is_(False))
        .order_by(ReviewAction.id.desc())
        .limit(1)
        .with_for_update()
    ).first()


def edits(session: Session, correction: Correction) -> list[ReviewAction]:
    """Reviewers' changes of a correction's captions that were not undone, the latest first."""
    chosen = select(ReviewAction).where(ReviewAction.correction_id == correction.id, ReviewAction.undone.is_(False))
    return [action for action in session.scalars(chosen.order_by(ReviewAction.id.desc())) if CAPTIONS in action.before]


def forget(session: Session, action_id: int) -> None:
    """Take a decision for undone that cannot be undone any more."""
    session.get_one(ReviewAction, action_id).undone = True


def undo(session: Session, project_id: int, *, by: str, updated_at: datetime | None = None) -> ReviewAction | None:
    """Undo a reviewer's last decision in a project that is not undone yet; None when there is none.

    Fields that another reviewer has set since keep that reviewer's value.

    Args:
        updated_at: of the annotation, where Label Studio has the captions of before the decision again.
    """
    action = last_action(session, project_id, by=by)
    if action is None:
        return None
    correction = _locked(session, project_id, action.correction_id)
    for name, value in action.before.items():
        if name == CAPTIONS:
            if updated_at is not None:
                rewrite(session, correction, value, updated_at=updated_at)
        elif _to_json(getattr(correction, name)) == action.after[name]:
            setattr(correction, name, _from_json(name, value))
    action.undone = True
    session.flush()
    return action


def _locked(session: Session, project_id: int, correction_id: int) -> Correction:
    session.execute(select(Correction.id).where(Correction.id == correction_id).with_for_update())
    return get(session, project_id, correction_id)


def _to_json(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    return value.isoformat() if isinstance(value, datetime) else value


def _from_json(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "category":
        return Category(value)
    return datetime.fromisoformat(value) if name == "reviewed_at" else value


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


# The sort key of each order: an SQL expression, its value for a row, and whether it is descending. Ties are broken by
# id in the same direction, so that every row has a unique position.


def _key(order: Order) -> tuple[ColumnElement[Any], bool]:
    if order is Order.MOST_CHANGED:
        return func.coalesce(Correction.words_changed, _NO_CHANGE), True
    if order is Order.LOWEST_SCORE:
        return func.coalesce(Correction.suggestion_score, _NO_SCORE), False
    return Correction.annotated_at.expression, True


def _value(order: Order, correction: Correction) -> Any:
    if order is Order.MOST_CHANGED:
        return _NO_CHANGE if correction.words_changed is None else correction.words_changed
    if order is Order.LOWEST_SCORE:
        return _NO_SCORE if correction.suggestion_score is None else correction.suggestion_score
    return correction.annotated_at


def _ordered(query: Select[Any], order: Order, *, backwards: bool = False) -> Select[Any]:
    key, descending = _key(order)
    if descending != backwards:
        return query.order_by(key.desc(), Correction.id.desc())
    return query.order_by(key.asc(), Correction.id.asc())


def _before(order: Order, correction: Correction) -> ColumnElement[bool]:
    return _beyond(order, correction, larger=_key(order)[1])


def _after(order: Order, correction: Correction) -> ColumnElement[bool]:
    return _beyond(order, correction, larger=not _key(order)[1])


def _beyond(order: Order, correction: Correction, *, larger: bool) -> ColumnElement[bool]:
    key, value = _key(order)[0], _value(order, correction)
    if larger:
        return or_(key > value, and_(key == value, Correction.id > correction.id))
    return or_(key < value, and_(key == value, Correction.id < correction.id))
