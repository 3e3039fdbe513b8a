"""Output of `captionloop status`, `versions` and `finetune --wait`."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from captionloop.backend.local import redis_server, services
from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.terminal.progress import Progress
from captionloop.backend.terminal.table import table
from captionloop.errors import CaptionloopError, NotFoundError
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.database import Project, Run, RunKind, shown_url
from captionloop.model.dataset import corrections
from captionloop.model.versions.store import VersionInfo
from captionloop.settings import Secret, Settings, without_password

_POLL_INTERVAL_S = 0.5
_WORDS = {RunKind.FINETUNE: "Fine-tuning", RunKind.ANNOTATE: "Captioning", RunKind.COMPARE: "Comparing"}


def read_status(settings: Settings, *, label_studio_id: int | None = None) -> dict[str, Any]:
    """The output of `captionloop status --json`. Unknown values are null.

    It reads our own records and queries only Redis, for two seconds at most, so it works whatever is running. It shows
    passwords and tokens that `captionloop up` created, which are found nowhere else, but not those that a person set.

    Args:
        settings: completed by a running `captionloop up`.

    Raises:
        NotFoundError: the named project is not connected.
    """
    home = Home(settings.home)
    login = services.login(home, key=settings.key)
    shown: dict[str, Any] = {
        "ready": services.is_ready(home),
        "home": str(settings.home),
        "champion": None,
        "corrections": 0,
        "job": None,
        "sweep": None,
        "label_studio": {
            "url": settings.label_studio_url,
            "email": login.email if login and settings.server_name == "local" else None,
            "password": login.password.reveal() if login and settings.server_name == "local" else None,
            "token": _made(settings.label_studio_api_key, login.token if login else None),
            "project_id": None,
            "ml_backend_id": None,
        },
        "backend": {
            "url": settings.backend_url or services.local_url(settings.port),
            "user": settings.user,
            "password": _made(settings.password, services.backend_password(home, key=settings.key)),
        },
        "redis": without_password(settings.redis_url) if settings.redis_url else None,
        "redis_server": _redis_server(settings, home),
        "database": shown_url(settings.database_url or f"sqlite:///{home.database}"),
    }
    if settings.database_url is None and not home.database.exists():
        return shown
    with ExitStack() as stack:
        context = Context.open(settings)
        stack.callback(context.close)
        context.database.migrate()
        _add_project(shown, context, label_studio_id)
    return shown


def _redis_server(settings: Settings, home: Home) -> dict[str, Any] | None:
    """The Redis or Valkey at the address; None if it does not answer."""
    if settings.redis_url is None or (found := redis_server.version(settings.redis_url)) is None:
        return None
    return asdict(found) | {"embedded": redis_server.is_embedded(settings.redis_url, home)}


def _add_project(shown: dict[str, Any], context: Context, label_studio_id: int | None) -> None:
    try:
        project = Projects(context.database, server=context.settings.server_name).choose(label_studio_id)
    except NotFoundError:
        if label_studio_id is not None:
            raise
        return
    run = context.queue.runs.current(project.id)
    shown["champion"] = project.champion or context.base.name
    shown["corrections"] = count_corrections(context, project)
    shown["job"] = describe_run(run) if run is not None and not run.state.is_over else None
    shown["sweep"] = _describe_sweep(context, project)
    shown["label_studio"] |= {"project_id": project.label_studio_id, "ml_backend_id": project.ml_backend_id}


def _describe_sweep(context: Context, project: Project) -> dict[str, Any] | None:
    """A project's active sweep, without its trials."""
    running = [sweep for sweep in context.queue.sweeps.all_of(project.id) if not sweep.state.is_over]
    if not running:
        return None
    described = context.queue.sweeps.state(running[-1].id).to_dict()
    return {name: described[name] for name in ("name", "state", "asked_for", "counts", "best")}


def count_corrections(context: Context, project: Project) -> int:
    """How many of the project's corrections are used in training."""
    with context.database.reading() as session:
        return corrections.count_teaching(session, project.id)


def status_lines(shown: dict[str, Any]) -> list[str]:
    """The same as text for people."""
    job, sweep, studio, backend = shown["job"], shown["sweep"], shown["label_studio"], shown["backend"]
    busy_with = [f"{job['kind']}, {job['state']}, {job['progress']:.0%}"] if job else []
    if sweep:
        counts = ", ".join(f"{count} {state}" for state, count in sweep["counts"].items())
        busy_with.append(f"sweep {sweep['name']} ({counts})")
    going_on = "; ".join(busy_with) or "nothing at the moment"
    return [
        "Everything is up." if shown["ready"] else "Not running, or not ready yet. `captionloop up` starts everything.",
        f"Champion:      {shown['champion'] or 'none yet'}",
        f"Corrections:   {shown['corrections']}",
        f"Going on:      {going_on}",
        f"Label Studio:  {studio['url'] or 'not known'}" + (f"  ({studio['email']})" if studio["email"] else ""),
        f"Backend:       {backend['url']}",
        f"Redis:         {_redis_line(shown)}",
        f"Home:          {shown['home']}",
    ]


def _redis_line(shown: dict[str, Any]) -> str:
    server = shown["redis_server"]
    if server is None:
        return f"does not answer at {shown['redis']}"
    return f"{server['name']} {server['version']}, " + ("embedded" if server["embedded"] else f"at {shown['redis']}")


def describe_run(run: Run) -> dict[str, Any]:
    """A run, as JSON has it."""
    return {
        "id": run.id,
        "kind": run.kind.value,
        "state": run.state.value,
        "progress": run.progress,
        "detail": run.detail,
        "message": run.message,
        "version": run.version,
    }


def watch_run(context: Context, run_id: str) -> Run:
    """Show a run's progress until its end; returns its final state."""
    run = _run(context, run_id)
    with Progress(_WORDS[run.kind]) as progress:
        while not run.state.is_over:
            progress.update(run.progress, note=_note(run))
            time.sleep(_POLL_INTERVAL_S)
            run = _run(context, run_id)
    return run


def _run(context: Context, run_id: str) -> Run:
    run = context.queue.runs.get(run_id)
    if run is None:
        raise CaptionloopError(f"The run {run_id} has vanished from the database.")
    return run


def _note(run: Run) -> str:
    detail = run.detail
    parts = [str(detail.get("stage", run.state.value))]
    if "loss" in detail:
        parts.append(f"step {detail['step']} of {detail['steps']}, loss {detail['loss']:.3f}")
    elif "steps" in detail:
        parts.append(f"{detail['step']} of {detail['steps']}")
    if "seconds_left" in detail:
        parts.append(f"{detail['seconds_left']:.0f} s left")
    return ", ".join(parts)


def versions_table(rows: Sequence[VersionInfo]) -> str:
    """Versions, in the order given."""
    return table(
        ["version", "state", "corrections", "made", "why"],
        [
            [
                row.version,
                row.state,
                str(row.corrections),
                row.created_at.astimezone().strftime("%Y-%m-%d %H:%M"),
                row.reason,
            ]
            for row in rows
        ],
    )


def _made(used: Secret | None, by_up: Secret | None) -> str | None:
    """A secret in use, if it is the one that `captionloop up` created."""
    return used.reveal() if used is not None and used == by_up else None
