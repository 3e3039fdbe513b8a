"""Compare: two versions on the same held-out images, side by side or blind."""

from typing import Any

from flask import Response, current_app, redirect, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as AnyResponse

from captionloop.backend.page_data.compare import (
    Pair,
    better_of,
    default_pair,
    figures_table,
    images_table,
    read_blind,
    read_compare,
    read_pair,
    stands_left,
)
from captionloop.backend.page_data.room import Room
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.arguments import number_in
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.downloads import download
from captionloop.backend.pages.frame import render
from captionloop.errors import NotFoundError
from captionloop.model.database import Project
from captionloop.model.evaluation.blind_verdicts import keep_choice, to_ask
from captionloop.model.versions.comparisons import ORDERS


@pages.get("/projects/<int:number>/compare")
def compare(number: int) -> str | AnyResponse:
    """Two versions beside each other; `?format=` downloads the table."""
    room = current_room()
    project = room.project(number)
    versions = room.versions.all_of(project.id)
    names = [request.args.get(name) or default for name, default in default_pair(versions).items()]
    if None in names:
        return render("compare_none.html", project)
    pair = chosen_pair(room, project, str(names[0]), str(names[1]))
    if dict(pair.address) != {name: request.args.get(name) for name in pair.address}:
        # The older one first, whatever the address says, so that links, verdicts and files refer to the same pair.
        return redirect(_address(number, pair, **request.args.to_dict()))
    if wanted := _download(pair):
        return wanted
    if "blind" in request.args and pair.found:
        who = visitor()
        image = request.args.get("image")
        blind = read_blind(room, project, pair, by=who.name, image=image, may_judge=who.may_change, key=_key())
        return render("compare_blind.html", project, blind=blind, pair=pair)
    order = request.args.get("order", ORDERS[0])
    if order not in ORDERS:
        raise BadRequest(f"There is no order {order!r}; there are {', '.join(ORDERS)}.")
    page = number_in(request.args, "page") or 1
    shown = read_compare(room, pair, order=order, page=page)
    return render("compare.html", project, page=shown, pair=pair, versions=versions)


@pages.post("/projects/<int:number>/compare")
def make_comparison(number: int) -> AnyResponse:
    """Enqueue a comparison run."""
    room = current_room()
    project = room.project(number)
    pair = chosen_pair(room, project, request.form.get("first", ""), request.form.get("second", ""))
    room.request_comparison(project, pair.first.version, pair.second.version, by=visitor().name)
    return redirect(_address(number, pair))


@pages.post("/projects/<int:number>/compare/choice")
def choose(number: int) -> AnyResponse:
    """Store a blind verdict: which side is better."""
    room = current_room()
    project = room.project(number)
    pair = chosen_pair(room, project, request.form.get("first", ""), request.form.get("second", ""))
    image, by = request.form.get("image", ""), visitor().name
    images = pair.found.stored.images if pair.found else ()
    if image not in {found.image for found in to_ask(images, pair.first.version, pair.second.version)}:
        raise NotFoundError("This picture is not among those that these two versions are judged by.")
    side = request.form.get("side", "")
    try:
        better = better_of(side, is_swapped=stands_left(_key(), by, pair, image))
    except KeyError as error:
        raise BadRequest(f"There is no side {side!r}; there are left, right and same.") from error
    with room.database.session() as session:
        keep_choice(session, project.id, pair.first.version, pair.second.version, image, better=better, by=by)
    return redirect(_address(number, pair, blind="1"))


def chosen_pair(room: Room, project: Project, first: str, second: str) -> Pair:
    """The chosen pair.

    Raises:
        NotFoundError: the project has no such version, or it was deleted.
        BadRequest: both are the same.
    """
    if first == second:
        raise BadRequest("Choose two different versions to compare.")
    return read_pair(room, project, first, second)


def _key() -> bytes:
    key = current_app.secret_key
    assert isinstance(key, bytes)  # `access.protect` has set it
    return key


def _address(number: int, pair: Pair, **more: Any) -> str:
    return url_for("pages.compare", number=number, **(more | dict(pair.address)))


def _download(pair: Pair) -> Response | None:
    form = request.args.get("format")
    if form is None or pair.found is None:
        return None
    name = f"{pair.first.version}-and-{pair.second.version}"
    if request.args.get("table") == "figures":
        return download(figures_table(pair.found), form, name=f"figures-of-{name}")
    return download(images_table(pair.found), form, name=f"captions-of-{name}")
