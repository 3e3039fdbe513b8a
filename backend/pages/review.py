"""Review: suggestion beside correction with the picture, one at a time, by keyboard.

The page depends only on the filters and the item in its address. A decision is a form, and redirects to the next item
of the same list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import flash, redirect, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from captionloop.backend.page_data.review import read_review, review_table
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.arguments import YES_NO, day_of, number_in, numbers_of, one_of, search_of, share_of
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.downloads import download
from captionloop.backend.pages.frame import render
from captionloop.model.database import Category, Project
from captionloop.model.dataset import review as reviews
from captionloop.model.dataset.review import Order, ReviewFilter
from captionloop.model.dataset.styles import styles_of

_SHOWN_OF_CAPTION = 60  # characters of it in a message
# A caption within a message keeps its own direction (UAX #9, section 2.4).
_ISOLATED, _ISOLATION_ENDS = "\u2068", "\u2069"


@dataclass(frozen=True)
class ReviewQuery:
    """The parsed query.

    Args:
        wanted: the filter.
        order: of the list.
        arguments: both as in the address, without empty ones.
    """

    wanted: ReviewFilter
    order: Order
    arguments: Mapping[str, Any]

    @classmethod
    def read(cls, given: Mapping[str, str], *, shows_annotators: bool) -> "ReviewQuery":
        """
        Raises:
            BadRequest: an invalid value, which the message names.
        """
        words = one_of(given, "words", {kind: kind for kind in ("changed", "unchanged", "corrected")}) or ""
        wanted = ReviewFilter(
            version=given.get("version") or None,
            annotator=(given.get("annotator") or None) if shows_annotators else None,
            is_changed={"changed": True, "unchanged": False}.get(words),
            is_corrected=True if words == "corrected" else None,
            category=one_of(given, "category", {category.value: category for category in Category}),
            lowest_score=share_of(given, "score_from"),
            highest_score=share_of(given, "score_to"),
            since=day_of(given, "since"),
            until=day_of(given, "until"),
            is_reviewed=one_of(given, "reviewed", YES_NO),
            is_left_out=one_of(given, "left_out", YES_NO),
            is_sent_back=one_of(given, "sent_back", YES_NO),
            length_from=number_in(given, "length_from"),
            length_to=number_in(given, "length_to"),
            text=search_of(given, "text"),
            style=number_in(given, "style"),
            numbers=numbers_of(given, "numbers"),
        )
        order = one_of(given, "sort", {order.value: order for order in Order}) or Order.MOST_CHANGED
        arguments = {name: value for name in _ARGUMENTS if (value := given.get(name, "").strip())}
        return cls(wanted, order, arguments)

    def address(self, number: int, **more: Any) -> str:
        """The page's address with these filters; `more`: further arguments, such as `item`."""
        return url_for("pages.review", number=number, **self.arguments, **more)


_ARGUMENTS = (
    "text", "words", "category", "version", "annotator", "score_from", "score_to", "since", "until", "reviewed",
    "left_out", "sent_back", "length_from", "length_to", "style", "numbers", "sort",
)  # fmt: skip


@pages.get("/projects/<int:number>/review")
def review(number: int) -> str | Response:
    """Corrections one after another; `?format=` downloads the filtered ones."""
    room = current_room()
    project = room.project(number)
    query = _query(project)
    if any(not value for value in request.args.values()):  # forms also send empty fields
        return redirect(query.address(number))
    table = review_table(room, project, query.wanted, query.order)
    if wanted := download(table, request.args.get("format"), name=f"corrections-of-project-{number}"):
        return wanted
    item, page = number_in(request.args, "item"), number_in(request.args, "page") or 1
    shown = read_review(room, project, query.wanted, query.order, item=item, page=page)
    with room.database.reading() as session:
        annotators = reviews.annotators(session, project.id) if project.shows_annotators else []
        styles = [style for style in styles_of(session, project.id) if style.control is None]
    return render(
        "review.html",
        project,
        review=shown,
        query=query,
        filters=query.arguments,
        categories=list(Category),
        versions=[info.version for info in room.versions.all_of(project.id)],
        annotators=annotators,
        styles=styles if len(styles) > 1 else [],
        task=room.label_studio_task(project, shown.item.task_id) if shown.item and shown.item.task_id else None,
        longest_note=reviews.LONGEST_NOTE,
    )


@pages.post("/projects/<int:number>/review/<int:item>")
def decide(number: int, item: int) -> Response:
    """Store a decision and redirect to the next item; after a note, stay."""
    room = current_room()
    project = room.project(number)
    query = _query(project)
    category = one_of(request.form, "category", {category.value: category for category in Category})
    left_out = one_of(request.form, "left_out", YES_NO)
    note, sent_back = request.form.get("note"), request.form.get("sent_back")
    if category is None and left_out is None and note is None and sent_back is None:
        raise BadRequest("Nothing was decided; expected a category, left_out, a note or sent_back.")
    for text in (note, sent_back):
        if text is not None and len(text) > reviews.LONGEST_NOTE:
            raise BadRequest(f"The note has {len(text)} characters; there is room for {reviews.LONGEST_NOTE}.")
    with room.database.session() as session:
        correction = reviews.get(session, project.id, item)
        # Looked up before the decision, which may take the correction out of the list.
        place = reviews.neighbours(session, project.id, query.wanted, query.order, correction)
        reviews.decide(
            session, project.id, item, by=visitor().name, category=category, left_out=left_out, note=note,
            sent_back=sent_back,
        )  # fmt: skip
        caption = "".join(correction.captions[:1])
    flash(f"{_said(category, left_out, sent_back)}: {_shortened(caption)}")
    stays = category is None and left_out is None
    return redirect(query.address(number, item=item if stays else place.following or item))


@pages.post("/projects/<int:number>/review/<int:item>/captions")
def edit(number: int, item: int) -> Response:
    """Write other captions to Label Studio, and show the same item."""
    room = current_room()
    project = room.project(number)
    query = _query(project)
    changed = room.edit_captions(project, item, request.form.getlist("caption"), by=visitor().name)
    flash(f"Written to Label Studio: {_shortened(''.join(changed.captions[:1]))}")
    return redirect(query.address(number, item=item))


@pages.post("/projects/<int:number>/review/undo")
def undo(number: int) -> Response:
    """Undo the visitor's last decision, and show its item."""
    room = current_room()
    project = room.project(number)
    action = room.undo_review(project, by=visitor().name)
    flash("Taken back." if action else "There is nothing of yours to take back.")
    item = action.correction_id if action else number_in(request.args, "item")
    return redirect(_query(project).address(number, **({"item": item} if item is not None else {})))


def _query(project: Project) -> ReviewQuery:
    return ReviewQuery.read(request.args, shows_annotators=project.shows_annotators)


def _said(category: Category | None, left_out: bool | None, sent_back: str | None) -> str:
    if category is not None:
        return category.value.capitalize()
    if left_out is not None:
        return "Left out of training" if left_out else "Kept for training"
    if sent_back is not None:
        return "Sent back" if sent_back else "Not sent back any more"
    return "Noted"


def _shortened(caption: str) -> str:
    shown = caption if len(caption) <= _SHOWN_OF_CAPTION else caption[: _SHOWN_OF_CAPTION - 1] + "…"
    return f"“{_ISOLATED}{shown}{_ISOLATION_ENDS}”"
