"""The caption screen: one picture after another, by keyboard.

The page is one; its script asks the routes below, which answer with JSON, 409 where Label Studio has something else by
now, and 503 while it does not answer: then the page keeps what was written and asks again. Everything goes to Label
Studio under the person's own account, so whoever has none in this session is asked for a token first.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Any, TypeVar

from flask import Response as FlaskResponse
from flask import g, jsonify, redirect, render_template, request, session, url_for
from pydantic import TypeAdapter, ValidationError
from werkzeug.exceptions import BadRequest, Forbidden
from werkzeug.wrappers import Response

from captionloop.backend.label_studio.annotations import clean_text
from captionloop.backend.page_data.caption_help import other_captions, rest_of_caption
from captionloop.backend.page_data.captioning import Captioning, ConflictError, Decision, Written
from captionloop.backend.pages.access import current_gatekeeper, visitor
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.frame import render
from captionloop.errors import BusyError, LabelStudioError
from captionloop.model.database import LARGEST_ID
from captionloop.model.dataset.review import LONGEST_NOTE
from captionloop.model.dataset.task_notes import keep_note

LONGEST_CAPTION = 10_000  # characters
_MOST_RESUMED = 20
# Of the server's threads, which others need as well, while Label Studio lets them wait.
_PLACES = BoundedSemaphore(8)
_Kind = TypeVar("_Kind")
_View = Callable[[int], Any]


@pages.get("/caption")
def caption_start() -> Response | str:
    """The caption screen of the only project, else a list of projects."""
    projects = current_room().projects.connected()
    if len(projects) == 1:
        return redirect(url_for("pages.caption", number=projects[0].label_studio_id))
    return render_template("start.html", projects=projects, visitor=g.visitor, target="pages.caption")


@pages.get("/projects/<int:number>/caption")
def caption(number: int) -> str:
    room = current_room()
    project = room.project(number)
    person = room.people.find(session["id"]) if "id" in session else None
    if person is None:
        return render("caption_account.html", project, failed=False)
    return render("caption.html", project, person=person.email, longest=LONGEST_CAPTION, longest_note=LONGEST_NOTE)


@pages.post("/projects/<int:number>/caption/account")
def caption_account(number: int) -> Response | tuple[str, int]:
    """Add the access token of an account in Label Studio to a session that was begun without one."""
    room = current_room()
    project = room.project(number)
    token = request.form.get("token", "").strip()
    found = current_gatekeeper().sign_in_elsewhere(
        request, "an access token", token, lambda: room.people.with_token(token)
    )  # fmt: skip
    if found is None:
        return render("caption_account.html", project, failed=True), 401
    if "person" in session and found.email != visitor().name:
        raise Forbidden(f"This token is of {found.email}, and you are signed in as {visitor().name}.")
    room.people.begin(session["id"], found)
    return redirect(url_for("pages.caption", number=number))


def _asked(view: _View) -> Callable[..., Any]:
    """Answer with JSON, errors included."""

    @wraps(view)
    def answer(number: int) -> Any:
        try:
            with _place():
                return jsonify(view(number))
        except LabelStudioError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                current_room().people.end(session["id"])
                return _refusal(HTTPStatus.UNAUTHORIZED, "Label Studio no longer accepts your sign-in.")
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE if error.may_pass else HTTPStatus.CONFLICT, str(error))
        except ConflictError as error:
            return _refusal(HTTPStatus.CONFLICT, str(error))
        except BusyError as error:
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    return answer


@contextmanager
def _place() -> Iterator[None]:
    if not _PLACES.acquire(timeout=1.0):
        raise BusyError("Label Studio takes its time; it is asked again in a moment.")
    try:
        yield
    finally:
        _PLACES.release()


def _refusal(status: int, message: str) -> tuple[FlaskResponse, int]:
    return jsonify(error=message), status


@pages.post("/projects/<int:number>/caption/next")
@_asked
def caption_next(number: int) -> Mapping[str, Any]:
    found = _captioning(number).next()
    return {"task": None if found is None else asdict(found)}


@dataclass(frozen=True)
class _Resumed:
    tasks: dict[int, int | None]


@pages.post("/projects/<int:number>/caption/resume")
@_asked
def caption_resume(number: int) -> Mapping[str, Any]:
    """Those of the tasks that the page had before which are still to be captioned."""
    tasks = _body(_Resumed).tasks
    if len(tasks) > _MOST_RESUMED or not all(0 < task <= LARGEST_ID for task in tasks):
        raise BadRequest(f"At most {_MOST_RESUMED} tasks are taken up again, by their numbers.")
    return {"tasks": [asdict(found) for found in _captioning(number).resume(tasks)]}


@dataclass(frozen=True)
class _Kept(Decision):
    text: str = ""


@pages.post("/projects/<int:number>/caption/keep")
@_asked
def caption_keep(number: int) -> Written:
    body = _body(_Kept)
    return _captioning(number).keep(_checked(body), _caption(body.text))


@dataclass(frozen=True)
class _Skipped(Decision):
    is_unclear: bool = False


@pages.post("/projects/<int:number>/caption/skip")
@_asked
def caption_skip(number: int) -> Written:
    body = _body(_Skipped)
    captioning = _captioning(number)
    written = captioning.skip(_checked(body))
    if body.is_unclear:
        with current_room().database.session() as database:
            keep_note(database, captioning.project.id, body.task, captioning.name, is_unclear=True)
    return written


@dataclass(frozen=True)
class _Changed(Written):
    text: str
    lead_time_s: float
    suggestion: str


@pages.post("/projects/<int:number>/caption/change")
@_asked
def caption_change(number: int) -> Written:
    body = _body(_Changed)
    before = Written(body.annotation, body.updated_at)
    seconds = max(body.lead_time_s, 0.0)
    return _captioning(number).change(
        before, _caption(body.text), lead_time_s=seconds, suggestion=body.suggestion
    )  # fmt: skip


@dataclass(frozen=True)
class _TakenBack(Written):
    task: int


@pages.post("/projects/<int:number>/caption/undo")
@_asked
def caption_undo(number: int) -> Mapping[str, Any]:
    body = _body(_TakenBack)
    captioning = _captioning(number)
    captioning.take_back(Written(body.annotation, body.updated_at))
    with current_room().database.session() as database:
        keep_note(database, captioning.project.id, body.task, captioning.name, is_unclear=False)
    return {}


@dataclass(frozen=True)
class _Note:
    task: int
    text: str


@pages.post("/projects/<int:number>/caption/note")
@_asked
def caption_note(number: int) -> Mapping[str, Any]:
    body = _body(_Note)
    text = clean_text(body.text)
    if len(text) > LONGEST_NOTE:
        raise BadRequest(f"The note has {len(text)} characters; there is room for {LONGEST_NOTE}.")
    captioning = _captioning(number)
    with current_room().database.session() as database:
        keep_note(database, captioning.project.id, body.task, captioning.name, text=text)
    return {}


@dataclass(frozen=True)
class _Begun:
    picture: str
    text: str


@pages.post("/projects/<int:number>/caption/others")
@_asked
def caption_others(number: int) -> Mapping[str, Any]:
    room, body = current_room(), _body(_Begun)
    return {"captions": other_captions(room, room.project(number), _hash(body.picture), than=body.text)}


@pages.post("/projects/<int:number>/caption/complete")
@_asked
def caption_complete(number: int) -> Mapping[str, Any]:
    room, body = current_room(), _body(_Begun)
    if len(body.text) > LONGEST_CAPTION:
        return {"rest": ""}
    typed = body.text.encode(errors="replace").decode()
    return {"rest": rest_of_caption(room, room.project(number), _hash(body.picture), typed)}


def _captioning(number: int) -> Captioning:
    room = current_room()
    project = room.project(number)
    person, studio = room.people.find(session["id"]), room.people.client(session["id"])
    if person is None or studio is None:
        raise LabelStudioError("Nobody is signed in.", status=HTTPStatus.UNAUTHORIZED)
    return Captioning(room, project, studio, person.number, person.email)


def _body(kind: type[_Kind]) -> _Kind:
    """The request's JSON.

    Raises:
        BadRequest: it is not of that kind.
    """
    try:
        return TypeAdapter(kind).validate_python(request.get_json())
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"Field {name!r}: {first['msg']}.") from error


def _checked(decided: Any) -> Any:
    try:
        uuid.UUID(decided.unique_id)
    except ValueError as error:
        raise BadRequest("unique_id is no UUID.") from error
    if not 0 < decided.task <= LARGEST_ID or not 0 <= decided.lead_time_s < float("inf"):
        raise BadRequest("A task has a number, and a time is a number of seconds.")
    return decided


def _caption(text: str) -> str:
    cleaned = clean_text(text)
    if not cleaned:
        raise BadRequest("There is no caption. A task without one is skipped.")
    if len(cleaned) > LONGEST_CAPTION:
        raise BadRequest(f"The caption has {len(cleaned)} characters; there is room for {LONGEST_CAPTION}.")
    return cleaned


def _hash(picture: str) -> str:
    if len(picture) != 64 or not set(picture) <= set("0123456789abcdef"):
        raise BadRequest("A picture is named by the hash of its file.")
    return picture
