"""The frame of every page: tabs, choice of project, signed-in account; and the start page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response as FlaskResponse
from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from captionloop.backend.page_data.pulse import read_pulse
from captionloop.backend.pages.access import Visitor, signed_in
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.model.database import Project
from captionloop.model.dataset.review import MOST_COUNTED, count_to_review

# The filters of the page Review that leave what waits for review.
TO_REVIEW = {"words": "corrected", "reviewed": "no"}

# Endpoint of each page, in the order of the tabs.
TABS = (
    ("pages.overview", "Overview"),
    ("pages.caption", "Caption"),
    ("pages.review", "Review"),
    ("pages.compare", "Compare"),
    ("pages.versions", "Versions"),
    ("pages.runs", "Runs"),
    ("pages.dataset", "Dataset"),
    ("pages.try_it", "Try"),
)


_TABS_OF_ANNOTATORS = tuple(tab for tab in TABS if tab[0] == "pages.caption")

# Pages that people leave open while something happens elsewhere.
WATCHED = frozenset({"pages.overview", "pages.runs", "pages.runs_one", "pages.versions"})


@dataclass(frozen=True)
class Tab:
    """A tab.

    Args:
        counts: whether it shows the number of items to work on there.
        waiting: that number; empty for none.
    """

    title: str
    address: str
    is_here: bool
    counts: bool = False
    waiting: str = ""


@dataclass(frozen=True)
class Frame:
    """The data of the base template."""

    project: Project
    projects: Sequence[Project]
    visitor: Visitor
    tabs: Sequence[Tab]
    label_studio: str  # address of the project there
    pulse: str | None  # of pages that are fetched anew when it changes


def render(template: str, project: Project, /, **content: Any) -> str:
    """Render a page of a project in its frame. `content`: the template's own variables."""
    room = current_room()
    here = request.endpoint or ""
    tabs = [
        _review_tab(title, project, here) if endpoint == "pages.review"
        else Tab(title, url_for(endpoint, number=project.label_studio_id), here.startswith(endpoint))
        for endpoint, title in (TABS if g.visitor.role.sees_pages else _TABS_OF_ANNOTATORS)
    ]  # fmt: skip
    frame = Frame(
        project=project,
        projects=room.projects.connected(),
        visitor=g.visitor,
        tabs=tabs,
        label_studio=room.label_studio_project(project),
        pulse=g.get("pulse"),
    )
    return render_template(template, frame=frame, **content)


def _review_tab(title: str, project: Project, here: str) -> Tab:
    """Links to the corrections to review, if any."""
    with current_room().database.reading() as session:
        waiting = count_to_review(session, project.id)
    filters: dict[str, Any] = TO_REVIEW if waiting else {}
    shown = f"{MOST_COUNTED}+" if waiting > MOST_COUNTED else str(waiting or "")
    address = url_for("pages.review", number=project.label_studio_id, **filters)
    return Tab(title, address, here.startswith("pages.review"), counts=True, waiting=shown)


def render_error(status: int, message: str) -> str:
    """An error as a page."""
    return render_template("error.html", status=status, message=message, visitor=signed_in())


@pages.before_request
def feel_pulse() -> None:
    """Before a page reads anything, so that what changes meanwhile is noticed."""
    if request.endpoint in WATCHED:
        room = current_room()
        g.pulse = read_pulse(room, room.project((request.view_args or {})["number"]))


@pages.get("/projects/<int:number>/pulse")
def pulse(number: int) -> Response:
    """Changes when a page of `WATCHED` has to be fetched anew."""
    room = current_room()
    return FlaskResponse(read_pulse(room, room.project(number)), mimetype="text/plain")


@pages.get("/")
def start() -> Response | str:
    """The overview of the only project, else a list of projects; for annotators the caption screen."""
    if not g.visitor.role.sees_pages:
        return redirect(url_for("pages.caption_start"))
    projects = current_room().projects.connected()
    if len(projects) == 1:
        return redirect(url_for("pages.overview", number=projects[0].label_studio_id))
    return render_template("start.html", projects=projects, visitor=g.visitor, target="pages.overview")
