"""The overview as JSON, and its buttons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import request

from captionloop.backend.api.endpoints import api
from captionloop.backend.checkups import Checkup
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.overview import read_overview
from captionloop.backend.pages.room import current_room
from captionloop.model.database import Project, Run, RunKind, RunState
from captionloop.model.finetune_settings import FinetuneSettings
from captionloop.model.loop_figures import LoopFigures


@dataclass(frozen=True)
class ProjectFacts:
    """A connected project.

    Args:
        number: its number in Label Studio, which the addresses of this API carry.
        title: its title there.
        champion: the version that serves; null before the first suggestion.
        champion_since: when that began.
        label_studio: the address of its tasks in Label Studio.
    """

    number: int
    title: str
    champion: str | None
    champion_since: datetime | None
    label_studio: str


@dataclass(frozen=True)
class RunFacts:
    """A run of the worker.

    Args:
        id: what it is known by.
        kind: what it does: fine-tune, or renew suggestions.
        state: where it stands.
        asked_by: who wanted it.
        settings: those that were given; the others have their defaults.
        progress: from 0 to 1.
        detail: while it runs: the stage, and what is known in it (step, steps, loss, seconds_left).
        message: the outcome, or what went wrong, for a person.
        version: what it made.
        attempts: more than one after a worker was killed.
    """

    id: str
    kind: RunKind
    state: RunState
    asked_by: str
    settings: Mapping[str, Any]
    progress: float
    detail: Mapping[str, Any]
    message: str
    version: str | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, run: Run) -> RunFacts:
        return cls(**{name: getattr(run, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class OverviewFacts:
    """What the overview shows.

    Args:
        champion: the version that serves.
        champion_since: when that began.
        figures: of the loop, per version.
        run: the one in progress, else the last one; null before any.
        proposes_training: whether there is enough that is new.
    """

    champion: str
    champion_since: datetime | None
    figures: LoopFigures
    run: RunFacts | None
    proposes_training: bool


@dataclass(frozen=True)
class Asked:
    """The answer to a request for something that the worker does soon."""

    message: str


@dataclass(frozen=True)
class Champion:
    """The version that serves now.

    Args:
        version: its name.
    """

    version: str


@dataclass(frozen=True)
class Promotion:
    """Which version shall serve.

    Args:
        version: the name of one of the project's versions.
    """

    version: str


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
    )


@api.get("/projects/<int:number>/health")
def get_health(number: int) -> Checkup:
    """What `captionloop doctor` finds, at most a minute old; takes some seconds when nothing so new is known."""
    room = current_room()
    return room.checkups.of(room.project(number))


@api.post("/projects/<int:number>/runs", status=202)
def post_run(number: int, body: FinetuneSettings) -> RunFacts:
    """Fine-tune the champion.

    Settings that are not sent take their defaults. A run that has not begun yet takes the request over.
    """
    sent = request.get_json(silent=True) or {}
    settings = {name: value for name, value in body.to_dict().items() if name in sent}
    room = current_room()
    return RunFacts.of(room.start_run(room.project(number), settings, by=visitor().name).run)


@api.post("/projects/<int:number>/runs/<run_id>/cancel")
def post_cancel(number: int, run_id: str) -> RunFacts:
    """Cancel a run: at once when it has not begun, else as soon as its worker looks."""
    room = current_room()
    return RunFacts.of(room.cancel_run(room.project(number), run_id))


@api.post("/projects/<int:number>/sync", status=202)
def post_sync(number: int) -> Asked:
    """Fetch the corrections from Label Studio."""
    room = current_room()
    is_new = room.context.queue.request_sync(room.project(number).id)
    return Asked("A sync is queued." if is_new else "A sync that has not begun yet takes this request, too.")


@api.post("/projects/<int:number>/rollback")
def post_rollback(number: int) -> Champion:
    """Go back to the champion before the present one; suggestions of unlabelled tasks are renewed."""
    room = current_room()
    return Champion(room.rollback(room.project(number)))


@api.post("/projects/<int:number>/promote")
def post_promote(number: int, body: Promotion) -> Champion:
    """Make a version champion; suggestions of unlabelled tasks are renewed."""
    room = current_room()
    room.promote(room.project(number), body.version, by=visitor().name)
    return Champion(body.version)


def _project(project: Project) -> ProjectFacts:
    return ProjectFacts(
        number=project.label_studio_id,
        title=project.title,
        champion=project.champion,
        champion_since=project.champion_since,
        label_studio=current_room().label_studio_project(project),
    )
