"""A captioning run with kills of the worker: `python -m benchmarks.annotate --tasks 2000`.

On its own Label Studio, Redis and worker, tasks of drawn scenes are captioned by the starter model and ordered, with
some kills (SIGKILL, worker and job); Label Studio is asked for the next fifty tasks; and another version is promoted,
so that all unlabelled tasks are captioned again.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import httpx
from tests.support.asking import expected, served
from tests.support.forked import forked_command
from tests.support.pictures import picture_of_scene
from tests.support.servers import LabelStudioServer, descendants, running_label_studio, running_redis
from tests.support.versions import add_copy

from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.jobs.context import Context
from captionloop.jobs.project.promotion import promote
from captionloop.jobs.queue.runs import DEAD_AFTER_S
from captionloop.model.active_learning.project_settings import ProjectSettings
from captionloop.model.database import Project, Run, RunKind, RunState, utc_now
from captionloop.model.starter.pool import example
from captionloop.settings import Settings

_POLL_S = 0.5
_PER_IMPORT = 250
_OVER_WITHIN_S = 3 * 3600


@dataclass(frozen=True)
class Outcome:
    """The result.

    Args:
        tasks: number of tasks.
        attempts: of the captioning run.
        captioned_s, renewed_s: duration of the first run and of the one after the promotion, waiting included.
        per_task: number of suggestions of the champion's version → number of tasks, after the first run.
        order_matches: how many of the first fifty tasks that Label Studio served were in our order.
        renewed: unlabelled tasks with exactly one suggestion of the promoted version afterwards.
        labelled_untouched: labelled tasks whose suggestions did not change.
    """

    tasks: int
    attempts: int
    captioned_s: float
    renewed_s: float
    per_task: dict[int, int]
    order_matches: int
    renewed: int
    labelled_untouched: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, running_redis() as redis:
        cache = Settings.read().cache
        with running_label_studio(Path(directory) / "label-studio", cache=cache) as label_studio:
            outcome = walk(
                Path(directory) / "home",
                label_studio,
                redis.url,
                tasks=options.tasks,
                kills=options.kills,
                say=lambda text: print(text, flush=True),
            )
    for name, value in asdict(outcome).items():
        print(f"{name}: {value:.0f}" if isinstance(value, float) else f"{name}: {value}")


def walk(
    home: Path,
    label_studio: LabelStudioServer,
    redis_url: str,
    *,
    tasks: int,
    kills: int,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run the benchmark. The home may have a database, of this project only."""
    variables = {
        "CAPTIONLOOP_HOME": str(home),
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "LABEL_STUDIO_URL": label_studio.url,
        "REDIS_URL": redis_url,
    }
    headers = {"Authorization": f"Token {label_studio.token}"}
    with (
        closing(Context.open(Settings.read(variables))) as context,
        httpx.Client(base_url=label_studio.url, headers=headers, timeout=300) as api,
    ):
        context.database.migrate()
        project = _project(context, tasks)
        say(f"{tasks} tasks are imported")
        begun = time.monotonic()
        run = context.queue.request(project.id, RunKind.ANNOTATE, asked_by="benchmark").run
        for kill in range(kills):
            with _worker(variables):
                _until(context, run, progress=(kill + 1) * 0.7 / (kills + 1))
            _age(context, run)
            say(f"killed at {_found(context, run).progress:.0%}")
        with _worker(variables):
            attempts = _until_over(context, run).attempts
            captioned_s = time.monotonic() - begun
            say(f"captioned after {captioned_s:.0f} s")
            per_task = _per_task(context, project, _champion(context, project))

            wanted = expected(context, project, 50)
            order = served(api, project.label_studio_id, 50)
            say(f"served: {order}")

            labelled = _versions(context, project, order)
            begun = time.monotonic()
            promote(
                context,
                project,
                add_copy(context.versions, project, context.versions.champion(project.id)),
                reason="benchmark",
            )
            (renewal,) = context.queue.runs.unfinished(project.id)
            _until_over(context, renewal)
            renewed_s = time.monotonic() - begun
        return Outcome(
            tasks=tasks,
            attempts=attempts,
            captioned_s=captioned_s,
            renewed_s=renewed_s,
            per_task=per_task,
            order_matches=sum(ours == theirs for ours, theirs in zip(wanted, order, strict=True)),
            renewed=_per_task(context, project, _champion(context, project)).get(1, 0),
            labelled_untouched=sum(
                after == labelled[task] for task, after in _versions(context, project, order).items()
            ),
        )


def _project(context: Context, tasks: int) -> Project:
    found = context.label_studio.create_project("A whole project", SAMPLE_LABEL_CONFIG)
    for start in range(0, tasks, _PER_IMPORT):
        places = range(start, min(start + _PER_IMPORT, tasks))
        context.label_studio.import_tasks(found["id"], [{"data": {"image": _picture(place)}} for place in places])
    with context.database.session() as session:
        project = Project(
            server=context.settings.server_name,
            label_studio_id=found["id"],
            webhook_secret="unused",
            is_connected=True,
            settings=ProjectSettings(order="sampling").to_dict(),
        )
        session.add(project)
    context.versions.ensure_champion(project.id, context.base)
    return context.project(project.id)


def _picture(place: int) -> str:
    scene, seed = example("a whole project", place)
    return picture_of_scene(scene, seed=seed)


@contextmanager
def _worker(variables: dict[str, str]) -> Iterator[None]:
    """A worker, killed at the end with its job."""
    log = Path(variables["CAPTIONLOOP_HOME"]) / "worker.log"
    process = forked_command("worker", log=log, environment={**os.environ, **variables})
    try:
        yield
    finally:
        for pid in [process.pid, *descendants(process.pid)]:
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _found(context: Context, run: Run) -> Run:
    found = context.queue.runs.get(run.id)
    assert found is not None
    assert found.state is not RunState.FAILED, found.message
    return found


def _until(context: Context, run: Run, *, progress: float) -> None:
    deadline = time.monotonic() + _OVER_WITHIN_S
    # A run that is taken up again begins at 0.
    while (found := _found(context, run)).state is not RunState.RUNNING or found.progress < progress:
        assert time.monotonic() < deadline
        assert not found.state.is_over
        time.sleep(_POLL_S)


def _until_over(context: Context, run: Run) -> Run:
    deadline = time.monotonic() + _OVER_WITHIN_S
    while not (found := _found(context, run)).state.is_over:
        assert time.monotonic() < deadline
        time.sleep(_POLL_S)
    return found


def _age(context: Context, run: Run) -> None:
    """Set back the run's heartbeat, so that the next worker takes it for dead at once."""
    with context.database.session() as session:
        session.get_one(Run, run.id).heartbeat_at = utc_now() - timedelta(seconds=DEAD_AFTER_S + 1)


def _champion(context: Context, project: Project) -> str:
    return context.versions.champion(project.id).version


def _per_task(context: Context, project: Project, version: str) -> dict[int, int]:
    """How many unlabelled tasks have how many suggestions of a version."""
    counts = Counter(
        sum(prediction["model_version"] == version for prediction in task["predictions"])
        for task in context.label_studio.unlabelled_tasks_with_results(project.label_studio_id)
    )
    return dict(counts)


def _versions(context: Context, project: Project, tasks: list[int]) -> dict[int, list[str]]:
    return {
        task["id"]: [prediction["model_version"] for prediction in task["predictions"]]
        for task in context.label_studio.tasks(project.label_studio_id, tasks)
    }


if __name__ == "__main__":
    main()
