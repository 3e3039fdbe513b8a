"""The attempt at a run, where a test plays the worker."""

from collections.abc import Mapping
from typing import Any

from captionloop.jobs.queue.attempt import Attempt
from captionloop.jobs.queue.runs import Runs
from captionloop.model.database import RunKind


def attempt_at(runs: Runs, run_id: str) -> Attempt:
    """The latest one, which holds the run."""
    run = runs.get(run_id)
    assert run is not None
    return runs.attempt(run_id, run.fence)


def begun(runs: Runs, project_id: int, kind: RunKind, *, settings: Mapping[str, Any] | None = None) -> Attempt:
    """A run that is asked for and taken by a worker."""
    attempt = runs.start(runs.request(project_id, kind, asked_by="test", settings=settings).run.id)
    assert attempt is not None
    return attempt
