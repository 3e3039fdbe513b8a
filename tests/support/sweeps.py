"""Instant trials of a sweep, with given scores."""

from typing import Any

from sqlalchemy import text

from captionloop.jobs.queue.redis_queue import Queue
from captionloop.model.database import Database, Project, Sweep, Version
from captionloop.model.metrics import Score
from captionloop.model.sweep.search_space import SearchSpace
from captionloop.model.sweep.trials import DEAD_AFTER_S, Trials

SPACE = SearchSpace(("decoder", "lora"), ("cosine", "constant"), (1e-4, 1e-2), {"steps": 7})
DEFAULT: dict[str, Any] = {"way": "decoder", "schedule": "cosine", "learning_rate": 1e-3}


def do_trial(
    trials: Trials, number: int, score: float, *, standard_error: float = 0.1, space: SearchSpace = SPACE
) -> None:
    """Take a trial and finish it with this score, the same at two validations."""
    ongoing = trials.take(number, space)
    assert ongoing is not None
    for percent in (20, 50, 60):
        ongoing.report(percent, score)
    ongoing.finish(Score(score, standard_error, (score - 2 * standard_error, score + 2 * standard_error)))


def kill_workers(database: Database) -> None:
    """Let all workers that are busy with a trial have been silent for long."""
    with database.session() as session:
        moment = f"datetime('now', '-{DEAD_AFTER_S + 1} seconds')"
        session.execute(text(f"UPDATE trial_heartbeats SET heartbeat = {moment}"))


def request_sweep(
    queue: Queue, database: Database, project: Project, *, trials: int = 4, name: str | None = None
) -> Sweep:
    """A sweep whose trials wait in Redis; there is nothing that they could train on."""
    with database.session() as session:
        if session.get(Version, "base") is None:
            session.add(Version(name="base"))
    return queue.request_sweep(
        project.id,
        SPACE,
        trials=trials,
        snapshot="0" * 64,
        champion="base",
        first=[DEFAULT],
        asked_by="test",
        name=name,
    )
