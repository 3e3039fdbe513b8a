"""Whose large bodies the server reads: judged by the headers, before anything of the body has arrived."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.room import PASSWORD, READER_PASSWORD, USER
from werkzeug.datastructures import Authorization
from werkzeug.test import EnvironBuilder

from captionloop.backend.access.failed_logins import MOST_FAILURES
from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.server.large_bodies import may_send_much


def environ(path: str = "/predict", *, auth: tuple[str, str] | None = None, **headers: str) -> dict[str, Any]:
    builder = EnvironBuilder(path, method="POST")
    builder.headers.extend({name.replace("_", "-"): value for name, value in headers.items()})
    if auth:
        pair: dict[str, str | None] = {"username": auth[0], "password": auth[1]}
        builder.headers["Authorization"] = Authorization("basic", pair).to_header()
    return builder.get_environ()


def cookie(client: FlaskClient) -> str:
    found = client.get_cookie("captionloop")
    assert found
    return f"captionloop={found.value}"


@pytest.mark.parametrize("auth", [(USER, PASSWORD), ("reader", READER_PASSWORD)])
def test_an_account_may(app: Flask, auth: tuple[str, str]) -> None:
    assert may_send_much(app)(environ(auth=auth))


def test_a_session_may(app: Flask, lead: FlaskClient, reader: FlaskClient) -> None:
    assert may_send_much(app)(environ(Cookie=cookie(lead)))
    assert may_send_much(app)(environ(Cookie=cookie(reader)))


def test_an_event_with_the_secret_of_any_project_may(app: Flask) -> None:
    gatekeeper: Gatekeeper = app.extensions["captionloop_gatekeeper"]
    gatekeeper.learn_events(["", "first", "second"])

    assert may_send_much(app)(environ("/webhook", X_Captionloop_Secret="second"))
    assert not may_send_much(app)(environ("/webhook", X_Captionloop_Secret="third"))
    assert not may_send_much(app)(environ("/webhook", X_Captionloop_Secret=""))
    assert not may_send_much(app)(environ("/webhook"))


def test_nobody_else_may(app: Flask) -> None:
    stranger = app.test_client()
    stranger.get("/login")  # a session with nobody in it

    for asked in (
        environ(),
        environ(auth=(USER, "wrong")),
        environ(Cookie=cookie(stranger)),
        environ(Cookie="captionloop=eyJuYW1lIjoibGVhZCJ9.forged"),
        environ(Authorization="Basic //4="),
        environ(Authorization="Basic \xff"),
    ):
        assert not may_send_much(app)(asked)


def test_asking_so_is_no_way_to_guess_faster(app: Flask) -> None:
    for number in range(MOST_FAILURES):
        assert not may_send_much(app)(environ(auth=(USER, f"guess {number}")))

    assert not may_send_much(app)(environ(auth=(USER, PASSWORD)))
