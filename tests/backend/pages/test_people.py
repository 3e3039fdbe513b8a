"""Signing in with an account in a real Label Studio, and what each role may do."""

import ipaddress
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from tests.support.people import PASSWORD, another_annotator
from tests.support.room import app_of, opened_room, post, token_in
from tests.support.servers import LabelStudioServer, personal_access_token
from tests.support.versions import FinishedRun

from captionloop.backend.access.people import ASK_AGAIN_AFTER
from captionloop.backend.page_data.room import Room
from captionloop.home import Home
from captionloop.hosts import Hosts
from captionloop.model.database import PersonSession, ReviewAction, utc_now
from captionloop.settings import Emails, Secret


@pytest.fixture
def email(label_studio_server: LabelStudioServer) -> str:
    """Somebody who has just signed up in Label Studio."""
    return f"ada-{uuid.uuid4().hex[:8]}@example.org"


@pytest.fixture
def ada(label_studio_server: LabelStudioServer, email: str) -> Iterator[httpx.Client]:
    with another_annotator(label_studio_server, email) as client:
        yield client


@contextmanager
def _room(home: Home, redis_url: str, server: LabelStudioServer, **settings: object) -> Iterator[Room]:
    known = {"label_studio_url": server.url, "label_studio_api_key": Secret(server.token), **settings}
    with opened_room(home, redis_url, **known) as room:
        yield room


@pytest.fixture
def room(finished: FinishedRun, home: Home, redis_url: str, label_studio_server: LabelStudioServer) -> Iterator[Room]:
    with _room(home, redis_url, label_studio_server) as opened:
        yield opened


def _sign_in(app: Flask, **fields: str) -> tuple[FlaskClient, int]:
    client = app.test_client()
    answer = client.post("/login", data={**fields, "csrf_token": token_in(client, "/login")})
    return client, answer.status_code


def _by_password(app: Flask, email: str, password: str = PASSWORD) -> tuple[FlaskClient, int]:
    return _sign_in(app, user=email, password=password)


def _token_of(client: httpx.Client) -> str:
    return client.headers["Authorization"].removeprefix("Token ")


def test_the_password_of_label_studio_signs_in(app: Flask, email: str, ada: httpx.Client, room: Room) -> None:
    _, status = _by_password(app, email.upper())
    _, refused = _by_password(app, email, "wrong")

    assert (status, refused) == (302, 401)
    with room.database.reading() as session:
        (kept,) = session.scalars(select(PersonSession))
    assert kept.email == email
    assert kept.credential.startswith("sealed:")


def test_a_legacy_and_a_personal_token_sign_in_and_no_other(
    app: Flask, ada: httpx.Client, label_studio_server: LabelStudioServer
) -> None:
    right = [_token_of(ada), personal_access_token(label_studio_server)]
    wrong = ["0" * 40, "é", right[1][:-3] + "abc"]

    assert [_sign_in(app, token=token)[1] for token in right + wrong] == [302, 302, 401, 401, 401]


def test_an_annotator_gets_no_page_but_the_own_one(app: Flask, email: str, ada: httpx.Client) -> None:
    client, _ = _by_password(app, email)

    for path in ("/projects/1/", "/projects/1/review", "/projects/1/dataset", "/api/v1/projects"):
        answer = client.get(path)
        assert (answer.status_code, "writes captions" in answer.get_data(as_text=True)) == (403, True), path
    assert client.get("/").location == "/caption"


def test_a_reviewer_decides_and_a_lead_changes_everything(
    finished: FinishedRun, home: Home, redis_url: str, label_studio_server: LabelStudioServer, email: str,
    ada: httpx.Client,
) -> None:  # fmt: skip
    decide, train = "/projects/1/review/1", "/projects/1/train"
    with _room(home, redis_url, label_studio_server, reviewers=Emails.parse(email)) as room:
        client, _ = _by_password(app_of(room), email)
        assert post(client, decide, page="/projects/1/", left_out="yes").status_code == 200
        assert post(client, train, page="/projects/1/").status_code == 403
        with room.database.reading() as session:
            assert [action.by for action in session.scalars(select(ReviewAction))] == [email]
    with _room(home, redis_url, label_studio_server, leads=Emails.parse(email.upper())) as room:
        # The same cookie: its role is what the settings say now.
        lead = app_of(room).test_client()
        cookie = client.get_cookie("captionloop")
        assert cookie is not None
        lead.set_cookie("captionloop", cookie.value)
        assert post(lead, train, page="/projects/1/").status_code == 200


def test_the_session_ends_with_the_token(app: Flask, ada: httpx.Client, room: Room) -> None:
    client, _ = _sign_in(app, token=_token_of(ada))
    ada.post("/api/current-user/reset-token/").raise_for_status()
    assert client.get("/").location == "/caption"  # Label Studio is asked every few minutes

    with room.database.session() as session:
        session.scalars(select(PersonSession)).one().verified_at = utc_now() - 2 * ASK_AGAIN_AFTER

    assert client.get("/").headers["Location"].startswith("/login")
    with room.database.reading() as session:
        assert session.scalars(select(PersonSession)).all() == []


def test_a_label_studio_that_is_away_ends_no_session(
    finished: FinishedRun, home: Home, redis_url: str, label_studio_server: LabelStudioServer, ada: httpx.Client
) -> None:
    with _room(home, redis_url, label_studio_server) as room:
        client, _ = _sign_in(app_of(room), token=_token_of(ada))
        with room.database.session() as session:
            session.scalars(select(PersonSession)).one().verified_at = utc_now() - timedelta(days=1)
    with _room(home, redis_url, label_studio_server, label_studio_url="http://localhost:9") as room:
        later = app_of(room).test_client()
        cookie = client.get_cookie("captionloop")
        assert cookie is not None
        later.set_cookie("captionloop", cookie.value)
        assert later.get("/").location == "/caption"
        _, status = _by_password(app_of(room), "ada@example.org")
        assert status == 503


def test_signing_out_forgets_the_token(app: Flask, ada: httpx.Client, room: Room) -> None:
    client, _ = _sign_in(app, token=_token_of(ada))

    post(client, "/logout", page="/")

    assert client.get("/").headers["Location"].startswith("/login")
    with room.database.reading() as session:
        assert session.scalars(select(PersonSession)).all() == []


def test_a_header_names_the_person_only_where_the_named_proxy_sends_it(
    finished: FinishedRun, home: Home, redis_url: str
) -> None:
    header = {"X-Forwarded-Email": "Ada@Example.org"}
    settings = {"user_header": "X-Forwarded-Email", "leads": Emails.parse("ada@example.org")}
    with opened_room(home, redis_url, **settings, user_header_from=Hosts.parse("10.0.0.0/24")) as room:
        app = app_of(room)
        proxy, other = {"REMOTE_ADDR": "10.0.0.7"}, {"REMOTE_ADDR": "10.0.1.7"}
        assert app.test_client().get("/projects/1/", headers=header, environ_base=proxy).status_code == 200
        assert app.test_client().get("/projects/1/", headers=header, environ_base=other).status_code == 302
        assert app.test_client().get("/projects/1/", environ_base=proxy).status_code == 302
    with opened_room(home, redis_url, leads=Emails.parse("ada@example.org")) as room:
        assert app_of(room).test_client().get("/projects/1/", headers=header).status_code == 302


def test_who_is_named_by_the_proxy_is_not_whoever_sat_there_before(
    finished: FinishedRun, home: Home, redis_url: str
) -> None:
    settings = {"user_header": "X-User", "leads": Emails.parse("ada@x.org"), "reviewers": Emails.parse("bo@x.org")}
    network = Hosts(networks=(ipaddress.ip_network("127.0.0.1"),))
    with opened_room(home, redis_url, **settings, user_header_from=network) as room:
        browser = app_of(room).test_client()
        browser.environ_base["HTTP_X_USER"] = "ada@x.org"
        assert post(browser, "/projects/1/train", page="/projects/1/").status_code == 200
        browser.environ_base["HTTP_X_USER"] = "bo@x.org"
        assert post(browser, "/projects/1/train", page="/projects/1/").status_code == 403
