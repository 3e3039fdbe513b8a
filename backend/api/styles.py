"""Styles as JSON: listing, beginning and ending them, and moving corrections between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from captionloop.backend.api.endpoints import api
from captionloop.backend.page_data.room import Room
from captionloop.backend.pages.blueprint import current_room
from captionloop.model.database import Project
from captionloop.model.dataset.styles import StyleInfo, move_corrections, styles_of


@dataclass(frozen=True)
class NewStyle:
    """A style to begin.

    Args:
        name: of the style, unique in the project.
        since: when it began, by default now; without a time zone it is UTC. Corrections made from then on move to it.
        language: of its captions, for people.
    """

    name: str
    since: datetime | None = None
    language: str | None = None


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
    room.begin_style(project, body.name, since=since, language=body.language)
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


def _styles(room: Room, project: Project) -> Sequence[StyleInfo]:
    with room.database.reading() as session:
        return styles_of(session, project.id)
