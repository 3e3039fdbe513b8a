"""No request to any page or API route causes a 5xx."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.room import PASSWORD, USER, signed_in, token_in
from werkzeug.routing import Rule

from captionloop.backend import pages

CHECKED = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
AUTH = (USER, PASSWORD)

NUMBERS = [
    "0", "-1", "1", "2", "9" * 30, "-" + "9" * 30, str(2**63 - 1), str(2**63), str(-(2**63)), str(2**31), "9" * 5000,
    "1e400", "nan", "inf", "-inf", "0x10", "1_0", "१", " 1 ", "1.5",
]  # fmt: skip
DATES = ["9999-12-31", "0001-01-01", "2026-02-30", "+010000-01-01", "2026-W01-1", "2026-11-24T00:00:00Z"]
TEXTS = [
    "", " ", "\x00", "a\x00b", "\ud800", "\U0010ffff", "%", "_", "\\", "'", '"', "a" * 60_000, "\\" * 60_000, "../..",
    "..%2f", "\r\nX: y", "\x1b[31m", "yes", "csv", "{}", "[]", "null", "é" * 2000,
]  # fmt: skip
VALUES = st.sampled_from([*NUMBERS, *DATES, *TEXTS]) | st.text(st.characters(), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(VALUES, inner, max_size=3),
    max_leaves=8,
)
HEADERS = {
    "Authorization": [
        "Basic \xff\xfe", "Basic //4=", "Basic " + "A" * 60_000, "Basic", "Bearer x", "Digest username=\xff", "\xff",
    ],
    "Cookie": ["captionloop=\xff\xfe", "=;;=\x01", "captionloop=.eJw"],
    "Accept": ["\xff;q=nan", "text/html;q=" + "9" * 400],
    "Accept-Language": ["\xff"],
    "Content-Type": [
        "\xff", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 5000,
        "application/json; charset=nonsense", "application/x-www-form-urlencoded; charset=\xff",
    ],
    "Content-Length": ["1"],
    "If-None-Match": ["\xff"],
    "If-Modified-Since": ["Mon, 99 Nov 99999 99:99:99 GMT", "Fri, 31 Dec 9999 23:59:59 -9999"],
    "Range": ["bytes=" + "9" * 400 + "-", "bytes=5-1,\xff"],
    "Host": ["\xff", "a b", "[::1", "x:" + "9" * 30],
    "Origin": ["null", "http://[::1", "\xff"],
    "Referer": ["http://[::1", "\xff"],
    "X-Request-ID": ["\xff"],
    "X-CSRFToken": ["\xff"],
    "X-Forwarded-For": ["\xff"],
    "X-Captionloop-Secret": ["\xff"],
    "HX-Request": ["\xff"],
    "Sec-Fetch-Site": ["\xff"],
    "Expect": ["\xff"],
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    method: str
    rule: Rule

    def path(self, values: Iterator[str]) -> str:
        """The rule with its placeholders filled in, percent-encoded as a client does."""
        return re.sub(r"<(?:\w+:)?\w+>", lambda _: quote(as_bytes(next(values)), safe=""), self.rule.rule)


def calls(app: Flask) -> list[Call]:
    # One goes on for ever, the other one says 503 where there is no Label Studio.
    rules = [rule for rule in app.url_map.iter_rules() if "live" not in rule.rule and rule.rule != "/ready"]
    return [Call(method, rule) for rule in rules for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"})]


def names_in(app: Flask) -> list[str]:
    """What the app's own code reads from addresses and forms."""
    text = "".join(path.read_text() for path in Path(pages.__path__[0]).rglob("*.py"))
    found = set(re.findall(r"""(?:args|form|values|given)(?:\.get\(|\[|, )["'](\w+)["']""", text))
    described = json.dumps(app.test_client().get("/api/v1/openapi.json", auth=AUTH).get_json())
    return sorted(found | set(re.findall(r'"name": "(\w+)"', described)) | {"text", "since", "until", "page", "item"})


def as_bytes(text: str) -> bytes:
    """With the halves of surrogate pairs, which UTF-8 has no bytes for."""
    return text.encode(errors="surrogatepass")


def status(client: FlaskClient, method: str, path: str, **sent: Any) -> int:
    answer = client.open(path, method=method, **sent)
    answer.get_data()  # what is streamed, too
    return int(answer.status_code)


_ASK_LABEL_STUDIO = {"pages.sign_in", "pages.caption_account", "pages.edit", "pages.undo"}


def is_fault(call: Call, answer: int) -> bool:
    """Whether a status is one. What asks Label Studio, which is not there, says 503."""
    return answer >= 500 and not (answer == 503 and call.rule.endpoint in _ASK_LABEL_STUDIO)


@CHECKED
@given(data=st.data())
def test_addresses(app: Flask, lead: FlaskClient, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from(calls(app)))
    path = call.path(iter(data.draw(st.lists(st.just("1") | VALUES, min_size=4, max_size=4))))
    assert status(lead, call.method, path, auth=AUTH, json={}) < 500, (call, path)


@CHECKED
@given(data=st.data())
def test_what_stands_behind_the_question_mark(app: Flask, lead: FlaskClient, data: st.DataObject) -> None:
    call = data.draw(st.sampled_from([call for call in calls(app) if call.method == "GET"]))
    query = data.draw(st.dictionaries(st.sampled_from(names_in(app)), VALUES, min_size=1, max_size=3))
    encoded = {name: as_bytes(value) for name, value in query.items()}
    path = f"{call.path(iter('11111'))}?{urlencode(encoded)}"
    auth = {"auth": AUTH} if call.rule.endpoint.split(".")[0] != "pages" else {}
    assert status(lead, call.method, path, **auth) < 500, (call, query)


KNOWN_TO_BE_ODD = [
    "page=" + "9" * 30, "page=-" + "9" * 30, "item=" + "9" * 30, "until=9999-12-31", "since=0001-01-01",
    "text=%25", "text=%00", "text=" + "a" * 60_000, "version=" + "a" * 60_000, "score_from=nan&score_to=inf",
    "run=" + "9" * 60, "state=%ED%A0%80",
]  # fmt: skip


@pytest.mark.parametrize("query", KNOWN_TO_BE_ODD, ids=[query[:20] for query in KNOWN_TO_BE_ODD])
def test_what_is_known_to_be_odd_there(app: Flask, lead: FlaskClient, query: str) -> None:
    for call in calls(app):
        if call.method == "GET":
            auth = {"auth": AUTH} if call.rule.endpoint.split(".")[0] != "pages" else {}
            assert status(lead, "GET", f"{call.path(iter('11111'))}?{query}", **auth) < 500, call


@CHECKED
@given(data=st.data())
def test_forms(app: Flask, data: st.DataObject) -> None:
    lead = signed_in(app)  # each time, as one of the forms signs out
    posts = [call for call in calls(app) if call.method == "POST" and call.rule.endpoint.startswith("pages.")]
    call = data.draw(st.sampled_from(posts))
    form = data.draw(st.dictionaries(st.sampled_from(names_in(app)) | VALUES, VALUES, max_size=4))
    form["csrf_token"] = token_in(lead, "/projects/1/")
    body = urlencode([(as_bytes(name), as_bytes(value)) for name, value in form.items()])
    sent = {"data": body, "content_type": "application/x-www-form-urlencoded"}
    assert not is_fault(call, status(lead, call.method, call.path(iter("11111")), **sent)), (call, form)


@CHECKED
@given(data=st.data())
def test_json(app: Flask, data: st.DataObject) -> None:
    posts = [call for call in calls(app) if call.method == "POST" and not call.rule.endpoint.startswith("pages.")]
    call = data.draw(st.sampled_from(posts))
    body = data.draw(JSON | st.dictionaries(st.sampled_from(names_in(app)), JSON, max_size=4))
    sent = {"data": json.dumps(body), "content_type": "application/json", "auth": AUTH}
    assert status(app.test_client(), call.method, call.path(iter("11111")), **sent) < 500, (call, body)


HARD = {
    "300 000 lists": "[" * 300_000,
    "300 000 objects": '{"a":' * 300_000,
    "300 000 lists, closed": "[" * 300_000 + "]" * 300_000,
    "as deep as can be read": '{"settings":' + "[" * 900 + "]" * 900 + "}",
    "a number of 5000 digits": '{"page": ' + "9" * 5000 + "}",
    "a byte order mark": "\ufeff{}",
    "a text without an end": '"' + "x" * 100_000,
}


@pytest.mark.parametrize("body", HARD.values(), ids=HARD)
def test_json_that_is_hard_to_read(app: Flask, body: str) -> None:
    for call in calls(app):
        if call.method == "POST" and not call.rule.endpoint.startswith("pages."):
            sent = {"data": body, "content_type": "application/json", "auth": AUTH}
            assert status(app.test_client(), call.method, call.path(iter("11111")), **sent) < 500, call


@pytest.mark.parametrize("with_account", [True, False])
@pytest.mark.parametrize("name", HEADERS)
def test_headers(app: Flask, lead: FlaskClient, name: str, with_account: bool) -> None:
    """Each value at an address of each kind; which one of a kind is asked is drawn."""
    client = lead if with_account else app.test_client()
    key = "CONTENT_TYPE" if name == "Content-Type" else f"HTTP_{name.upper().replace('-', '_')}"
    drawn = Random(name)
    kinds: dict[tuple[str, str], list[Call]] = {}
    for call in calls(app):
        kinds.setdefault((call.method, call.rule.endpoint.split(".")[0]), []).append(call)
    for value in HEADERS[name]:
        for call in map(drawn.choice, kinds.values()):
            sent: dict[str, Any] = {"environ_overrides": {key: value}, "data": b"{}"}
            assert status(client, call.method, call.path(iter("11111")), **sent) < 500, (call, value)
