"""Redis, Label Studio and the backend are killed while they are needed, then everything at once."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from redis import Redis
from sqlalchemy import func, select
from tests.support.agreement import broken_versions, disagreements
from tests.support.forked import ForkedProcess
from tests.support.loop import Loop, kill_with_all, opened_loop, picture_of
from tests.support.models import add_project
from tests.support.processes import running, until
from tests.support.servers import LabelStudioServer, OwnRedis, running_label_studio
from tests.support.versions import add_copy

from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.local.ports import free_port
from captionloop.errors import ServiceError
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.project.sync import sync
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.jobs.queue.runs import Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.model.database import Correction, Database, RunKind, RunState
from captionloop.settings import Settings

pytestmark = pytest.mark.faults


@pytest.fixture
def redis() -> Iterator[OwnRedis]:
    with OwnRedis.running() as own:
        yield own


def some_steps_are_done(loop: Loop, run: str) -> bool:
    return int(loop.run(run).detail.get("step", 0)) > 10


def test_a_redis_without_room_refuses_a_run_which_is_kept_and_begins_when_there_is_room(
    database: Database, redis: OwnRedis, tmp_path: Path
) -> None:
    queue = Queue(redis.url, Runs(database), Sweeps(database, tmp_path))
    project = add_project(database)
    with Redis.from_url(redis.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(ServiceError, match="The run is kept and begins when Redis is back"):
            queue.request(project.id, RunKind.FINETUNE, asked_by="test")
        client.config_set("maxmemory", 0)

        queue.keep_moving()

        assert client.llen("rq:queue:captionloop") == 1
    queue.close()


def test_a_redis_that_was_killed_gets_back_what_it_held(database: Database, redis: OwnRedis, tmp_path: Path) -> None:
    queue = Queue(redis.url, Runs(database), Sweeps(database, tmp_path))
    queue.request(add_project(database).id, RunKind.FINETUNE, asked_by="test")
    redis.kill()
    with pytest.raises(ServiceError, match="Redis does not answer"):
        queue.keep_moving()
    redis.start()

    queue.keep_moving()

    with Redis.from_url(redis.url) as client:
        assert client.llen("rq:queue:captionloop") == 1
    queue.close()


@pytest.mark.slow
@pytest.mark.heavy
def test_a_run_goes_on_while_redis_is_killed_and_started_again_empty(
    label_studio_server: LabelStudioServer, database: Database, home: Home, redis: OwnRedis, tmp_path: Path
) -> None:
    with opened_loop(label_studio_server, home, redis.url, tmp_path) as loop:
        loop.add_annotations(40)
        run = loop.request_training()
        with loop.worker():
            loop.wait(lambda: some_steps_are_done(loop, run))
            redis.kill()
            redis.start()
            ended = loop.until_over(run)

        assert ended.state is RunState.FINISHED
        assert disagreements(loop.context, loop.project) == []
        assert broken_versions(loop.context, loop.project) == []


def some_corrections_are_here(loop: Loop) -> bool:
    with loop.context.database.reading() as session:
        return bool(session.scalar(select(func.count()).select_from(Correction)))


@pytest.mark.slow
@pytest.mark.heavy
def test_a_run_goes_on_when_the_label_studio_that_was_killed_during_its_sync_is_back(
    cache: Path, database: Database, home: Home, redis_url: str, tmp_path: Path
) -> None:
    with (
        running_label_studio(tmp_path / "label-studio", cache=cache) as studio,
        opened_loop(studio, home, redis_url, tmp_path) as loop,
    ):
        loop.add_annotations(60)
        run = loop.request_training(steps=20)
        with loop.worker():
            loop.wait(lambda: some_corrections_are_here(loop))
            studio.kill()
            loop.wait(lambda: loop.run(run).detail.get("stage") == "waiting for Label Studio")
            studio.start()
            ended = loop.until_over(run)

        assert (ended.state, ended.attempts) == (RunState.FINISHED, 1)
        assert disagreements(loop.context, loop.project) == []
        assert broken_versions(loop.context, loop.project) == []


@contextmanager
def backend(variables: dict[str, str], port: int, log: Path) -> Iterator[Any]:
    known = {"CAPTIONLOOP_PORT": str(port), "CAPTIONLOOP_URL": f"http://localhost:{port}"}
    with running("serve", log=log, environment=variables | known) as process:
        until(lambda: answers(port), within_s=120)
        yield process


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://localhost:{port}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def backend_variables(home: Home, redis_url: str) -> dict[str, str]:
    """Those of a backend without a Label Studio."""
    return {
        "CAPTIONLOOP_HOME": str(home.root), "REDIS_URL": redis_url, "LABEL_STUDIO_URL": "http://localhost:9",
        "LABEL_STUDIO_API_KEY": "5" * 40, "CAPTIONLOOP_SERVER": "local",
    }  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A question to a backend: asked and over when, by time.monotonic(), and answered by which version; None: never."""

    begun: float
    over: float
    version: str | None


@contextmanager
def asking(port: int) -> Iterator[list[Asked]]:
    """Somebody asks for the caption of a picture, again and again."""
    body = {
        "tasks": [{"id": 1, "data": {"image": picture_of(0)}}], "project": "1.1", "label_config": SAMPLE_LABEL_CONFIG,
    }  # fmt: skip
    made: list[Asked] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            begun, version = time.monotonic(), None
            with suppress(httpx.HTTPError):
                answer = httpx.post(f"http://localhost:{port}/predict", json=body, timeout=120, trust_env=False)
                version = answer.raise_for_status().json()["results"][0]["model_version"]
            made.append(Asked(begun, time.monotonic(), version))
            time.sleep(0.02)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield made
    finally:
        stop.set()
        asker.join()


def reads(process: ForkedProcess, directory: Path) -> bool:
    return any(Path(file.path).parent == directory for file in psutil.Process(process.pid).open_files())


@pytest.mark.slow
def test_a_backend_that_is_killed_while_it_loads_a_new_champion_serves_that_one_when_it_is_back(
    database: Database, home: Home, redis_url: str, tmp_path: Path
) -> None:
    port, variables, project = free_port(), backend_variables(home, redis_url), add_project(database)
    with closing(Context.open(Settings.read(variables))) as context, ExitStack() as people:
        with backend(variables, port, tmp_path / "first.log") as first:
            asked = people.enter_context(asking(port))
            until(lambda: bool(asked))
            before = context.versions.champion(project.id)
            after = add_copy(context.versions, project, before, padding_bytes=100_000_000)
            context.versions.promote(project.id, after, reason="better")
            context.queue.announce_champion(project.id)
            until(lambda: reads(first, context.versions.get(project.id, after).path), every_s=0.002)
            killed_at = time.monotonic()
            kill_with_all(first)
        with backend(variables, port, tmp_path / "second.log"):
            back_at = time.monotonic()
            until(lambda: asked[-1].begun > back_at)
            people.close()

        assert [version for version, _ in groupby(one.version for one in asked if one.version)] == [
            before.version,
            after,
        ]
        assert [one for one in asked if not one.version and (one.over < killed_at or one.begun > back_at)] == []
        assert broken_versions(context, project) == []


@pytest.mark.slow
def test_a_backend_that_is_killed_while_it_answers_answers_the_same_question_when_it_is_back(
    database: Database, home: Home, redis_url: str, tmp_path: Path
) -> None:
    port = free_port()
    variables = backend_variables(home, redis_url)
    tasks = [{"id": place, "data": {"image": picture_of(place)}} for place in range(60)]
    body = {"tasks": tasks, "project": "1.1", "label_config": SAMPLE_LABEL_CONFIG}

    def ask() -> Any:
        return httpx.post(f"http://localhost:{port}/predict", json=body, timeout=120, trust_env=False)

    add_project(database)
    met: list[Exception] = []

    def ask_in_vain() -> None:
        try:
            ask()
        except httpx.HTTPError as error:
            met.append(error)

    with backend(variables, port, tmp_path / "first.log") as first:
        asking = threading.Thread(target=ask_in_vain)
        asking.start()
        until(lambda: any(home.features.rglob("*.safetensors")))  # it is at it
        kill_with_all(first)
        asking.join()
    with backend(variables, port, tmp_path / "second.log"):
        results = ask().raise_for_status().json()["results"]

    assert len(met) == 1
    assert [len(result["result"]) for result in results] == [1] * len(tasks)


@pytest.mark.slow
@pytest.mark.heavy
def test_after_everything_was_killed_at_once_nothing_is_lost_and_the_run_goes_on(
    label_studio_server: LabelStudioServer, database: Database, home: Home, redis: OwnRedis, tmp_path: Path
) -> None:
    port = free_port()
    with opened_loop(label_studio_server, home, redis.url, tmp_path) as loop:
        loop.add_annotations(40)
        run = loop.request_training()
        with loop.worker(), backend(loop.variables, port, tmp_path / "first.log") as first:
            loop.wait(lambda: some_steps_are_done(loop, run))
            redis.kill()
            kill_with_all(first)
        loop.add_annotations(5, since=40)  # nobody hears of them
        loop.age(run)
        redis.start()
        with loop.worker(), backend(loop.variables, port, tmp_path / "second.log"):
            ended = loop.until_over(run)
        sync(loop.context, loop.project.id)

        assert (ended.state, ended.attempts) == (RunState.FINISHED, 2)
        assert disagreements(loop.context, loop.project) == []
        assert broken_versions(loop.context, loop.project) == []
