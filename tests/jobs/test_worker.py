"""The worker process itself."""

import os
import threading
from types import SimpleNamespace

import pytest
import rq
from redis import Redis
from rq.serializers import JSONSerializer
from tests.support.models import add_project

from captionloop.home import Home
from captionloop.jobs import worker as worker_module
from captionloop.jobs.context import Context
from captionloop.model.database import Database, RunKind, RunState
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
    context = SimpleNamespace(queue=SimpleNamespace(keep_moving=keep_moving))
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


def test_what_another_worker_is_writing_is_not_swept_away(database: Database, home: Home, redis_url: str) -> None:
    settings = Settings(home=home.root, redis_url=redis_url)
    context = Context.open(settings)
    unfinished = home.versions / ".unfinished-x"
    unfinished.mkdir(parents=True)
    project = add_project(database)
    run = context.queue.runs.request(project.id, RunKind.FINETUNE, asked_by="test").run
    context.queue.runs.start(run.id)

    worker_module._sweep(context)
    kept_while_it_runs = unfinished.exists()
    context.queue.runs.finish(run.id, RunState.FAILED, message="over")
    worker_module._sweep(context)
    context.close()

    assert (kept_while_it_runs, unfinished.exists()) == (True, False)
