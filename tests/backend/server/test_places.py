"""A served backend on which one project's requests wait for its slow picture server: all others are answered."""

import base64
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.models import tiny_base
from tests.support.pictures import picture
from tests.support.processes import until
from tests.support.served import running
from tests.support.service import AUTH, CONFIG, caption_service

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.server.app import create_app
from captionloop.backend.server.graceful_server import GracefulServer
from captionloop.backend.server.places import PLACES
from captionloop.backend.serving.caption_service import CaptionService
from captionloop.model.database import Database
from captionloop.settings import Secret

THREADS = 16
AT_ONCE_S = 10.0  # on a busy machine; the slow pictures take longer


@dataclass
class SlowPictures:
    """`slow` is not read before it is let."""

    let: threading.Event = field(default_factory=threading.Event)

    def read(self, value: str, task_id: int) -> bytes:
        if value == "slow":
            self.let.wait(60)
        return base64.b64decode(picture("red").partition(",")[2])


@contextmanager
def served(service: CaptionService) -> Iterator[str]:
    stop = threading.Event()
    app = create_app(service, Gatekeeper(AUTH[0], Secret(AUTH[1])))
    server = GracefulServer(
        app, listening=[socket.create_server(("127.0.0.1", 0), backlog=256)], threads=THREADS, stop=stop,
        may_send_much=bool, finish_within_s=1,
    )  # fmt: skip
    with running(server, stop) as address:
        yield address


@dataclass
class Backend:
    url: str
    slow: SlowPictures

    def predict(self, project: int, *photos: str) -> httpx.Response:
        tasks = [{"id": number, "data": {"photo": photo}} for number, photo in enumerate(photos)]
        return self.post("/predict", {"project": f"{project}.1", "label_config": CONFIG, "tasks": tasks})

    def post(self, path: str, body: dict[str, Any], *, timeout_s: float = 90) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, auth=AUTH, timeout=timeout_s, trust_env=False)

    def answers_at_once(self, project: int) -> None:
        begun = time.monotonic()
        assert httpx.get(f"{self.url}/health", timeout=AT_ONCE_S, trust_env=False).status_code == 200
        setup = {"project": f"{project}.1", "schema": CONFIG}
        assert self.post("/setup", setup, timeout_s=AT_ONCE_S).status_code == 200
        event = {"action": "ANNOTATION_CREATED", "project": {"id": project}}
        assert self.post("/webhook", event, timeout_s=AT_ONCE_S).status_code == 200
        assert time.monotonic() - begun < AT_ONCE_S


@pytest.fixture
def backend(database: Database, redis_url: str, tmp_path: Path) -> Iterator[Backend]:
    slow = SlowPictures()
    with caption_service(database, redis_url, tmp_path, tiny_base(tmp_path / "base")) as service:
        service._read_image = slow.read
        with served(service) as url:
            made = Backend(url, slow)
            for project in (1, 2, 3):
                assert made.predict(project, "fast").status_code == 200  # loads the model
            yield made
            slow.let.set()


def refused(asked: list[Future[httpx.Response]]) -> list[httpx.Response]:
    return [future.result() for future in asked if future.done()]


@pytest.mark.parametrize("count", [THREADS, 2 * PLACES])
def test_slow_requests_of_a_project_delay_no_other_one(backend: Backend, count: int) -> None:
    with ThreadPoolExecutor(count) as clients:
        asked = [clients.submit(backend.predict, 1, "slow") for _ in range(count)]
        time.sleep(1)
        begun = time.monotonic()

        for project in (1, 2):
            backend.answers_at_once(project)
        assert backend.predict(2, "fast").json()["results"][0]["result"]
        assert time.monotonic() - begun < 2 * AT_ONCE_S
        until(lambda: len(refused(asked)) == max(0, count - PLACES // 2), within_s=AT_ONCE_S)
        backend.slow.let.set()

    assert {answer.status_code for answer in refused(asked)} <= {200, 503}


def test_what_is_too_much_is_refused_with_when_to_come_again(backend: Backend) -> None:
    with ThreadPoolExecutor(PLACES) as clients:
        asked = [clients.submit(backend.predict, 1, "slow") for _ in range(PLACES)]
        until(lambda: len(refused(asked)) == PLACES // 2, within_s=AT_ONCE_S)
        answer = refused(asked)[0]
        backend.slow.let.set()

    assert answer.status_code == 503
    assert re.fullmatch(r"\d+", answer.headers["Retry-After"])
    assert answer.json() == {
        "type": "Service Unavailable",
        "error": f"Project 1 has {PLACES // 2} requests in progress, as many as one project may. "
        "The next one is taken when one of them has ended.",
    }
    assert backend.predict(1, "fast").status_code == 200


def test_two_slow_projects_leave_room_for_a_third(backend: Backend) -> None:
    with ThreadPoolExecutor(2 * PLACES) as clients:
        for project in (1, 2):
            for _ in range(PLACES):
                clients.submit(backend.predict, project, "slow")
        time.sleep(1)
        begun = time.monotonic()

        assert backend.predict(3, "fast").json()["results"][0]["result"]
        assert time.monotonic() - begun < AT_ONCE_S
        backend.answers_at_once(3)
        backend.slow.let.set()
