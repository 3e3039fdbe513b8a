"""Corrections for review, with suggestion and picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.tables import DataTable
from captionloop.model.database import Category, Correction, Project
from captionloop.model.dataset import review
from captionloop.model.dataset.review import Order, ReviewFilter
from captionloop.model.dataset.styles import styles_of
from captionloop.model.metrics.word_changes import WordChange, nearest_reference, word_changes

PAGE = 12  # rows that fit beside the picture without scrolling


@dataclass(frozen=True)
class Edit:
    """A reviewer's change of captions."""

    before: Sequence[str]
    by: str
    at: datetime


@dataclass(frozen=True)
class ReviewItem:
    """A correction under review.

    Args:
        image: SHA-256 of the picture's bytes; None without our copy.
        captions: the human captions; `caption` is the one nearest to the suggestion, with `changes` between them.
        words_changed: None without a suggestion; then `changes` are empty.
        guess: our rules' guess of the category; `category` is the reviewer's.
        sent_back: what its annotator is asked to change; empty: nothing.
        edits: captions that there were before reviewers changed them, the latest first; of the opened item only.
        may_be_edited: whether it is in an annotation of Label Studio.
        annotator: None also if the project does not show annotators.
        style: None is the one without a name.
    """

    id: int
    task_id: int | None
    image: str | None
    suggestion: str | None
    version: str | None
    score: float | None
    captions: Sequence[str]
    caption: str
    changes: Sequence[WordChange]
    words_changed: int | None
    guess: Category | None
    category: Category | None
    left_out: bool
    note: str
    sent_back: str
    edits: Sequence[Edit]
    may_be_edited: bool
    annotator: str | None
    annotated_at: datetime
    lead_time_s: float | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    style: str | None


@dataclass(frozen=True)
class Review:
    """The data of the page.

    Args:
        total: number of matching corrections.
        position: of the item in the list, from 0.
        rows: the part of the list around the item.
        item: the open one; None if the list is empty and none was named.
        previous, following: numbers of its neighbours.
    """

    total: int
    position: int
    rows: Sequence[ReviewItem]
    item: ReviewItem | None
    previous: int | None
    following: int | None

    @property
    def page(self) -> int:
        return self.position // PAGE + 1

    @property
    def pages(self) -> int:
        return max(-(-self.total // PAGE), 1)


def read_review(
    room: Room, project: Project, wanted: ReviewFilter, order: Order, *, item: int | None = None, page: int = 1
) -> Review:
    """Gather the page.

    Args:
        item: the correction to open; without it the first one of the page.
        page: of the list, from 1; where no item is named.

    Raises:
        NotFoundError: the project has no such correction.
    """
    with room.database.reading() as session:
        total = review.count(session, project.id, wanted)
        opened: Correction | None
        if item is not None:
            opened = review.get(session, project.id, item)
        else:
            first = min((max(page, 1) - 1) * PAGE, max(total - 1, 0) // PAGE * PAGE)
            opened = next(iter(review.listed(session, project.id, wanted, order, offset=first, limit=1)), None)
        if opened is None:
            return Review(total=0, position=0, rows=[], item=None, previous=None, following=None)
        place = review.neighbours(session, project.id, wanted, order, opened)
        start = place.position // PAGE * PAGE
        listed = review.listed(session, project.id, wanted, order, offset=start, limit=PAGE)
        shows = project.shows_annotators
        styles = {style.id: style.name for style in styles_of(session, project.id)}
        return Review(
            total=total,
            position=place.position,
            rows=[_item(correction, styles, shows_annotators=shows) for correction in listed],
            item=_item(opened, styles, shows_annotators=shows, edits=_edits(session, opened)),
            previous=place.previous,
            following=place.following,
        )


def _edits(session: Session, correction: Correction) -> list[Edit]:
    actions = review.edits(session, correction)
    return [Edit(action.before[review.CAPTIONS], action.by, action.at) for action in actions]


def _item(
    correction: Correction, styles: Mapping[int, str | None], *, shows_annotators: bool, edits: Sequence[Edit] = ()
) -> ReviewItem:
    suggestion, captions = correction.suggestion, correction.captions
    nearest = nearest_reference(suggestion, captions) if suggestion and captions else "".join(captions[:1])
    return ReviewItem(
        id=correction.id,
        task_id=correction.task_id,
        image=correction.image_sha256,
        suggestion=suggestion,
        version=correction.suggestion_version,
        score=correction.suggestion_score,
        captions=captions,
        caption=nearest,
        changes=word_changes(suggestion, nearest) if suggestion else [],
        words_changed=correction.words_changed,
        guess=correction.guess,
        category=correction.category,
        left_out=correction.left_out,
        note=correction.note,
        sent_back=correction.sent_back,
        edits=edits,
        may_be_edited=correction.annotation_id is not None and bool(captions),
        annotator=correction.annotator if shows_annotators else None,
        annotated_at=correction.annotated_at,
        lead_time_s=correction.lead_time_s,
        reviewed_by=correction.reviewed_by,
        reviewed_at=correction.reviewed_at,
        style=styles[correction.style_id or 0],
    )


def review_table(room: Room, project: Project, wanted: ReviewFilter, order: Order) -> DataTable:
    """The filtered corrections for download."""
    columns = [
        "id", "task", "annotation", "image", "suggestion", "version", "score", "captions", "words_changed", "guess",
        "category", "left_out", "note", "annotated_at", "reviewed_by", "reviewed_at",
    ]  # fmt: skip
    if project.shows_annotators:
        columns.append("annotator")

    def rows() -> Iterator[Sequence[Any]]:
        with room.database.reading() as session:
            for found in review.rows(session, project.id, wanted, order):
                values = [
                    found.id, found.task_id, found.annotation_id, found.image_sha256, found.suggestion,
                    found.suggestion_version, found.suggestion_score, found.captions, found.words_changed,
                    found.guess and found.guess.value, found.category and found.category.value, found.left_out,
                    found.note, found.annotated_at, found.reviewed_by, found.reviewed_at,
                ]  # fmt: skip
                yield [*values, found.annotator] if project.shows_annotators else values

    return DataTable(columns, rows())
