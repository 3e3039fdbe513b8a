"""Runs: what is going on now, what became of the others and why, and a form to start one with settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as AnyResponse

from captionloop.backend.health.worker_log import WorkerLog
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.arguments import number_in
from captionloop.backend.pages.blueprint import pages
from captionloop.backend.pages.charts import loss_chart
from captionloop.backend.pages.frame import render
from captionloop.backend.pages.live import Shown, streamed
from captionloop.backend.pages.room import Room, current_room
from captionloop.backend.pages.tables import DataTable
from captionloop.errors import NotFoundError, SettingsError
from captionloop.model.database import LARGEST_ID, Project, Run, RunState
from captionloop.model.training import named_settings
from captionloop.model.training.log import read_losses
from captionloop.model.training.settings_help import Group, Setting, as_typed, described_settings, read_form
from captionloop.model.versions.report import EvaluationPoint, Report, read_report
from captionloop.model.versions.store import VersionInfo

PAGE_SIZE = 20
_ENDS = tuple(state for state in RunState if state.is_over)
# The figures of a version that say most, with what they are; the report has all.
FIGURES = {
    "cider_d": ("CIDEr-D", "agreement with what people wrote, rare words counting more; 0 to 10"),
    "bleu_4": ("BLEU-4", "share of four-word sequences that people wrote as well; 0 to 1"),
    "exact_match": ("Exactly right", "share of held-out images whose caption is one that a person wrote"),
    "word_edit_rate": ("Words to change", "words that a person would have to change, per word of the person's caption"),
}


@dataclass(frozen=True)
class RunsShown:
    """What the list of runs shows.

    Args:
        unfinished: running, queued, waiting.
        over: this page's part of those that are over, newest first.
        logs: what the worker wrote during the failed ones among them, by id.
        count: how many are over in all.
        page: counted from 1.
        state: how those that are listed ended; None lists all.
    """

    unfinished: Sequence[Run]
    over: Sequence[Run]
    logs: Mapping[str, Sequence[str]]
    count: int
    page: int
    state: RunState | None

    @property
    def pages(self) -> int:
        return max(1, -(-self.count // PAGE_SIZE))


@dataclass(frozen=True)
class RunShown:
    """What the page of one run shows.

    Args:
        run: its row.
        asked: the settings that were asked for.
        used: every setting that was used, of a run that made a version.
        losses: step and loss, as far as the run got and its files are there.
        version: what it made; None without one, or when its files are gone.
        evaluations: on held-out images, in the order of their steps.
        log: what the worker wrote meanwhile.
        log_path: where that was read; None where the machine of this backend has no log of the worker.
    """

    run: Run
    asked: Mapping[str, Any]
    used: Mapping[str, Any]
    losses: Sequence[tuple[int, float]]
    version: VersionInfo | None
    evaluations: Sequence[EvaluationPoint]
    log: Sequence[str]
    log_path: str | None


def read_runs(room: Room, project: Project, *, page: int = 1, state: RunState | None = None) -> RunsShown:
    """Gather a page of the list."""
    page = min(max(page, 1), LARGEST_ID // PAGE_SIZE)
    # In this order, a run that ends between the two looks is shown all the same.
    unfinished = room.runs.unfinished(project.id)
    over = room.runs.over(project.id, state=state, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
    failed = [run for run in over if run.state is RunState.FAILED]
    log = WorkerLog.read(room.worker_log) if failed else None
    return RunsShown(
        unfinished=unfinished,
        over=over,
        logs={run.id: log.between(run.started_at, run.finished_at) for run in failed} if log else {},
        count=room.runs.count_over(project.id, state=state),
        page=page,
        state=state,
    )


def read_run(room: Room, project: Project, run_id: str) -> RunShown:
    """Gather one run.

    Raises:
        NotFoundError: the project has no such run.
    """
    run = _run(room, project, run_id)
    report = _report(room, project, run)
    log = WorkerLog.read(room.worker_log)
    return RunShown(
        run=run,
        asked=run.settings,
        used=report.manifest.get("settings", {}) if report else {},
        losses=_losses(room, run, report.version if report else None),
        version=report.version if report else None,
        evaluations=report.evaluations if report else (),
        log=log.between(run.started_at, run.finished_at),
        log_path=str(log.path) if log.exists else None,
    )


@pages.get("/projects/<int:number>/runs")
def runs(number: int) -> str | Response:
    room = current_room()
    project = room.project(number)
    state = _state(request.args.get("state"))
    everything = runs_table(room.runs.over(project.id, state=state)) if "format" in request.args else None
    if everything and (wanted := everything.download(request.args.get("format"), name=f"runs-of-project-{number}")):
        return wanted
    shown = read_runs(room, project, page=number_in(request.args, "page") or 1, state=state)
    return render(
        "runs.html", project, shown=shown, ends=_ENDS, curves=_curves(room, shown.unfinished), log_path=room.worker_log
    )


@pages.get("/projects/<int:number>/runs/live")
def runs_live(number: int) -> Response:
    """Server-sent events about the runs that `runs` names: `run` when they change, `over` when one of them is over."""
    room = current_room()
    project = room.project(number)
    known = set(filter(None, request.args.get("runs", "").split(",")))

    def look() -> Shown | None:
        unfinished = room.runs.unfinished(project.id)
        if not unfinished or not known <= {run.id for run in unfinished}:
            return None
        facts = [(run.id, run.state, run.progress, run.detail, run.cancel_requested) for run in unfinished]

        def draw() -> str:
            return render_template("parts/runs_open.html", unfinished=unfinished, curves=_curves(room, unfinished))

        return Shown(facts, draw)

    return streamed(look)


@pages.route("/projects/<int:number>/runs/new", methods=["GET", "POST"])
def runs_new(number: int) -> str | tuple[str, int] | AnyResponse:
    """The form with every setting; what is wrong is said beside its field, and what was typed stays.

    `?settings=` names settings of the project, which then stand where the defaults would.
    """
    room = current_room()
    project = room.project(number)
    groups = described_settings()
    name = request.values.get(named_settings.KEY) or None
    named = room.named_settings(project, name) if name else {}
    typed = {setting.name: request.form.get(setting.name, "") for group in groups for setting in group.settings}
    problems: dict[str, str] = {}
    if request.method == "POST":
        values, problems = read_form(typed)
        if not problems:
            flash(room.start_run(project, values, by=visitor().name, named=name).outcome)
            return redirect(url_for("pages.runs", number=number))
    page = render(
        "run_form.html",
        project,
        groups=groups,
        typed=typed,
        problems=problems,
        champion=room.champion(project),
        all_named=room.all_named_settings(project),
        name=name,
        named={setting: as_typed(value) for setting, value in named.items() if value is not None},
    )
    return (page, 422) if problems else page


@pages.get("/projects/<int:number>/runs/<run_id>")
def runs_one(number: int, run_id: str) -> str:
    room = current_room()
    project = room.project(number)
    shown = read_run(room, project, run_id)
    return render(
        "run.html",
        project,
        shown=shown,
        curve=loss_chart(shown.losses, steps=shown.run.detail.get("steps")),
        settings=_settings_used(described_settings(), shown),
        named=shown.asked.get(named_settings.KEY),
        figures=FIGURES,
        expected_log=room.worker_log,
    )


@pages.post("/projects/<int:number>/runs/<run_id>/retry")
def runs_retry(number: int, run_id: str) -> AnyResponse:
    """Start a run with the settings of one that is over."""
    room = current_room()
    project = room.project(number)
    run = _run(room, project, run_id)
    if not run.state.is_over:
        raise BadRequest("This run is not over yet; there is nothing to try again.")
    flash(room.start_again(project, run, by=visitor().name).outcome)
    return redirect(url_for("pages.runs", number=number))


def runs_table(found: Sequence[Run]) -> DataTable:
    """The list, to take away."""
    columns = (
        "id", "kind", "state", "asked_by", "asked_at", "started_at", "finished_at", "attempts", "version", "message",
        "settings",
    )  # fmt: skip
    rows = [
        (
            run.id, run.kind.value, run.state.value, run.asked_by, run.created_at, run.started_at, run.finished_at,
            run.attempts, run.version, run.message, run.settings,
        )
        for run in found
    ]  # fmt: skip
    return DataTable(columns, rows)


def _run(room: Room, project: Project, run_id: str) -> Run:
    run = room.runs.get(run_id)
    if run is None or run.project_id != project.id:
        raise NotFoundError(f"There is no run {run_id!r} in this project.")
    return run


def _report(room: Room, project: Project, run: Run) -> Report | None:
    """What the run left in its version's directory; None when it made none, or when its files were deleted."""
    if run.version is None:
        return None
    version = room.versions.get(project.id, run.version)
    return read_report(version, room.home) if version.path.is_dir() else None


def _losses(room: Room, run: Run, version: VersionInfo | None) -> Sequence[tuple[int, float]]:
    return read_losses(version.path if version else room.home.attempt(run.id, run.fence) / "version")


def _curves(room: Room, unfinished: Sequence[Run]) -> Mapping[str, Any]:
    return {run.id: loss_chart(_losses(room, run, None), steps=run.detail.get("steps")) for run in unfinished}


def _settings_used(groups: Sequence[Group], shown: RunShown) -> list[tuple[Setting, Any, bool]]:
    """Each setting with its value and whether somebody asked for it; of a run without a version what was asked for."""
    found = shown.used or shown.asked
    return [
        (setting, found[setting.name], setting.name in shown.asked)
        for group in groups
        for setting in group.settings
        if setting.name in found
    ]


def _state(text: str | None) -> RunState | None:
    if not text:
        return None
    try:
        return RunState(text)
    except ValueError as error:
        raise SettingsError(
            f"There is no run state {text!r}; runs end as {', '.join(state.value for state in _ENDS)}."
        ) from error
