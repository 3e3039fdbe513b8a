"""Styles as JSON: listing, beginning and ending them, and moving corrections between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from captionloop.backend.api.endpoints import api
from captionloop.backend.pages.blueprint import current_room
from captionloop.model.dataset.styles import StyleInfo, begin_style, end_style, move_corrections, styles_of


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
    with room.database.reading() as session:
        return styles_of(session, room.project(number).id)


@api.post("/projects/<int:number>/styles", status=201)
def post_style(number: int, body: NewStyle) -> Sequence[StyleInfo]:
    """Begin a style; returns all styles. Captions are suggested in it from the next promoted version on."""
    room = current_room()
    project, since = room.project(number), body.since
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    with room.database.session() as session:
        begin_style(session, project.id, body.name, since=since, control=project.control, language=body.language)
        return styles_of(session, project.id)


@api.post("/projects/<int:number>/styles/end")
def post_style_end(number: int, body: EndedStyle) -> Sequence[StyleInfo]:
    """End a style: the one before it is current again; returns all styles."""
    room = current_room()
    project = room.project(number)
    with room.database.session() as session:
        end_style(session, project.id, body.name)
        return styles_of(session, project.id)


@api.post("/projects/<int:number>/styles/move")
def post_style_move(number: int, body: Move) -> Sequence[StyleInfo]:
    """Have corrections belong to another style; returns all styles."""
    room = current_room()
    project = room.project(number)
    with room.database.session() as session:
        move_corrections(session, project.id, body.corrections, to=body.to)
        return styles_of(session, project.id)
