"""The overview and its actions as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from captionloop.backend.api.endpoints import api
from captionloop.backend.api.runs import RunFacts
from captionloop.backend.health.checkups import PATIENCE_S, Checkup
from captionloop.backend.label_studio.controls import boxes_of
from captionloop.backend.page_data.overview import read_overview
from captionloop.backend.pages.blueprint import current_room
from captionloop.model.database import Project
from captionloop.model.progress.loop_figures import LoopFigures


@dataclass(frozen=True)
class ProjectFacts:
    """A connected project.

    Args:
        number: its number in Label Studio, used in the addresses of this API.
        title: its title there.
        champion: the version that serves; null before the first suggestion.
        champion_since: since when.
        label_studio: the address of its tasks in Label Studio.
    """

    number: int
    title: str
    champion: str | None
    champion_since: datetime | None
    label_studio: str


@dataclass(frozen=True)
class OverviewFacts:
    """The data of the overview.

    Args:
        champion: the version that serves.
        champion_since: since when.
        figures: of the loop, per version.
        run: the one in progress, else the last one; null before any.
        proposes_training: whether there are enough new corrections.
        control: the text box for captions; null before a label config was read.
        controls: the usable text boxes.
        question: an open question about the text box, and how to answer it; null: none.
    """

    champion: str
    champion_since: datetime | None
    figures: LoopFigures
    run: RunFacts | None
    proposes_training: bool
    control: str | None
    controls: Sequence[str]
    question: str | None


@dataclass(frozen=True)
class ControlChoice:
    """The text box for captions, by its name in the label config."""

    control: str


@dataclass(frozen=True)
class Asked:
    """The response to a request that the worker will carry out."""

    message: str


@api.get("/projects")
def list_projects() -> Sequence[ProjectFacts]:
    """The connected projects."""
    return [_project(project) for project in current_room().projects.connected()]


@api.get("/projects/<int:number>/overview")
def get_overview(number: int) -> OverviewFacts:
    """The loop of a project at a glance: champion, figures per version, the run."""
    room = current_room()
    project = room.project(number)
    shown = read_overview(room, project)
    return OverviewFacts(
        champion=shown.champion.version,
        champion_since=project.champion_since,
        figures=shown.figures,
        run=RunFacts.of(shown.run) if shown.run else None,
        proposes_training=shown.proposes_training,
        control=project.control,
        controls=boxes_of(project),
        question=str(shown.question) if shown.question else None,
    )


@api.get("/projects/<int:number>/health")
def get_health(number: int) -> Checkup:
    """The result of `captionloop doctor`, at most a minute old.

    A new one takes some seconds; after eight, `missing` names the parts that have not answered yet.
    """
    room = current_room()
    return room.checkups.of(room.project(number), patience_s=PATIENCE_S)


@api.post("/projects/<int:number>/sync", status=202)
def post_sync(number: int) -> Asked:
    """Fetch the corrections from Label Studio."""
    room = current_room()
    is_new = room.context.queue.request_sync(room.project(number).id)
    return Asked("A sync is queued." if is_new else "A sync that has not begun yet takes this request, too.")


@api.post("/projects/<int:number>/control")
def post_control(number: int, body: ControlChoice) -> Asked:
    """Choose the text box for captions, or confirm a rename."""
    room = current_room()
    room.choose_control(room.project(number), body.control)
    return Asked(f"Captions go into the text box {body.control}.")


def _project(project: Project) -> ProjectFacts:
    return ProjectFacts(
        number=project.label_studio_id,
        title=project.title,
        champion=project.champion,
        champion_since=project.champion_since,
        label_studio=current_room().label_studio_project(project),
    )
