"""The worker process itself."""

import os
import threading
from types import SimpleNamespace

import pytest
import rq
from redis import Redis
from rq.serializers import JSONSerializer

from captionloop.jobs import worker as worker_module


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
