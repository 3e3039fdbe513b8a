"""Styles as JSON: listing, beginning and ending them, and moving corrections between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from werkzeug.exceptions import BadRequest

from captionloop.backend.api.endpoints import api
from captionloop.backend.page_data.room import Room
from captionloop.backend.pages.blueprint import current_room
from captionloop.model.database import Project
from captionloop.model.dataset.styles import StyleInfo, move_corrections, styles_of
from captionloop.model.progress.style_changes import StyleChange, changes_of, put_off


@dataclass(frozen=True)
class NewStyle:
    """A style to begin.

    Args:
        name: of the style, unique in the project.
        since: when it began, by default now; without a time zone it is UTC. Corrections made from then on move to it.
        from_correction: the number of the correction that it began with, instead of since.
        language: of its captions, for people.
    """

    name: str
    since: datetime | None = None
    language: str | None = None
    from_correction: int | None = None


@dataclass(frozen=True)
class NewName:
    """A style to rename, as long as no version was taught it.

    Args:
        name: of the style.
        to: its name from now on.
    """

    name: str
    to: str


@dataclass(frozen=True)
class Change:
    """Something that people write otherwise than before.

    Args:
        what: in words.
        times, possible: how often they did it from the first time on, and could have.
        corrections: the numbers of those that show it; a style may begin with the first.
        suggestion, caption: of the latest.
    """

    what: str
    times: int
    possible: int
    corrections: Sequence[int]
    suggestion: str
    caption: str


@dataclass(frozen=True)
class EndedStyle:
    """A style to end.

    Args:
        name: of the style.
    """

    name: str


@dataclass(frozen=True)
class Move:
    """Corrections to move.

    Args:
        corrections: their numbers.
        to: the style's name; null is the style without one.
    """

    corrections: Sequence[int]
    to: str | None = None


@api.get("/projects/<int:number>/styles")
def list_styles(number: int) -> Sequence[StyleInfo]:
    """The styles of a project, the one without a name first."""
    room = current_room()
    return _styles(room, room.project(number))


@api.post("/projects/<int:number>/styles", status=201)
def post_style(number: int, body: NewStyle) -> Sequence[StyleInfo]:
    """Begin a style; returns all styles. Captions are suggested in it once a version that knows it serves."""
    room = current_room()
    project, since = room.project(number), body.since
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    if since is not None and body.from_correction is not None:
        raise BadRequest("since and from_correction both say when it began; give one of them.")
    room.begin_style(
        project, body.name, since=since, from_correction=body.from_correction, language=body.language
    )  # fmt: skip
    return _styles(room, project)


@api.get("/projects/<int:number>/styles/changes")
def list_style_changes(number: int) -> Sequence[Change]:
    """What people write otherwise than before in their latest 200 corrections, what is surest first."""
    room = current_room()
    with room.database.reading() as session:
        return [_change(found) for found in changes_of(session, room.project(number).id)]


@api.post("/projects/<int:number>/styles/changes/not-now")
def post_style_changes_not_now(number: int) -> Sequence[Change]:
    """Have the overview keep silent about the present changes until more comes; returns them."""
    room = current_room()
    project = room.project(number)
    with room.database.session() as session:
        put_off(session, project.id)
        return [_change(found) for found in changes_of(session, project.id)]


@api.post("/projects/<int:number>/styles/rename")
def post_style_name(number: int, body: NewName) -> Sequence[StyleInfo]:
    """Give a style another name; returns all styles."""
    room = current_room()
    project = room.project(number)
    room.rename_style(project, body.name, to=body.to)
    return _styles(room, project)


@api.post("/projects/<int:number>/styles/end")
def post_style_end(number: int, body: EndedStyle) -> Sequence[StyleInfo]:
    """End a style: the one before it is current again; returns all styles."""
    room = current_room()
    project = room.project(number)
    room.end_style(project, body.name)
    return _styles(room, project)


@api.post("/projects/<int:number>/styles/move")
def post_style_move(number: int, body: Move) -> Sequence[StyleInfo]:
    """Have corrections belong to another style; returns all styles."""
    room = current_room()
    project = room.project(number)
    with room.database.session() as session:
        move_corrections(session, project.id, body.corrections, to=body.to)
    return _styles(room, project)


def _change(found: StyleChange) -> Change:
    return Change(
        what=str(found.habit),
        times=found.times,
        possible=found.possible,
        corrections=found.numbers,
        suggestion=found.latest.suggestion,
        caption=found.latest.caption,
    )


def _styles(room: Room, project: Project) -> Sequence[StyleInfo]:
    with room.database.reading() as session:
        return styles_of(session, project.id)
