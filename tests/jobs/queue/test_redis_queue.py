import threading
from pathlib import Path

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer
from tests.support.models import add_project

from captionloop.errors import ServiceError
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.jobs.queue.runs import Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.jobs.queue.work import Work, queues_of
from captionloop.model.database import Database, Project, RunKind, RunState


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def redis_url(either_redis_url: str) -> str:
    """All of it is tried on both servers."""
    return either_redis_url


@pytest.fixture
def queue(database: Database, redis_url: str) -> Queue:
    return Queue(redis_url, Runs(database), Sweeps(database, Path()))


def jobs_in(redis_url: str) -> list[bytes]:
    with Redis.from_url(redis_url) as client:
        return [job for name in queues_of(list(Work)) for job in client.lrange(f"rq:queue:{name}", 0, -1)]


def test_a_request_puts_one_job_into_redis(queue: Queue, project: Project, redis_url: str) -> None:
    queue.request(project.id, RunKind.FINETUNE, asked_by="test")

    assert len(jobs_in(redis_url)) == 1


def test_jobs_are_plain_json(queue: Queue, project: Project, redis_url: str) -> None:
    requested = queue.request(project.id, RunKind.FINETUNE, asked_by="test")

    with Redis.from_url(redis_url) as client:
        [job] = client.keys("rq:job:*")
        import zlib

        data = zlib.decompress(client.hget(job, "data"))
    assert requested.run.id.encode() in data
    assert data.startswith(b"[")


def test_a_folded_request_adds_no_job(queue: Queue, project: Project, redis_url: str) -> None:
    for _ in range(3):
        queue.request(project.id, RunKind.FINETUNE, asked_by="test")

    assert len(jobs_in(redis_url)) == 1


@pytest.mark.faults
def test_twenty_requests_at_once_make_one_run(queue: Queue, project: Project, redis_url: str) -> None:
    threads = [
        threading.Thread(target=queue.request, args=(project.id, RunKind.FINETUNE), kwargs={"asked_by": "test"})
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(queue.runs.active()) == 1
    assert len(jobs_in(redis_url)) == 1


@pytest.mark.faults
def test_an_emptied_redis_loses_no_run(queue: Queue, project: Project, redis_url: str) -> None:
    queue.request(project.id, RunKind.FINETUNE, asked_by="test")
    with Redis.from_url(redis_url) as client:
        client.flushdb()

    queue.keep_moving()

    assert len(jobs_in(redis_url)) == 1


def test_keeping_things_moving_sends_nothing_twice(queue: Queue, project: Project, redis_url: str) -> None:
    queue.request(project.id, RunKind.FINETUNE, asked_by="test")

    queue.keep_moving()
    queue.keep_moving()

    assert len(jobs_in(redis_url)) == 1


def test_a_burst_of_events_asks_for_one_sync(queue: Queue, project: Project, redis_url: str) -> None:
    asked = [queue.request_sync(project.id) for _ in range(10)]

    assert asked == [True] + [False] * 9
    assert len(jobs_in(redis_url)) == 1


def test_a_sync_may_take_as_long_as_it_needs(queue: Queue, project: Project, redis_url: str) -> None:
    queue.request_sync(project.id)

    (job_id,) = jobs_in(redis_url)
    assert Job.fetch(job_id.decode(), connection=queue.redis, serializer=JSONSerializer).timeout == -1


def test_an_event_after_the_sync_began_asks_for_another(queue: Queue, project: Project) -> None:
    queue.request_sync(project.id)
    queue.sync_begins(project.id)

    assert queue.request_sync(project.id)


@pytest.mark.faults
def test_a_sync_that_is_owed_is_asked_for_again(queue: Queue, project: Project, redis_url: str) -> None:
    queue.sync_is_owed(project.id)

    queue.keep_moving()

    assert len(jobs_in(redis_url)) == 1


@pytest.mark.faults
def test_of_several_that_are_owed_one_finds_out_whether_label_studio_is_back(
    queue: Queue, database: Database, project: Project, redis_url: str
) -> None:
    for owed in (project, add_project(database, 2), add_project(database, 3)):
        queue.sync_is_owed(owed.id)

    for _ in range(5):
        queue.keep_moving()

    assert len(jobs_in(redis_url)) == 1


@pytest.mark.faults
def test_when_one_was_done_the_next_that_is_owed_follows(
    queue: Queue, database: Database, project: Project, redis_url: str
) -> None:
    other = add_project(database, 2)
    queue.sync_is_owed(project.id)
    queue.keep_moving()
    queue.sync_is_owed(other.id)
    queue.sync_is_done(project.id)

    for _ in range(5):
        queue.keep_moving()

    assert len(jobs_in(redis_url)) == 2


@pytest.mark.faults
def test_a_sync_that_was_done_is_owed_no_more(queue: Queue, project: Project, redis_url: str) -> None:
    queue.sync_is_owed(project.id)
    queue.sync_is_done(project.id)

    queue.keep_moving()

    assert jobs_in(redis_url) == []


def test_a_changed_champion_is_heard_of(queue: Queue, project: Project) -> None:
    stop, heard = threading.Event(), threading.Event()

    def listen() -> None:
        for project_id in queue.champion_changes(stop):
            if project_id == project.id:
                heard.set()

    listener = threading.Thread(target=listen)
    listener.start()
    for _ in range(50):  # nobody is told of what was announced before they listened
        queue.announce_champion(project.id)
        if heard.wait(0.2):
            break
    stop.set()
    listener.join()

    assert heard.is_set()


@pytest.mark.faults
def test_a_run_requested_without_redis_is_kept(database: Database, project: Project) -> None:
    queue = Queue("redis://localhost:1/0", Runs(database), Sweeps(database, Path()))

    with pytest.raises(ServiceError, match="The run is kept and begins when Redis is back"):
        queue.request(project.id, RunKind.FINETUNE, asked_by="test")

    [run] = queue.runs.active()
    assert run.state is RunState.QUEUED


def test_the_password_of_redis_is_not_told(database: Database) -> None:
    queue = Queue("redis://:hunter2@localhost:1/0", Runs(database), Sweeps(database, Path()))

    with pytest.raises(ServiceError) as caught:
        queue.check()

    assert "hunter2" not in str(caught.value)
