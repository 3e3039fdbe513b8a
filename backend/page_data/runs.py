"""Runs: the unfinished and the finished ones, with settings, curves and logs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from socket import gethostname
from typing import Any

from captionloop.backend.health.worker_log import WorkerLog
from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.tables import DataTable
from captionloop.jobs.queue.attempt import WORKER_OF_RUN
from captionloop.model.database import LARGEST_ID, Project, Run, RunState
from captionloop.model.training.log import LoggedEvaluation, read_steps
from captionloop.model.training.settings_help import Group, Setting
from captionloop.model.versions.report import Report, read_report
from captionloop.model.versions.store import VersionInfo

PAGE_SIZE = 20


@dataclass(frozen=True)
class RunsShown:
    """The data of the list of runs.

    Args:
        unfinished: running, queued, waiting.
        over: the finished ones of this page, newest first.
        logs: the worker's log of the failed ones among them, by id.
        count: number of finished runs.
        page: from 1.
        state: list only runs with this outcome; None: all.
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
    """The data of the page of one run.

    Args:
        run: its row.
        asked: the requested settings.
        used: all settings, of a run that made a version.
        losses: step and loss, as far as its files exist.
        version: what it made; None without one, or if its files are gone.
        evaluations: on held-out images, in the order of their steps.
        log: the worker's log during the run.
        log_path: of that log; None if there is none on this machine.
    """

    run: Run
    asked: Mapping[str, Any]
    used: Mapping[str, Any]
    losses: Sequence[tuple[int, float]]
    version: VersionInfo | None
    evaluations: Sequence[LoggedEvaluation]
    log: Sequence[str]
    log_path: str | None
    worker_elsewhere: str | None


def worker_elsewhere(run: Run) -> str | None:
    """HOST:PID of a run's worker, if that is on another host, whose log is not here."""
    worker = str(run.detail.get(WORKER_OF_RUN, ""))
    return worker if worker and worker.rpartition(":")[0] != gethostname() else None


def read_runs(room: Room, project: Project, *, page: int = 1, state: RunState | None = None) -> RunsShown:
    """Gather a page of the list."""
    page = min(max(page, 1), LARGEST_ID // PAGE_SIZE)
    # In this order, a run that ends between the two queries is not missed.
    unfinished = room.runs.unfinished(project.id)
    over = room.runs.over(project.id, state=state, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
    failed = [run for run in over if run.state is RunState.FAILED]
    log = WorkerLog.read(room.worker_log) if failed else None
    return RunsShown(
        unfinished=unfinished,
        over=over,
        logs={run.id: [] if worker_elsewhere(run) else log.between(run.started_at, run.finished_at) for run in failed}
        if log
        else {},
        count=room.runs.count_over(project.id, state=state),
        page=page,
        state=state,
    )


def read_run(room: Room, project: Project, run_id: str) -> RunShown:
    """Gather one run.

    Raises:
        NotFoundError: the project has no such run.
    """
    run = room.run(project, run_id)
    report = _report(room, project, run)
    log, elsewhere = WorkerLog.read(room.worker_log), worker_elsewhere(run)
    return RunShown(
        run=run,
        asked=run.settings,
        used=report.manifest.get("settings", {}) if report else {},
        losses=losses_of(room, run, report.version if report else None),
        version=report.version if report else None,
        evaluations=report.evaluations if report else (),
        log=[] if elsewhere else log.between(run.started_at, run.finished_at),
        log_path=str(log.path) if log.exists else None,
        worker_elsewhere=elsewhere,
    )


def runs_table(found: Sequence[Run]) -> DataTable:
    """The list for download."""
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


def _report(room: Room, project: Project, run: Run) -> Report | None:
    """The report of the run's version; None if it made none, or if its files were deleted."""
    if run.version is None:
        return None
    version = room.versions.get(project.id, run.version)
    return read_report(version, room.home) if version.path.is_dir() else None


def losses_of(room: Room, run: Run, version: VersionInfo | None) -> Sequence[tuple[int, float]]:
    """Step and loss of each logged step, also while the run goes on."""
    log = read_steps(version.path if version else room.home.attempt(run.id, run.fence) / "version")
    return [(int(step), loss) for step, loss in zip(log.get("step", ()), log.get("loss", ()), strict=True)]


def settings_used(groups: Sequence[Group], shown: RunShown) -> list[tuple[Setting, Any, bool]]:
    """Each setting with its value and whether it was requested; only requested ones for a run without a version."""
    found = shown.used or shown.asked
    return [
        (setting, found[setting.name], setting.name in shown.asked)
        for group in groups
        for setting in group.settings
        if setting.name in found
    ]
