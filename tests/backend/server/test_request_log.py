"""Ids of requests: taken over, made, told, and carried to the worker."""

import json
import logging
import zlib
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from tests.support.models import add_project, tiny_base
from tests.support.room import PASSWORD, USER, app_of, opened_room

from captionloop.home import Home
from captionloop.model.database import Database

SECRET = {"X-Captionloop-Secret": "secret-1"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_base(tmp_path_factory.mktemp("base")).source


@pytest.fixture
def app(database: Database, home: Home, redis_url: str, base: str) -> Iterator[Flask]:
    add_project(database)
    with opened_room(home, redis_url, model=base) as room:
        yield app_of(room)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_an_answer_carries_the_id_that_the_request_came_with(client: FlaskClient) -> None:
    answer = client.get("/health", headers={"X-Request-ID": "from-the-proxy.7"})

    assert answer.headers["X-Request-ID"] == "from-the-proxy.7"


@pytest.mark.parametrize("given", ["", "two words", "x" * 500, "<b>"])
def test_an_id_that_cannot_be_one_is_replaced(client: FlaskClient, given: str) -> None:
    made = {client.get("/health", headers={"X-Request-ID": given}).headers["X-Request-ID"] for _ in range(2)}

    assert len(made) == 2
    assert all(len(one) == 32 for one in made)


@pytest.mark.parametrize("path", ["/nowhere", "/predict", "/projects/1/"])
def test_errors_and_pages_carry_one_too(client: FlaskClient, path: str) -> None:
    assert client.get(path, headers={"X-Request-ID": "asked"}).headers["X-Request-ID"] == "asked"


def test_the_log_has_a_line_for_each_request(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="captionloop.backend.server.request_log"):
        client.post("/job_status", json={"job": "x"}, auth=(USER, PASSWORD))

    [line] = [record for record in caplog.records if record.name.endswith("request_log")]
    assert line.getMessage().startswith("POST /job_status: 410 in 0.")
    assert (vars(line)["status"], vars(line)["path"]) == (410, "/job_status")


def test_an_address_cannot_put_a_line_of_its_own_into_the_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="captionloop.backend.server.request_log"):
        client.get("/x%0aERROR all is lost")

    [line] = [record for record in caplog.records if record.name.endswith("request_log")]
    assert line.getMessage().startswith("GET /x%0AERROR%20all%20is%20lost: 404")


@pytest.mark.parametrize("action", ["ANNOTATION_CREATED", "START_TRAINING"])
def test_a_job_takes_the_id_of_the_request_along(client: FlaskClient, redis_url: str, action: str) -> None:
    body = {"action": action, "project": {"id": 1}}

    answer = client.post("/webhook", json=body, headers={**SECRET, "X-Request-ID": "press-1"})

    assert answer.status_code < 300
    with Redis.from_url(redis_url) as redis:
        [job] = redis.keys("rq:job:*")
        meta = redis.hget(job, "meta")
    assert json.loads(_inflated(meta)) == {"request": "press-1"}


def _inflated(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value
