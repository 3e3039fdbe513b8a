"""Events are a hint: doubled, reordered, lost, an hour late or forged, what we hold in the end is what people wrote."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import select
from tests.support.contexts import opened_context
from tests.support.models import add_project, tiny_base
from tests.support.scripted_studio import TOKEN, ScriptedStudio, moment, scripted_studio
from tests.support.service import caption_service, client_of

from captionloop.backend.serving.caption_service import CaptionService
from captionloop.home import Home
from captionloop.jobs.project.sync import sync
from captionloop.jobs.queue.work import SYNCS
from captionloop.model.database import Correction, Database, Project

RECORDED = Path(__file__).parents[2] / "data" / "label-studio"
CREATED, CHANGED, DELETED = "webhook_annotation_created", "webhook_annotation_updated", "webhook_annotations_deleted"


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def service(database: Database, redis_url: str, tmp_path: Path) -> Iterator[CaptionService]:
    with caption_service(database, redis_url, tmp_path, tiny_base(tmp_path / "base")) as made:
        yield made


class Loop:
    """Label Studio, whose events come when a test says so; our backend; and a worker that does what was asked for."""

    def __init__(
        self, studio: ScriptedStudio, client: FlaskClient, work: Callable[[], None], redis: Redis, secret: str
    ) -> None:
        self.studio, self._client, self._work, self._redis, self._secret = studio, client, work, redis, secret
        self.asked = 0

    def event(self, name: str, *, secret: str | None = None) -> int:
        body = json.loads((RECORDED / f"{name}.json").read_text())["body"]
        headers = {"X-Captionloop-Secret": self._secret if secret is None else secret}
        return int(self._client.post("/webhook", json=body, headers=headers).status_code)

    def work(self) -> None:
        while self._redis.lpop(f"rq:queue:{SYNCS}"):
            self.asked += 1
            self._work()


@pytest.fixture
def loop(service: CaptionService, database: Database, home: Home, project: Project, redis_url: str) -> Iterator[Loop]:
    with ExitStack() as opened:
        studio = opened.enter_context(scripted_studio())
        context = opened.enter_context(opened_context(database, home, url=studio.url, token=TOKEN))
        redis = opened.enter_context(Redis.from_url(redis_url))

        def work() -> None:
            service.queue.sync_begins(project.id)
            sync(context, project.id)

        yield Loop(studio, client_of(service), work, redis, project.webhook_secret)


def held(database: Database) -> dict[int | None, list[str]]:
    with database.reading() as session:
        rows = session.scalars(select(Correction).where(Correction.state == "active"))
        return {row.annotation_id: row.captions for row in rows}


def written(studio: ScriptedStudio) -> dict[int, list[str]]:
    return {
        annotation["id"]: annotation["result"][0]["value"]["text"]
        for task in studio.tasks.values()
        for annotation in task["annotations"]
    }


def change(studio: ScriptedStudio, chance: random.Random) -> str:
    """Something that a person does; the name of the event that Label Studio would tell of it by."""
    annotated = [task for task in studio.tasks.values() if task["annotations"]]
    doing = chance.choice([CREATED, CREATED, CHANGED, DELETED]) if annotated else CREATED
    if doing == CREATED:
        studio.annotate(studio.add_task(), f"caption {chance.random()}")
        return doing
    task = chance.choice(annotated)
    with studio.lock:
        if doing == DELETED:
            task["annotations"].clear()
            task["total_annotations"] = 0
        else:
            task["annotations"][0]["result"][0]["value"]["text"] = [f"caption {chance.random()}"]
            task["annotations"][0]["updated_at"] = moment()
        task["updated_at"] = moment()
    return doing


@pytest.mark.parametrize("seed", range(4))
def test_whatever_becomes_of_the_events_but_the_last_all_is_there(loop: Loop, database: Database, seed: int) -> None:
    chance = random.Random(seed)
    on_their_way: list[str] = []
    for _ in range(15):
        on_their_way.append(change(loop.studio, chance))
        chance.shuffle(on_their_way)
        while on_their_way and chance.random() < 0.6:
            event = on_their_way.pop()
            for _ in range(chance.choice([0, 1, 1, 2, 5])):  # lost, or delivered so many times
                assert loop.event(event) == 200
        if chance.random() < 0.7:
            loop.work()

    loop.event(CREATED)
    loop.work()

    assert held(database) == written(loop.studio)


def test_an_event_that_is_an_hour_late_changes_nothing(loop: Loop, database: Database) -> None:
    task = loop.studio.add_task()
    loop.studio.annotate(task, "a cat")
    loop.event(CREATED)
    loop.work()
    loop.studio.delete_task(task)
    loop.event(DELETED)
    loop.work()

    loop.event(CREATED)
    loop.work()

    assert held(database) == {}


def test_fifty_events_at_once_ask_for_one_look(loop: Loop, database: Database) -> None:
    loop.studio.annotate(loop.studio.add_task(), "a cat")

    for _ in range(50):
        loop.event(CREATED)
    loop.work()

    assert loop.asked == 1
    assert held(database) == written(loop.studio)


def test_a_forged_event_asks_for_nothing(loop: Loop, database: Database) -> None:
    loop.studio.annotate(loop.studio.add_task(), "a cat")

    assert [loop.event(name, secret="guessed") for name in (CREATED, CHANGED, DELETED)] == [403] * 3
    loop.work()

    assert (loop.asked, held(database)) == (0, {})


def test_the_contents_of_an_event_are_not_believed(loop: Loop, database: Database) -> None:
    """With the right secret, even: the caption in it is nobody's until Label Studio has it."""
    body: dict[str, Any] = json.loads((RECORDED / f"{CREATED}.json").read_text())["body"]
    text = json.dumps(body["annotation"]["result"])

    loop.event(CREATED)
    loop.work()

    assert '"text"' in text
    assert held(database) == {}
