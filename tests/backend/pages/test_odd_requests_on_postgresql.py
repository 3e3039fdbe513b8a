"""What PostgreSQL takes otherwise than SQLite, in every place of a request: no 5xx.

NUL and lone surrogates are no text there, numbers have a size, and dates have an end.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.backend.pages.test_odd_requests import AUTH, HEADERS, Call, as_bytes, calls, is_fault, status
from tests.support.postgres import empty_database
from tests.support.room import app_of, opened_room, signed_in, token_in
from tests.support.servers import RedisServer
from tests.support.versions import finished_run
from werkzeug.datastructures import ImmutableMultiDict

from captionloop.backend.api.endpoints import api
from captionloop.home import Home
from captionloop.model.database import Database

TEXTS = [
    "a\x00b", "\ud800", "1" * 60_000, "%_\\", str(2**31), str(2**63 - 1), str(2**63), "9" * 30, "nan", "1e400",
    "0001-01-01", "9999-12-31", "0001-01-01T00:00:00+14:00", "infinity",
]  # fmt: skip
VALUES: list[Any] = [
    *TEXTS, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**70, 1e308, -0.0, True, None, [], ["\x00"], [2**63], {},
    {"\x00": "\ud800"}, {"a": {"b": ["\x00"]}},
]  # fmt: skip


class Read(ImmutableMultiDict[str, str]):
    """Query or form that keeps which names it was asked for."""

    names: set[str] = set()  # noqa: RUF012

    def __getitem__(self, key: str) -> str:
        self.names.add(key)
        return super().__getitem__(key)

    def get(self, key: str, *arguments: Any, **more: Any) -> Any:
        self.names.add(key)
        return super().get(key, *arguments, **more)

    def getlist(self, key: str, *arguments: Any, **more: Any) -> Any:
        self.names.add(key)
        return super().getlist(key, *arguments, **more)


@pytest.fixture(scope="module")
def app(
    postgres_server: str,
    _migrated_on_postgres: str,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Flask]:
    directory = tmp_path_factory.mktemp("odd")
    home = Home(directory / "home")
    home.create()
    with empty_database(postgres_server, like=_migrated_on_postgres) as url:
        with closing(Database(url)) as database:
            finished_run(database, home, directory)
        with opened_room(home, f"{redis_server.url}?db=4", database_url=url) as room:
            made = app_of(room)
            made.request_class.parameter_storage_class = Read
            yield made
            made.request_class.parameter_storage_class = ImmutableMultiDict


@pytest.fixture(scope="module")
def lead(app: Flask) -> FlaskClient:
    return signed_in(app)


def is_page(call: Call) -> bool:
    return call.rule.endpoint.startswith("pages.")


def asked(client: FlaskClient, call: Call, path: str, **sent: Any) -> int:
    account = {} if is_page(call) else {"auth": AUTH}
    return status(client, call.method, path, **account, **sent)


def names_read(client: FlaskClient, call: Call, **sent: Any) -> list[str]:
    """What a page reads from its query or form."""
    Read.names = set()
    asked(client, call, call.path(iter("11111")), **sent)
    return sorted(Read.names - {"csrf_token"})


def test_addresses(app: Flask, lead: FlaskClient) -> None:
    for call in calls(app):
        for value in TEXTS:
            for places in (iter([value] * 4), iter(["1", *[value] * 3])):
                path = call.path(places)
                if len(path) < 1000:  # a longer one is refused before any route
                    assert asked(lead, call, path, json={}) < 500, (call, value)


def test_what_stands_behind_the_question_mark(app: Flask, lead: FlaskClient) -> None:
    tried = 0
    described = {f"/api/v1{endpoint.rule}": endpoint for endpoint in api.endpoints if endpoint.method == "GET"}
    for call in calls(app):
        if call.method != "GET":
            continue
        endpoint = described.get(call.rule.rule)
        kind = endpoint.query if endpoint else None
        names = [field.name for field in fields(kind)] if kind else names_read(lead, call)
        for name in names:
            for value in TEXTS:
                query = urlencode({name: as_bytes(value)})
                assert asked(lead, call, f"{call.path(iter('11111'))}?{query}") < 500, (call, name, value)
                tried += 1
    assert tried > 300


def test_forms(app: Flask) -> None:
    for call in calls(app):
        if call.method != "POST" or not is_page(call):
            continue
        lead = signed_in(app)  # each time, as one of the forms signs out
        token = token_in(lead, "/projects/1/")
        names = names_read(lead, call, data={"csrf_token": token})
        for name, value in zip(cycle([*names, "learning_rate"]), [*TEXTS, *TEXTS], strict=False):
            body = urlencode({"csrf_token": token, name: as_bytes(value)})
            sent = {"data": body, "content_type": "application/x-www-form-urlencoded"}
            assert not is_fault(call, asked(lead, call, call.path(iter("11111")), **sent)), (call, name, value)


def test_json(app: Flask) -> None:
    client = app.test_client()
    for endpoint in api.endpoints:
        if endpoint.body is None:
            continue
        (call,) = [
            call for call in calls(app) if (call.method, call.rule.rule) == (endpoint.method, f"/api/v1{endpoint.rule}")
        ]
        names = [field.name for field in fields(endpoint.body)]
        for name in names:
            for value in VALUES:
                sent = {"data": json.dumps({name: value}), "content_type": "application/json"}
                answer = asked(client, call, call.path(iter("11111")), **sent)
                # The text box's name is looked up in Label Studio, which is not there.
                assert answer < 500 or (answer == 503 and name == "control"), (call, name, value)
    for call in calls(app):
        if call.method == "GET" and not is_page(call):
            assert asked(client, call, call.path(iter("11111"))) < 500, (call, "shows what was kept of it")


@pytest.mark.parametrize("with_account", [True, False])
def test_headers(app: Flask, with_account: bool) -> None:
    client = signed_in(app) if with_account else app.test_client()
    every = cycle(calls(app))
    for name, values in HEADERS.items():
        key = "CONTENT_TYPE" if name == "Content-Type" else f"HTTP_{name.upper().replace('-', '_')}"
        for value in [*values, "\x00", "a\x00b"]:
            for call in islice(every, 5):
                sent: dict[str, Any] = {"environ_overrides": {key: value}, "data": b"{}"}
                assert status(client, call.method, call.path(iter("11111")), **sent) < 500, (call, name, value)
