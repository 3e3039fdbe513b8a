"""Corrections as JSON: filtered lists, and a reviewer's decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Literal

from werkzeug.exceptions import BadRequest

from captionloop.backend.api.endpoints import api
from captionloop.backend.page_data.review import ReviewItem, read_review
from captionloop.backend.page_data.room import Room
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.blueprint import current_room
from captionloop.backend.pages.review import ReviewQuery
from captionloop.model.database import Category, Project
from captionloop.model.dataset import review

_Yes = Literal["yes", "no"]


@dataclass(frozen=True)
class CorrectionQuery:
    """Which corrections, in which order; by default all. The names are those of the page's query.

    Args:
        text: in the suggestion or a caption, ignoring case and accents.
        words: "changed" or "unchanged" suggestions; "corrected": changed, or written without a suggestion.
        category: the reviewer's, or our guess if there is none.
        version: of the suggestion.
        annotator: of the correction; ignored if the project does not show annotators.
        score_from, score_to: of the suggestion, both included.
        since, until: days (UTC) of the annotation, both included.
        reviewed: whether a reviewer decided anything.
        left_out: of training.
        style: number of its style; 0 is the one without a name.
        numbers: of the corrections, with commas between them.
        sort: the order.
        page: of the list, from 1.
    """

    text: str | None = None
    words: Literal["changed", "unchanged", "corrected"] | None = None
    category: Category | None = None
    version: str | None = None
    annotator: str | None = None
    score_from: float | None = None
    score_to: float | None = None
    since: date | None = None
    until: date | None = None
    reviewed: _Yes | None = None
    left_out: _Yes | None = None
    style: int | None = None
    numbers: str | None = None
    sort: review.Order = review.Order.MOST_CHANGED
    page: int = 1

    def read(self, project: Project) -> ReviewQuery:
        """The same as the page reads it from its address."""
        given = {name: value for name, value in asdict(self).items() if value is not None and name != "page"}
        as_text = {name: getattr(value, "value", None) or str(value) for name, value in given.items()}
        return ReviewQuery.read(as_text, shows_annotators=project.shows_annotators)


@dataclass(frozen=True)
class CorrectionPage:
    """A page of a list of corrections.

    Args:
        total: number of matching corrections.
        page, pages: this page, and how many there are, from 1.
        to_review: number of unreviewed captions that a person wrote or changed, counted up to a thousand.
        corrections: those of this page.
    """

    total: int
    page: int
    pages: int
    to_review: int
    corrections: Sequence[ReviewItem]


@dataclass(frozen=True)
class Decision:
    """A reviewer's decision; absent fields stay unchanged.

    Args:
        category: what was wrong with the suggestion.
        left_out: whether the correction is left out of training.
        note: for other people; at most 2000 characters.
    """

    category: Category | None = None
    left_out: bool | None = None
    note: str | None = None


@api.get("/projects/<int:number>/corrections")
def list_corrections(number: int, query: CorrectionQuery) -> CorrectionPage:
    """Corrections with their suggestions, by pages."""
    room = current_room()
    project = room.project(number)
    asked = query.read(project)
    shown = read_review(room, project, asked.wanted, asked.order, page=query.page)
    with room.database.reading() as session:
        to_review = review.count_to_review(session, project.id)
    return CorrectionPage(shown.total, shown.page, shown.pages, to_review, shown.rows)


@api.get("/projects/<int:number>/corrections/<int:correction>")
def get_correction(number: int, correction: int) -> ReviewItem:
    """One correction."""
    room = current_room()
    return _item(room, room.project(number), correction)


@api.post("/projects/<int:number>/corrections/<int:correction>")
def post_decision(number: int, correction: int, body: Decision) -> ReviewItem:
    """Decide on a correction, as on the page; returns the changed correction."""
    if body == Decision():
        raise BadRequest("Nothing was decided; expected category, left_out or note.")
    if body.note and len(body.note) > review.LONGEST_NOTE:
        raise BadRequest(f"The note has {len(body.note)} characters; there is room for {review.LONGEST_NOTE}.")
    room = current_room()
    project = room.project(number)
    with room.database.session() as session:
        review.decide(session, project.id, correction, by=visitor().name, **asdict(body))
    return _item(room, project, correction)


@api.post("/projects/<int:number>/corrections/undo")
def post_undo(number: int) -> ReviewItem | None:
    """Undo your own last decision in this project; returns its correction, or null if there was none."""
    room = current_room()
    project = room.project(number)
    action = room.undo_review(project, by=visitor().name)
    return _item(room, project, action.correction_id) if action else None


def _item(room: Room, project: Project, correction: int) -> ReviewItem:
    item = read_review(room, project, review.ReviewFilter(), review.Order.MOST_CHANGED, item=correction).item
    assert item is not None  # else it would not have been found
    return item
