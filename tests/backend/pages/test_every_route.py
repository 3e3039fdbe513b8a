"""Every address of the app, read from the app itself: a route that forgets to ask who calls fails here."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.room import PASSWORD, READER_PASSWORD, USER, signed_in, token_in
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from captionloop.backend.access.failed_logins import MOST_FAILURES

# Monitors ask whether the process lives. The form and what it looks like have to be there before anybody signs in. (A
# webhook's event with the right secret is in test_protocol.py.)
_OPEN_TO_ALL = {"/health", "/ready", "/login", "/static/<path:filename>"}
_SIGN_IN = "/login"
_REFUSED = {401, 403}


def _calls(app: Flask) -> Iterator[tuple[str, str, Rule]]:
    """Each method of each address, with its placeholders filled in."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            yield method, re.sub(r"<(?:\w+:)?\w+>", "1", rule.rule), rule


def _is_refused(client: FlaskClient, method: str, path: str, **request: Any) -> bool:
    answer = client.open(path, method=method, **request)
    return answer.status_code in _REFUSED or answer.headers.get("Location", "").startswith(_SIGN_IN)


def test_without_credentials_nothing_is_answered(app: Flask) -> None:
    answered = [
        f"{method} {rule.rule}"
        for method, path, rule in _calls(app)
        if rule.rule not in _OPEN_TO_ALL and not _is_refused(app.test_client(), method, path)
    ]
    assert answered == []


@pytest.mark.parametrize("body", [b"", b"{}", b"no JSON", b"{" * 5000], ids=["empty", "object", "text", "deep"])
def test_without_credentials_no_body_is_looked_at(app: Flask, body: bytes) -> None:
    answered = [
        f"{method} {rule.rule}"
        for method, path, rule in _calls(app)
        if rule.rule not in _OPEN_TO_ALL
        and not _is_refused(app.test_client(), method, path, data=body, content_type="application/json")
    ]
    assert answered == []


def test_a_wrong_password_is_as_good_as_none(app: Flask) -> None:
    paths = [call for call in _calls(app) if call[2].rule not in _OPEN_TO_ALL and call[2].endpoint.startswith("pages")]
    assert paths
    assert all(_is_refused(app.test_client(), method, path, auth=(USER, "wrong")) for method, path, _ in paths)


def test_the_open_ones_tell_nothing_of_the_installation(app: Flask) -> None:
    client = app.test_client()
    text = client.get("/health").get_data(as_text=True) + client.get("/login").get_data(as_text=True)

    assert set(client.get("/health").get_json()) == {"status", "model_class", "version"}
    assert not re.search(r"project|/home/|sqlite|redis|localhost", text.lower())


@pytest.mark.parametrize("filename", ["../access.py", "..%2faccess.py", "%2e%2e/access.py", "..\\access.py"])
def test_static_files_are_those_of_their_folder(app: Flask, filename: str) -> None:
    assert app.test_client().get(f"/static/{filename}").status_code == 404


def test_every_answer_of_pages_and_api_tells_the_browser_to_run_nothing_else(app: Flask) -> None:
    client = signed_in(app)
    for method, path, rule in _calls(app):
        if method == "GET" and rule.endpoint.split(".")[0] in {"pages", "api"} and "live" not in rule.rule:
            answer = client.get(path)
            policy = answer.headers.get("Content-Security-Policy", "")
            assert "unsafe" not in policy, rule.rule
            assert policy.startswith("default-src 'none'"), rule.rule
            assert answer.headers["X-Content-Type-Options"] == "nosniff", rule.rule
            answer.close()


class TestGuessing:
    def test_the_form_has_one_wait_after_too_many_wrong_passwords(self, app: Flask) -> None:
        client = app.test_client()
        token = token_in(client, "/login")

        def try_with(password: str, address: str = "192.0.2.1") -> TestResponse:
            fields = {"user": USER, "password": password, "csrf_token": token}
            return client.post("/login", data=fields, environ_overrides={"REMOTE_ADDR": address})

        wrong = [try_with(f"guess {number}") for number in range(MOST_FAILURES)]
        blocked = try_with(PASSWORD)

        assert [answer.status_code for answer in wrong] == [401] * MOST_FAILURES
        assert blocked.status_code == 429
        assert 0 < int(blocked.headers["Retry-After"]) <= 300
        assert "too many wrong passwords from your address. Try again in" in blocked.text
        assert try_with(PASSWORD, address="192.0.2.2").status_code == 302

    @pytest.mark.parametrize("path", ["/versions", "/api/v1/projects/1/versions"])
    def test_basic_auth_has_one_wait(self, app: Flask, path: str) -> None:
        client = app.test_client()
        for number in range(MOST_FAILURES):
            assert client.get(path, auth=(USER, f"guess {number}")).status_code == 401

        blocked = client.get(path, auth=(USER, PASSWORD))

        assert blocked.status_code == 429
        assert int(blocked.headers["Retry-After"]) > 0
        assert "too many wrong passwords" in blocked.get_json()["error"]

    def test_label_studio_with_an_old_password_keeps_nobody_from_the_form(self, app: Flask) -> None:
        for _ in range(MOST_FAILURES + 1):
            app.test_client().post("/predict", json={}, auth=(USER, "old"))

        assert signed_in(app).get("/projects/1/").status_code == 200

    def test_label_studio_with_the_right_one_is_never_kept_waiting(self, app: Flask) -> None:
        statuses = {app.test_client().post("/setup", json={}, auth=(USER, PASSWORD)).status_code for _ in range(30)}
        assert statuses == {400}

    def test_wrong_ones_sent_from_its_address_do_not_keep_label_studio_waiting(self, app: Flask) -> None:
        """Its form for adding a model lets its users send any password, from its address."""

        def asks(password: str, path: str = "/setup") -> int:
            return app.test_client().post(path, json={}, auth=(USER, password)).status_code

        assert asks(PASSWORD) == 400
        guesses = [asks(f"guess {number}") for number in range(50)]

        assert (guesses[0], guesses[-1]) == (401, 429)
        assert asks(PASSWORD) == 400
        assert asks(PASSWORD, "/predict") == 400

    def test_whoever_has_no_password_to_give_is_not_counted(self, app: Flask) -> None:
        for _ in range(MOST_FAILURES + 1):
            assert app.test_client().post("/predict", json={}).status_code == 401
        assert app.test_client().get("/api/v1/projects/1/", auth=("reader", READER_PASSWORD)).status_code != 429


_EVENT = '{"action": "START_TRAINING", "project": {"id": 1}, "x": "="}'
OF_FORMS = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]


def _sent_by_a_browser(app: Flask, path: str, *, content_type: str = "application/json", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    remembered = (USER, PASSWORD)
    answer = app.test_client().post(path, data=_EVENT, content_type=content_type, auth=remembered, headers=named)
    return answer.status_code


@pytest.mark.parametrize("path", ["/webhook", "/predict", "/setup", "/job_status"])
class TestAFormOfAnotherSite:
    """It starts nothing with a password that the browser remembers."""

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    def test_is_known_by_what_a_browser_says_of_it(self, app: Flask, path: str, site: str) -> None:
        assert _sent_by_a_browser(app, path, content_type="text/plain", Sec_Fetch_Site=site) == 403

    @pytest.mark.parametrize("content_type", OF_FORMS)
    def test_is_known_by_what_it_can_send_where_a_browser_says_nothing(
        self, app: Flask, path: str, content_type: str
    ) -> None:
        assert _sent_by_a_browser(app, path, content_type=content_type) == 415

    @pytest.mark.parametrize(
        "origin",
        ["http://evil.example", "null", "http://localhost:9", "http://localhost.evil.example", "", "localhost"],
    )
    def test_is_known_by_its_origin(self, app: Flask, path: str, origin: str) -> None:
        assert _sent_by_a_browser(app, path, Origin=origin) == 403

    @pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}, {"Origin": "https://localhost"}])
    def test_is_not_what_label_studio_sends_nor_what_comes_from_here(
        self, app: Flask, path: str, headers: dict[str, str]
    ) -> None:
        assert _sent_by_a_browser(app, path, **headers) not in {403, 415}
