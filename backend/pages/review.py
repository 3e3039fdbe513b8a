"""Review: suggestion against correction with the picture, one after the other, decided by keys.

The address names the filters and the item, and nothing else decides what a page shows. A decision is a form; it leads
to the next item of the same list, which the address says again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeVar

from flask import flash, redirect, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.arguments import number_in
from captionloop.backend.pages.blueprint import pages
from captionloop.backend.pages.frame import render
from captionloop.backend.pages.room import Room, current_room
from captionloop.backend.pages.tables import DataTable
from captionloop.model.database import Category, Correction, Project
from captionloop.model.dataset import review as model
from captionloop.model.dataset.review import Order, ReviewFilter
from captionloop.model.metrics.word_changes import WordChange, nearest_reference, word_changes

PAGE = 12  # rows that fit beside the picture without scrolling
_LONGEST_SEARCH = 1000
_SHOWN_OF_CAPTION = 60  # characters of it in a message

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ReviewItem:
    """A correction as it is reviewed.

    Args:
        image: SHA-256 of the picture's bytes; None when we have no copy.
        captions: what the person wrote; `caption` is the one nearest to the suggestion, `changes` lead to it.
        words_changed: None without a suggestion, as `changes` are empty then.
        guess: what our rules take for the mistake; `category` is what a reviewer says.
        annotator: None also where the project does not show them.
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
    annotator: str | None
    annotated_at: datetime
    lead_time_s: float | None
    reviewed_by: str | None
    reviewed_at: datetime | None


@dataclass(frozen=True)
class Review:
    """What the page shows.

    Args:
        total: corrections that the filter lets through.
        position: how many of them come before the item.
        rows: the stretch of the list in which the item stands.
        item: the one that is open; None when the list is empty and none was named.
        previous, following: numbers of the corrections beside it.
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


@dataclass(frozen=True)
class ReviewQuery:
    """What an address asks for.

    Args:
        wanted: the filter.
        order: of the list.
        arguments: both as they stand in the address, without what is empty.
    """

    wanted: ReviewFilter
    order: Order
    arguments: Mapping[str, Any]

    @classmethod
    def read(cls, given: Mapping[str, str], *, shows_annotators: bool) -> "ReviewQuery":
        """
        Raises:
            BadRequest: a value that means nothing; the message names it.
        """
        wanted = ReviewFilter(
            version=given.get("version") or None,
            annotator=(given.get("annotator") or None) if shows_annotators else None,
            is_changed=_one_of(given, "words", {"changed": True, "unchanged": False}),
            category=_one_of(given, "category", {category.value: category for category in Category}),
            lowest_score=_number(given, "score_from"),
            highest_score=_number(given, "score_to"),
            since=_day(given, "since"),
            until=_day(given, "until"),
            is_reviewed=_one_of(given, "reviewed", {"yes": True, "no": False}),
            is_left_out=_one_of(given, "left_out", {"yes": True, "no": False}),
            text=_search(given, "text"),
        )
        order = _one_of(given, "sort", {order.value: order for order in Order}) or Order.MOST_CHANGED
        arguments = {name: value for name in _ARGUMENTS if (value := given.get(name, "").strip())}
        return cls(wanted, order, arguments)

    def address(self, number: int, **more: Any) -> str:
        """The page with these filters; `more` are further arguments, as `item`."""
        return url_for("pages.review", number=number, **self.arguments, **more)


_ARGUMENTS = (
    "text", "words", "category", "version", "annotator", "score_from", "score_to", "since", "until", "reviewed",
    "left_out", "sort",
)  # fmt: skip


def read_review(room: Room, project: Project, query: ReviewQuery, *, item: int | None = None, page: int = 1) -> Review:
    """Gather the page.

    Args:
        item: the correction to open; without it the first one of the page.
        page: of the list, from 1; where no item is named.

    Raises:
        NotFoundError: the project has no such correction.
    """
    wanted, order = query.wanted, query.order
    with room.database.reading() as session:
        total = model.count(session, project.id, wanted)
        opened: Correction | None
        if item is not None:
            opened = model.get(session, project.id, item)
        else:
            first = min((max(page, 1) - 1) * PAGE, max(total - 1, 0) // PAGE * PAGE)
            opened = next(iter(model.listed(session, project.id, wanted, order, offset=first, limit=1)), None)
        if opened is None:
            return Review(total=0, position=0, rows=[], item=None, previous=None, following=None)
        place = model.neighbours(session, project.id, wanted, order, opened)
        start = place.position // PAGE * PAGE
        listed = model.listed(session, project.id, wanted, order, offset=start, limit=PAGE)
        shows = project.shows_annotators
        return Review(
            total=total,
            position=place.position,
            rows=[_item(correction, shows_annotators=shows) for correction in listed],
            item=_item(opened, shows_annotators=shows),
            previous=place.previous,
            following=place.following,
        )


def _item(correction: Correction, *, shows_annotators: bool) -> ReviewItem:
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
        annotator=correction.annotator if shows_annotators else None,
        annotated_at=correction.annotated_at,
        lead_time_s=correction.lead_time_s,
        reviewed_by=correction.reviewed_by,
        reviewed_at=correction.reviewed_at,
    )


@pages.get("/projects/<int:number>/review")
def review(number: int) -> str | Response:
    room = current_room()
    project = room.project(number)
    query = _query(project)
    if any(not value for value in request.args.values()):  # a form sends the fields that nobody filled in, too
        return redirect(query.address(number))
    if wanted := review_table(room, project, query).download(
        request.args.get("format"), name=f"corrections-of-project-{number}"
    ):
        return wanted
    shown = read_review(
        room, project, query, item=number_in(request.args, "item"), page=number_in(request.args, "page") or 1
    )
    with room.database.reading() as session:
        annotators = model.annotators(session, project.id) if project.shows_annotators else []
    return render(
        "review.html",
        project,
        review=shown,
        query=query,
        filters=query.arguments,
        categories=list(Category),
        versions=[info.version for info in room.versions.all_of(project.id)],
        annotators=annotators,
        task=room.label_studio_task(project, shown.item.task_id) if shown.item and shown.item.task_id else None,
        longest_note=model.LONGEST_NOTE,
    )


@pages.post("/projects/<int:number>/review/<int:item>")
def decide(number: int, item: int) -> Response:
    """Keep a decision and go on to the next item; after a note, stay."""
    room = current_room()
    project = room.project(number)
    query = _query(project)
    category = _one_of(request.form, "category", {category.value: category for category in Category})
    left_out = _one_of(request.form, "left_out", {"yes": True, "no": False})
    note = request.form.get("note")
    if category is None and left_out is None and note is None:
        raise BadRequest("Nothing was decided; expected a category, left_out or a note.")
    if note is not None and len(note) > model.LONGEST_NOTE:
        raise BadRequest(f"The note has {len(note)} characters; there is room for {model.LONGEST_NOTE}.")
    with room.database.session() as session:
        correction = model.get(session, project.id, item)
        # Looked up before the decision, which may take the correction out of the list.
        place = model.neighbours(session, project.id, query.wanted, query.order, correction)
        model.decide(
            session, project.id, item, by=visitor().name, category=category, left_out=left_out, note=note
        )  # fmt: skip
        caption = "".join(correction.captions[:1])
    flash(f"{_said(category, left_out)}: {_shortened(caption)}")
    stays = category is None and left_out is None
    return redirect(query.address(number, item=item if stays else place.following or item))


@pages.post("/projects/<int:number>/review/undo")
def undo(number: int) -> Response:
    """Take back the visitor's last decision and show what it was about."""
    room = current_room()
    project = room.project(number)
    with room.database.session() as session:
        action = model.undo(session, project.id, by=visitor().name)
    flash("Taken back." if action else "There is nothing of yours to take back.")
    item = action.correction_id if action else number_in(request.args, "item")
    return redirect(_query(project).address(number, **({"item": item} if item is not None else {})))


def review_table(room: Room, project: Project, query: ReviewQuery) -> DataTable:
    """The filtered corrections, to take away."""
    columns = [
        "id", "task", "annotation", "image", "suggestion", "version", "score", "captions", "words_changed", "guess",
        "category", "left_out", "note", "annotated_at", "reviewed_by", "reviewed_at",
    ]  # fmt: skip
    if project.shows_annotators:
        columns.append("annotator")

    def rows() -> Iterator[Sequence[Any]]:
        with room.database.reading() as session:
            for found in model.rows(session, project.id, query.wanted, query.order):
                values = [
                    found.id, found.task_id, found.annotation_id, found.image_sha256, found.suggestion,
                    found.suggestion_version, found.suggestion_score, found.captions, found.words_changed,
                    found.guess and found.guess.value, found.category and found.category.value, found.left_out,
                    found.note, found.annotated_at, found.reviewed_by, found.reviewed_at,
                ]  # fmt: skip
                yield [*values, found.annotator] if project.shows_annotators else values

    return DataTable(columns, rows())


def _query(project: Project) -> ReviewQuery:
    return ReviewQuery.read(request.args, shows_annotators=project.shows_annotators)


def _said(category: Category | None, left_out: bool | None) -> str:
    if category is not None:
        return category.value.capitalize()
    if left_out is not None:
        return "Left out of training" if left_out else "Kept for training"
    return "Noted"


def _shortened(caption: str) -> str:
    shown = caption if len(caption) <= _SHOWN_OF_CAPTION else caption[: _SHOWN_OF_CAPTION - 1] + "…"
    return f"“{shown}”"


def _one_of(given: Mapping[str, str], name: str, values: Mapping[str, _Value]) -> _Value | None:
    value = given.get(name, "")
    if value and value not in values:
        raise BadRequest(f"{name} is {value!r}; expected one of {', '.join(values)}.")
    return values[value] if value else None


def _search(given: Mapping[str, str], name: str) -> str:
    value = given.get(name, "").strip()
    if len(value) > _LONGEST_SEARCH:
        raise BadRequest(f"{name} has {len(value)} characters; there is room for {_LONGEST_SEARCH}.")
    return value


def _number(given: Mapping[str, str], name: str) -> float | None:
    value = given.get(name, "").strip()
    try:
        return float(value) if value else None
    except ValueError as error:
        raise BadRequest(f"{name} is {value!r}; expected a number between 0 and 1.") from error


def _day(given: Mapping[str, str], name: str) -> date | None:
    value = given.get(name, "").strip()
    try:
        return date.fromisoformat(value) if value else None
    except ValueError as error:
        raise BadRequest(f"{name} is {value!r}; expected a day as 2026-11-24.") from error
