"""Sweeps: how their trials get to the workers, and how they end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Worker
from rq.serializers import JSONSerializer
from tests.support.models import add_project
from tests.support.sweeps import DEFAULT, SPACE, do_trial, kill_workers, request_sweep

from captionloop.errors import NotFoundError, RunCancelled, ServiceError, SettingsError
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.jobs.queue.runs import Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.jobs.queue.work import RUNS, TRIALS
from captionloop.model.database import Database, Project, RunKind, RunState
from captionloop.model.sweep.trials import Trials
from captionloop.model.training import named_settings


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def queue(database: Database, redis_url: str, tmp_path: Path) -> Iterator[Queue]:
    opened = Queue(redis_url, Runs(database), Sweeps(database, tmp_path / "runs"))
    yield opened
    opened.close()


def jobs_in(redis_url: str) -> list[bytes]:
    with Redis.from_url(redis_url) as client:
        return list(client.lrange(f"rq:queue:{TRIALS}", 0, -1))


def do_all(database: Database, sweep_id: str, scores: list[float]) -> None:
    with Trials.opened(database, sweep_id) as trials:
        for number, score in enumerate(scores):
            do_trial(trials, number, score)


# To the workers ------------------------------------------------------------------------------------------------------


def test_each_trial_is_a_job_of_plain_ids(queue: Queue, database: Database, project: Project, redis_url: str) -> None:
    sweep = request_sweep(queue, database, project)

    assert [job.decode() for job in jobs_in(redis_url)] == [f"{sweep.id}-{number}" for number in range(4)]


def test_a_run_goes_before_the_trials_that_wait(queue: Queue, database: Database, project: Project) -> None:
    request_sweep(queue, database, project)
    run = queue.request(project.id, RunKind.FINETUNE, asked_by="test").run
    worker = Worker([RUNS, TRIALS], connection=queue.redis, serializer=JSONSerializer)

    taken = worker.dequeue_job_and_maintain_ttl(timeout=1)

    assert taken is not None
    assert taken[0].args == [run.id]


def test_an_emptied_redis_loses_no_trial(queue: Queue, database: Database, project: Project, redis_url: str) -> None:
    request_sweep(queue, database, project)
    with Redis.from_url(redis_url) as client:
        client.flushdb()

    queue.keep_moving()
    queue.keep_moving()

    assert len(jobs_in(redis_url)) == 4


def test_a_sweep_asked_for_without_redis_is_kept(database: Database, project: Project) -> None:
    queue = Queue("redis://localhost:1/0", Runs(database), Sweeps(database, Path()))

    with pytest.raises(ServiceError, match="The sweep is kept and begins when Redis is back"):
        request_sweep(queue, database, project)

    assert [sweep.state for sweep in queue.sweeps.all_of(project.id)] == [RunState.RUNNING]


def test_a_trial_of_a_killed_worker_is_sent_again(
    queue: Queue, database: Database, project: Project, redis_url: str
) -> None:
    sweep = request_sweep(queue, database, project)
    with Trials.opened(database, sweep.id) as trials:
        trials.take(0, SPACE)
    kill_workers(database)

    queue.keep_moving()

    assert jobs_in(redis_url)[-1].decode() == f"{sweep.id}-4"
    assert queue.sweeps.state(sweep.id).counts == {"waiting": 4}


# How it ends ---------------------------------------------------------------------------------------------------------


def test_a_sweep_is_over_with_its_last_trial(queue: Queue, database: Database, project: Project) -> None:
    sweep = request_sweep(queue, database, project)
    do_all(database, sweep.id, [2.0, 5.0, 3.0, 4.0])

    queue.keep_moving()

    over = queue.sweeps.named(project.id, "sweep-1")
    assert over.state is RunState.FINISHED
    assert over.message.startswith("Trial 1 is best")
    assert "CIDEr-D + BLEU-4 5.00 ± 0.10 (best default: 2.00). Of all: 4 finished." in over.message


def test_a_sweep_goes_on_while_a_trial_waits(queue: Queue, database: Database, project: Project) -> None:
    sweep = request_sweep(queue, database, project)
    do_all(database, sweep.id, [2.0, 5.0, 3.0])

    queue.keep_moving()

    assert queue.sweeps.get(sweep.id).state is RunState.RUNNING


def test_the_best_settings_of_a_sweep_are_kept_under_its_name(
    queue: Queue, database: Database, project: Project
) -> None:
    sweep = request_sweep(queue, database, project, name="careful")
    do_all(database, sweep.id, [5.0, 2.0, 3.0, 4.0])

    queue.keep_moving()

    with database.reading() as session:
        assert named_settings.read(session, project.id, "careful") == {**SPACE.fixed, **DEFAULT}


def test_trials_that_chance_could_have_put_first_are_named(queue: Queue, database: Database, project: Project) -> None:
    sweep = request_sweep(queue, database, project)
    do_all(database, sweep.id, [2.0, 5.0, 4.9, 4.0])

    queue.keep_moving()

    assert "Too close to call: trial 2." in queue.sweeps.get(sweep.id).message


def test_a_sweep_without_any_score_failed(queue: Queue, database: Database, project: Project) -> None:
    sweep = request_sweep(queue, database, project, trials=1)
    with Trials.opened(database, sweep.id) as trials:
        ongoing = trials.take(0, SPACE)
        assert ongoing is not None
        ongoing.fail("The loss is nan.")

    queue.keep_moving()

    over = queue.sweeps.get(sweep.id)
    assert (over.state, over.message) == (RunState.FAILED, "No trial finished. The last one: The loss is nan.")


def test_a_cancelled_sweep_keeps_the_best_so_far(queue: Queue, database: Database, project: Project) -> None:
    sweep = request_sweep(queue, database, project)
    do_all(database, sweep.id, [2.0, 5.0])

    over = queue.sweeps.cancel(project.id, sweep.name)

    assert over.state is RunState.CANCELLED
    assert queue.sweeps.state(sweep.id).counts == {"finished": 2, "failed": 2}
    with database.reading() as session:
        assert named_settings.read(session, project.id, sweep.name)["steps"] == 7
    with pytest.raises(RunCancelled):
        queue.sweeps.check_cancelled(sweep.id)


def test_a_sweep_that_is_over_cannot_be_cancelled_any_more(queue: Queue, database: Database, project: Project) -> None:
    sweep = request_sweep(queue, database, project)
    do_all(database, sweep.id, [2.0, 5.0, 3.0, 4.0])
    queue.keep_moving()

    assert queue.sweeps.cancel(project.id, sweep.name).state is RunState.FINISHED


# Names ---------------------------------------------------------------------------------------------------------------


def test_sweeps_without_a_name_are_counted(queue: Queue, database: Database, project: Project) -> None:
    request_sweep(queue, database, project, name="sweep-2")

    assert request_sweep(queue, database, project).name == "sweep-3"


def test_a_name_is_given_once(queue: Queue, database: Database, project: Project) -> None:
    request_sweep(queue, database, project, name="careful")

    with pytest.raises(SettingsError, match="'careful' already; choose another --name"):
        request_sweep(queue, database, project, name="careful")


def test_projects_have_names_of_their_own(queue: Queue, database: Database, project: Project) -> None:
    request_sweep(queue, database, project, name="careful")

    assert request_sweep(queue, database, add_project(database, 2), name="careful").name == "careful"


def test_an_unknown_sweep_is_answered_with_those_that_are_known(
    queue: Queue, database: Database, project: Project
) -> None:
    request_sweep(queue, database, project)

    with pytest.raises(NotFoundError, match=r"no sweep 'careful' in this project\. It has: sweep-1"):
        queue.sweeps.named(project.id, "careful")
