"""The worker process itself."""

import gc
import json
import os
import pickle
import signal
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rq
from redis import Redis
from rq.executions import Execution
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from rq.worker_registration import clean_worker_registry
from tests.support.models import add_project
from tests.support.processes import alive, running, running_worker, until
from tests.support.servers import OwnRedis, descendants

from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.queue.runs import DEAD_AFTER_S, Runs
from captionloop.jobs.queue.work import RUNS
from captionloop.jobs.worker import rq_worker as worker_module
from captionloop.logs import belonging_to
from captionloop.model.database import Database, Run, RunKind, RunState, utc_now
from captionloop.settings import Settings


def test_no_job_is_forked_while_another_thread_is_in_the_database(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child would wait for SQLite's own lock for ever."""
    in_database, may_leave, stop = threading.Event(), threading.Event(), threading.Event()
    forked_in_between: list[bool] = []

    def keep_moving() -> None:
        in_database.set()
        may_leave.wait(10)
        in_database.clear()
        stop.set()

    def fork() -> int:
        forked_in_between.append(in_database.is_set())
        return 1

    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(worker_module, "start_due_runs", lambda context: None)
    versions = SimpleNamespace(remove_leftovers=lambda: [])
    queue_of_context = SimpleNamespace(
        keep_moving=keep_moving, say_present=lambda this: None, say_absent=lambda this: None
    )
    context = SimpleNamespace(queue=queue_of_context, versions=versions, settings=Settings())
    watcher = threading.Thread(target=worker_module._watch, args=(context, stop))
    with Redis.from_url(redis_url) as connection:
        queue = rq.Queue("test", connection=connection, serializer=JSONSerializer)
        worker = worker_module._Worker([queue], connection=connection, serializer=JSONSerializer)
        job = queue.enqueue("time.sleep", 0)
        watcher.start()
        in_database.wait(10)
        threading.Timer(0.3, may_leave.set).start()
        worker.fork_work_horse(job, queue)
    watcher.join()

    assert forked_in_between == [False]


def test_what_is_imported_ahead_is_no_concern_of_the_collections_of_jobs() -> None:
    made_before = [[number] for number in range(1000)]
    known = gc.get_freeze_count()

    worker_module._import_ahead()

    assert gc.isenabled()
    assert gc.get_freeze_count() >= known + len(made_before)


@pytest.mark.faults
def test_what_a_killed_worker_left_in_redis_does_not_end_the_others(redis_url: str) -> None:
    """RQ's own maintenance ends the worker that meets a job whose execution has expired."""
    with Redis.from_url(redis_url) as connection:
        queue = rq.Queue("test", connection=connection, serializer=JSONSerializer)
        job = queue.enqueue("time.sleep", 0)
        job.set_status(JobStatus.STARTED)
        with connection.pipeline() as pipeline:
            Execution.create(job, ttl=1, pipeline=pipeline)
            pipeline.execute()
        time.sleep(2.1)  # nobody renews it

        worker_module._Worker([queue], connection=connection, serializer=JSONSerializer).clean_registries()

        assert queue.started_job_registry.get_job_ids(cleanup=False) == []


@pytest.mark.faults
def test_a_worker_that_redis_has_forgotten_registers_again(redis_url: str) -> None:
    """Its entry expires while it stands still."""
    with Redis.from_url(redis_url) as connection:
        queue = rq.Queue("test", connection=connection, serializer=JSONSerializer)
        worker = worker_module._Worker([queue], connection=connection, serializer=JSONSerializer)
        worker.register_birth()
        connection.delete(worker.key)
        clean_worker_registry(queue)

        worker.heartbeat()

        assert [known.name for known in rq.Worker.all(queue=queue, serializer=JSONSerializer)] == [worker.name]


@pytest.mark.faults
@pytest.mark.slow
def test_a_worker_whose_redis_is_killed_and_started_again_goes_on(
    database: Database, home: Home, tmp_path: Path
) -> None:
    project = add_project(database)
    with OwnRedis.running() as redis, running_worker(home, redis.url, tmp_path / "worker.log") as worker:
        context = Context.open(Settings(home=home.root, redis_url=redis.url))
        until(lambda: bool(context.queue.workers()))
        redis.kill()
        time.sleep(2)
        redis.start()
        run = context.queue.request(project.id, RunKind.ANNOTATE, asked_by="test").run
        until(lambda: found(context.queue.runs, run.id).state is RunState.RUNNING)
        context.close()

        assert worker.poll() is None


@pytest.mark.faults
@pytest.mark.slow
def test_a_worker_that_is_started_before_its_redis_waits_for_it(database: Database, home: Home, tmp_path: Path) -> None:
    with OwnRedis.running() as redis:
        redis.kill()
        with running_worker(home, redis.url, tmp_path / "worker.log") as worker:
            until(lambda: "Redis does not answer" in (tmp_path / "worker.log").read_text())
            redis.start()
            with closing(Context.open(Settings(home=home.root, redis_url=redis.url))) as context:
                until(lambda: bool(context.queue.workers()))

            assert worker.poll() is None


@pytest.fixture
def waiting_run(database: Database, home: Home, redis_url: str) -> Iterator[tuple[Runs, str]]:
    """A run that a worker will take and not finish: nobody answers at Label Studio's address, and runs are patient."""
    project = add_project(database)
    context = Context.open(Settings(home=home.root, redis_url=redis_url))
    with belonging_to(request="press-1"):
        run = context.queue.request(project.id, RunKind.ANNOTATE, asked_by="test").run
    yield context.queue.runs, run.id
    context.close()


def found(runs: Runs, run_id: str) -> Run:
    run = runs.get(run_id)
    assert run is not None
    return run


@pytest.mark.slow
@pytest.mark.faults
def test_a_worker_that_is_ended_hands_its_run_back_at_once_and_the_next_one_goes_on_with_it(
    waiting_run: tuple[Runs, str], home: Home, redis_url: str, tmp_path: Path
) -> None:
    runs, run_id = waiting_run
    with running_worker(home, redis_url, tmp_path / "first.log") as first:
        until(lambda: found(runs, run_id).state is RunState.RUNNING)
        first.send_signal(signal.SIGTERM)
        first.wait(20)
    left = found(runs, run_id)
    with running_worker(home, redis_url, tmp_path / "second.log"):
        until(lambda: found(runs, run_id).state is RunState.RUNNING)

    assert (left.state, left.attempts, found(runs, run_id).attempts) == (RunState.QUEUED, 0, 1)


class TestOnTheEmbeddedValkeyAndOnARedis:
    @pytest.fixture
    def redis_url(self, either_redis_url: str) -> str:
        return either_redis_url

    @pytest.mark.slow
    def test_what_a_job_logs_says_which_run_it_is_and_whose_request_asked_for_it(
        self, waiting_run: tuple[Runs, str], home: Home, redis_url: str, tmp_path: Path
    ) -> None:
        _, run_id = waiting_run
        log = tmp_path / "worker.log"

        def of_run() -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
            return [line for line in lines if line["job_id"] == run_id]

        with running_worker(home, redis_url, log):
            until(lambda: bool(of_run()))

        assert {line["request_id"] for line in of_run()} == {"press-1"}


@pytest.mark.faults
@pytest.mark.slow
def test_a_killed_worker_takes_its_job_along_and_another_one_goes_on_with_the_run(
    waiting_run: tuple[Runs, str], database: Database, home: Home, redis_url: str, tmp_path: Path
) -> None:
    runs, run_id = waiting_run
    with running_worker(home, redis_url, tmp_path / "first.log") as first:
        until(lambda: found(runs, run_id).state is RunState.RUNNING)
        job = descendants(first.pid)
        first.send_signal(signal.SIGKILL)
        first.wait()
    until(lambda: not alive(job), within_s=5)
    with database.session() as session:  # as if a minute had gone by
        session.get_one(Run, run_id).heartbeat_at = utc_now() - timedelta(seconds=DEAD_AFTER_S + 1)
    with running_worker(home, redis_url, tmp_path / "second.log"):
        until(lambda: found(runs, run_id).attempts == 2)

    assert (len(job), found(runs, run_id).state) == (1, RunState.RUNNING)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["MALICIOUS_TARGET"],)


@pytest.mark.slow
def test_a_pickle_that_somebody_puts_into_redis_runs_nothing_and_the_worker_goes_on(
    home: Home, database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALICIOUS_TARGET", str(tmp_path / "owned"))
    log = tmp_path / "worker.log"
    with Redis.from_url(redis_url) as connection:
        job = rq.Queue(RUNS, connection=connection, serializer=JSONSerializer).enqueue("time.sleep", 0)
        for spelling in (pickle.dumps(Malicious()), zlib.compress(pickle.dumps(Malicious()))):
            connection.hset(job.key, "data", spelling)
            connection.lpush(f"rq:queue:{RUNS}", job.id)

        with running_worker(home, redis_url, log) as process:
            until(lambda: connection.llen(f"rq:queue:{RUNS}") == 0)
            until(lambda: log.read_text().count("DeserializationError") >= 2)
            worker_is_alive = process.poll() is None

    assert (worker_is_alive, (tmp_path / "owned").exists()) == (True, False)


@pytest.mark.slow
def test_a_job_that_is_none_of_ours_is_refused_with_all_that_it_names(
    home: Home, database: Database, redis_url: str, tmp_path: Path
) -> None:
    log, owned = tmp_path / "worker.log", tmp_path / "owned"
    with Redis.from_url(redis_url) as connection:
        queue = rq.Queue(RUNS, connection=connection, serializer=JSONSerializer)
        direct = queue.enqueue("os.mkdir", str(owned))
        by_module = queue.enqueue("captionloop.jobs.entry.time.sleep", 0)
        at_its_end = queue.enqueue("captionloop.jobs.entry.finetune", "no such run")
        for kind in ("success", "failure", "stopped"):
            connection.hset(
                at_its_end.key, f"{kind}_callback_name", "tests.jobs.worker.test_rq_worker.callback_of_a_stranger"
            )

        with running_worker(home, redis_url, log) as process:
            until(lambda: log.read_text().count("is no job of Captionloop") >= 2)
            until(lambda: queue.count == 0 and not rq.registry.StartedJobRegistry(queue=queue).get_job_ids())
            worker_is_alive = process.poll() is None

    said = log.read_text()
    assert (worker_is_alive, owned.exists()) == (True, False)
    assert direct.id in said
    assert by_module.id in said
    assert "callback_of_a_stranger" not in said


@pytest.mark.slow
def test_a_job_works_with_the_settings_that_its_worker_found_out(
    database: Database, home: Home, tmp_path: Path
) -> None:
    """`captionloop worker` beside `captionloop up`, which alone knows of a Redis; both know the home."""
    project, log = add_project(database), tmp_path / "worker.log"
    home.redis_socket.parent.mkdir(exist_ok=True, parents=True)
    redis = OwnRedis(home.redis_socket.parent)
    redis.start()
    with closing(Context.open(Settings(home=home.root, redis_url=redis.url))) as context:
        run = context.queue.request(project.id, RunKind.FINETUNE, asked_by="test").run
        with running("worker", log=log, environment={"CAPTIONLOOP_HOME": str(home.root)}):
            until(lambda: found(context.queue.runs, run.id).state.is_over or "No Redis is known" in log.read_text())
        ended = found(context.queue.runs, run.id)
    redis.stop()

    assert ended.message.startswith("No Label Studio is known here"), log.read_text()
