"""Signing in, and that only the lead changes anything. That nothing is seen before is in `test_every_route.py`."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.room import READER_PASSWORD, USER, app_of, opened_room, post, signed_in, token_in
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.home import Home


def _changing_pages(app: Flask) -> list[str]:
    rules = [rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())]
    return [rule.rule for rule in rules if rule.endpoint.startswith("pages.") and rule.rule != "/login"]


def _filled_in(rule: str) -> str:
    return re.sub(r"<(?:\w+:)?\w+>", "1", rule)


def test_every_change_needs_the_token_of_the_session(app: Flask, lead: FlaskClient) -> None:
    rules = _changing_pages(app)
    assert rules
    for rule in rules:
        assert lead.post(_filled_in(rule)).status_code == 400, rule


def test_a_reader_sees_the_overview_and_changes_nothing(reader: FlaskClient) -> None:
    assert "Train now" not in reader.get("/projects/1/").get_data(as_text=True)
    answer = post(reader, "/projects/1/sync", page="/projects/1/")
    assert (answer.status_code, "change nothing" in answer.get_data(as_text=True)) == (403, True)


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), ("nobody", "right"), ("reader", "right"), ("", "")])
def test_a_wrong_pair_is_told_so_and_gets_no_session(app: Flask, user: str, password: str) -> None:
    client = app.test_client()
    token = token_in(client, "/login")

    answer = client.post("/login", data={"user": user, "password": password, "csrf_token": token})

    assert (answer.status_code, "do not fit" in answer.get_data(as_text=True)) == (401, True)
    assert client.get("/projects/1/").status_code == 302


def test_after_signing_in_one_is_where_one_wanted_to_be(app: Flask) -> None:
    client = app.test_client()
    form = client.get("/projects/1/?x=2").headers["Location"]
    fields = {"user": "reader", "password": READER_PASSWORD, "csrf_token": token_in(client, form)}

    answer = client.post("/login", data={**fields, "next": "/projects/1/?x=2"})

    assert answer.headers["Location"] == "/projects/1/?x=2"


@pytest.mark.parametrize("elsewhere", ["https://example.org/", "//example.org/", "/\\example.org"])
def test_the_form_never_leads_to_another_site(app: Flask, elsewhere: str) -> None:
    client = app.test_client()
    fields = {"user": "reader", "password": READER_PASSWORD, "csrf_token": token_in(client, "/login")}

    assert client.post("/login", data={**fields, "next": elsewhere}).headers["Location"] == "/"


def test_signing_out_ends_the_session(lead: FlaskClient) -> None:
    post(lead, "/logout", page="/projects/1/")

    assert lead.get("/projects/1/").headers["Location"].startswith("/login")


def test_a_copy_of_the_cookie_admits_nobody_after_signing_out_in_any_backend(
    app: Flask, lead: FlaskClient, room: Room
) -> None:
    copy = lead.get_cookie("captionloop")
    assert copy is not None
    post(lead, "/logout", page="/projects/1/")

    for backend in (app, app_of(room)):
        thief = backend.test_client()
        thief.set_cookie("captionloop", copy.value)
        assert thief.get("/projects/1/").status_code == 302
        assert thief.get("/api/v1/projects").status_code == 401


def test_signing_out_ends_only_the_own_session(app: Flask, lead: FlaskClient) -> None:
    elsewhere = signed_in(app)

    post(lead, "/logout", page="/projects/1/")

    assert elsewhere.get("/projects/1/").status_code == 200


def test_a_session_is_no_longer_valid_when_the_password_has_changed(app: Flask, lead: FlaskClient) -> None:
    app.extensions["captionloop_fingerprint"] = "of another password"

    assert lead.get("/projects/1/").headers["Location"].startswith("/login")


def test_the_cookie_is_kept_from_scripts_and_other_sites(app: Flask) -> None:
    client = app.test_client()
    client.get("/login")
    cookie = client.get_cookie("captionloop")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site) == (True, "Lax")


@pytest.mark.parametrize(
    ("address", "expected"), [("https://captions.example", True), ("http://localhost:9090", False)]
)
def test_the_cookie_insists_on_encryption_where_people_have_it(
    finished: FinishedRun, home: Home, redis_url: str, address: str, expected: bool
) -> None:
    with opened_room(home, redis_url, backend_url=address) as room:
        client = app_of(room).test_client()
        client.get("/login", base_url="https://captions.example")
        cookie = client.get_cookie("captionloop", domain="captions.example")
    assert cookie is not None
    assert cookie.secure is expected


def test_pages_allow_nothing_from_elsewhere_and_no_inline_script(lead: FlaskClient) -> None:
    answer = lead.get("/projects/1/")
    policy, text = answer.headers["Content-Security-Policy"], answer.get_data(as_text=True)

    assert "script-src 'self';" in policy
    assert "unsafe-inline" not in policy
    assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=", text)


def test_an_unknown_project_is_a_page_that_says_so(lead: FlaskClient) -> None:
    answer = lead.get("/projects/99/")

    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "Project 99 is not connected" in answer.get_data(as_text=True)


def test_the_protocol_needs_no_session(app: Flask) -> None:
    client = signed_in(app)  # the cookie does not help either: Label Studio's own calls carry the Basic pair

    assert client.post("/setup", json={}).status_code == 401
