"""Styles: what there is, and beginning, ending and renaming them; corrections move between them."""

from collections.abc import Callable
from datetime import UTC, datetime

from flask import flash, redirect, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.styles import read_all_styles
from captionloop.backend.pages.access import own_address
from captionloop.backend.pages.arguments import number_in, numbers_of
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.frame import render
from captionloop.errors import NotFoundError, SettingsError
from captionloop.model.database import Project
from captionloop.model.dataset import styles as model
from captionloop.model.progress.style_changes import put_off

_UNNAMED = "the style without a name"


@pages.get("/projects/<int:number>/styles")
def styles(number: int) -> str:
    room = current_room()
    return _page(room, room.project(number))


@pages.post("/projects/<int:number>/styles/begin")
def begin_style(number: int) -> Response | tuple[str, int]:
    """Begin a style now, at a moment, or with a correction."""

    def begin(room: Room, project: Project) -> str:
        name = request.form.get("name", "").strip()
        moved = room.begin_style(
            project,
            name,
            since=_moment(request.form.get("since", "")),
            from_correction=number_in(request.form, "from_correction"),
            language=request.form.get("language", "").strip() or None,
        )
        return f"{name} has begun, with {_corrections(moved)}. Suggestions are in it once a run has taught it."

    return _changed(number, begin)


@pages.post("/projects/<int:number>/styles/end")
def end_style(number: int) -> Response | tuple[str, int]:
    def end(room: Room, project: Project) -> str:
        name = request.form.get("name", "")
        current = room.end_style(project, name)
        return f"{name} has ended; {current or _UNNAMED} is current again."

    return _changed(number, end)


@pages.post("/projects/<int:number>/styles/rename")
def rename_style(number: int) -> Response | tuple[str, int]:
    def rename(room: Room, project: Project) -> str:
        name, to = request.form.get("name", ""), request.form.get("to", "").strip()
        room.rename_style(project, name, to=to)
        return f"{name} is called {to} now."

    return _changed(number, rename)


@pages.post("/projects/<int:number>/styles/move")
def move_corrections(number: int) -> Response | tuple[str, int]:
    """Have corrections belong to another style."""

    def move(room: Room, project: Project) -> str:
        numbers = numbers_of(request.form, "numbers")
        if not numbers:
            raise SettingsError("No correction was named; expected numbers such as 214, 215.")
        with room.database.session() as session:
            to = _named(model.styles_of(session, project.id), number_in(request.form, "to"))
            moved = model.move_corrections(session, project.id, numbers, to=to.name)
        return f"Moved {_corrections(moved)} to {to.name or _UNNAMED}."

    return _changed(number, move)


@pages.post("/projects/<int:number>/styles/not-now")
def put_off_style_changes(number: int) -> Response:
    room = current_room()
    with room.database.session() as session:
        put_off(session, room.project(number).id)
    flash("This is said again when more of it, or something else, comes.")
    return _back(number)


def _changed(number: int, change: Callable[[Room, Project], str]) -> Response | tuple[str, int]:
    """Make a change, and say so; or why not, on the page that has all styles."""
    room = current_room()
    project = room.project(number)
    try:
        flash(change(room, project))
    except (SettingsError, NotFoundError) as error:
        return _page(room, project, problem=str(error)), 422
    return _back(number)


def _page(room: Room, project: Project, *, problem: str = "") -> str:
    champion = room.champion(project)
    with room.database.reading() as session:
        shown = read_all_styles(session, project.id, champion)
    return render("styles.html", project, styles=shown, problem=problem)


def _named(found: list[model.StyleInfo], wanted: int | None) -> model.StyleInfo:
    style = next((style for style in found if style.id == wanted), None)
    if style is None:
        raise NotFoundError("This project has no such style any more.")
    return style


def _moment(text: str) -> datetime | None:
    """A moment of the form, in UTC; None if it is empty.

    Raises:
        BadRequest: it is none.
    """
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError as error:
        raise BadRequest(f"since is {text[:40]!r}; expected a moment as 2026-05-04T14:30.") from error


def _corrections(count: int) -> str:
    return "one correction" if count == 1 else f"{count} corrections"


def _back(number: int) -> Response:
    """Redirect to the page of the form, else to the styles."""
    return redirect(own_address(request.form.get("back"), otherwise=url_for("pages.styles", number=number)))
