"""Runs as JSON: listing, starting and cancelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from flask import request

from captionloop.backend.api.endpoints import api
from captionloop.backend.page_data.runs import read_run, read_runs
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.blueprint import current_room
from captionloop.model.database import Run, RunKind, RunState
from captionloop.model.training import named_settings
from captionloop.model.training.settings import FinetuneSettings
from captionloop.setting_fields import Expected


@dataclass(frozen=True)
class RunFacts:
    """A run of the worker.

    Args:
        id: its id.
        kind: fine-tuning, renewing suggestions, or a comparison.
        state: its state.
        asked_by: who requested it.
        settings: as requested; the others have their defaults.
        progress: from 0 to 1.
        detail: while it runs: stage, worker and figures (step, steps, loss, seconds_left, examples_per_second).
        message: the outcome, or what went wrong, for people.
        version: the version that it made.
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
class RunRequest(FinetuneSettings):
    """The settings of a new run.

    Args:
        settings: the name of saved settings, used for fields that are not sent.
    """

    settings: Annotated[str | None, Expected("the name of saved settings")] = None


@dataclass(frozen=True)
class KnownSettings:
    """Saved fine-tuning settings.

    Args:
        name: to request a run with them.
        settings: their values.
        origin: where they come from, for people.
    """

    name: str
    settings: Mapping[str, Any]
    origin: str


@dataclass(frozen=True)
class RunQuery:
    """Which runs.

    Args:
        state: only finished runs with this outcome; by default all.
        page: of the finished runs, from 1.
    """

    state: RunState | None = None
    page: int = 1


@dataclass(frozen=True)
class RunPage:
    """The runs of a project.

    Args:
        unfinished: running, queued, waiting.
        over: the finished ones of this page, newest first.
        total: number of finished runs.
        page, pages: this page, and how many there are, from 1.
    """

    unfinished: Sequence[RunFacts]
    over: Sequence[RunFacts]
    total: int
    page: int
    pages: int


@dataclass(frozen=True)
class LossPoint:
    """The loss of one step."""

    step: int
    loss: float


@dataclass(frozen=True)
class RunDetail:
    """One run.

    Args:
        run: the run itself.
        settings: all settings, of a run that made a version.
        losses: as far as its files exist.
        log: lines of the worker's log during the run.
    """

    run: RunFacts
    settings: Mapping[str, Any]
    losses: Sequence[LossPoint]
    log: Sequence[str]


@api.get("/projects/<int:number>/runs")
def list_runs(number: int, query: RunQuery) -> RunPage:
    """The runs of a project: the unfinished ones, and a page of finished ones."""
    room = current_room()
    shown = read_runs(room, room.project(number), page=query.page, state=query.state)
    return RunPage(
        unfinished=[RunFacts.of(run) for run in shown.unfinished],
        over=[RunFacts.of(run) for run in shown.over],
        total=shown.count,
        page=shown.page,
        pages=shown.pages,
    )


@api.get("/projects/<int:number>/runs/<run_id>")
def get_run(number: int, run_id: str) -> RunDetail:
    """One run with its settings, its loss and its log."""
    room = current_room()
    shown = read_run(room, room.project(number), run_id)
    losses = [LossPoint(step, loss) for step, loss in shown.losses]
    return RunDetail(RunFacts.of(shown.run), shown.used, losses, shown.log)


@api.post("/projects/<int:number>/runs", status=202)
def post_run(number: int, body: RunRequest) -> RunFacts:
    """Fine-tune the champion.

    Settings that are not sent are those of the name that `settings` says, else of the extra params of the model in
    Label Studio, else the defaults. A run that has not begun yet takes the request over.
    """
    sent = request.get_json(silent=True) or {}
    settings = {name: value for name, value in body.to_dict().items() if name in sent}
    room = current_room()
    named = settings.pop(named_settings.KEY, None)
    return RunFacts.of(room.start_run(room.project(number), settings, by=visitor().name, named=named).run)


@api.get("/projects/<int:number>/settings")
def list_settings(number: int) -> list[KnownSettings]:
    """A project's saved settings, such as the best ones of its sweeps."""
    room = current_room()
    known = room.all_named_settings(room.project(number))
    return [KnownSettings(row.name, row.settings, row.origin) for row in known]


@api.post("/projects/<int:number>/runs/<run_id>/cancel")
def post_cancel(number: int, run_id: str) -> RunFacts:
    """Cancel a run: at once if it has not started, else at its worker's next check."""
    room = current_room()
    return RunFacts.of(room.cancel_run(room.project(number), run_id))
