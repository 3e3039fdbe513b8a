"""The JSON API: described by its own types, answered as described, open to those who may see the pages."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.corrections import correct
from tests.support.label_configs import label_config
from tests.support.room import PASSWORD, READER_PASSWORD, USER, token_in
from tests.support.versions import FinishedRun
from werkzeug.test import TestResponse

from captionloop.backend.label_studio.controls import take_label_config
from captionloop.backend.page_data.room import Room
from captionloop.model.database import Database, Project, RunKind
from captionloop.model.dataset.styles import begin_style
from captionloop.model.training import named_settings


@dataclass(frozen=True)
class Call:
    """A call that is answered well, with the names that stand in its address and body filled in by the test."""

    operation: str
    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)


_CALLS = [
    Call("get_openapi", "GET", "/openapi.json"),
    Call("list_projects", "GET", "/projects"),
    Call("get_overview", "GET", "/projects/1/overview"),
    Call("post_control", "POST", "/projects/1/control", {"control": "caption"}),
    Call("get_health", "GET", "/projects/1/health"),
    Call("list_runs", "GET", "/projects/1/runs?state=finished"),
    Call("get_run", "GET", "/projects/1/runs/RUN"),
    Call("post_run", "POST", "/projects/1/runs", {"way": "lora", "steps": 5}),
    Call("post_cancel", "POST", "/projects/1/runs/RUN/cancel"),
    Call("list_settings", "GET", "/projects/1/settings"),
    Call("post_sync", "POST", "/projects/1/sync"),
    Call("list_versions", "GET", "/projects/1/versions"),
    Call("post_promote", "POST", "/projects/1/versions/VERSION/promote"),
    Call("post_rollback", "POST", "/projects/1/rollback"),
    Call("list_styles", "GET", "/projects/1/styles"),
    Call("post_style", "POST", "/projects/1/styles", {"name": "British", "since": "2026-01-01T10:00:00Z"}),
    Call("list_style_changes", "GET", "/projects/1/styles/changes"),
    Call("post_style_changes_not_now", "POST", "/projects/1/styles/changes/not-now"),
    Call("post_style_name", "POST", "/projects/1/styles/rename", {"name": "Old", "to": "New"}),
    Call("post_style_end", "POST", "/projects/1/styles/end", {"name": "Old"}),
    Call("post_style_move", "POST", "/projects/1/styles/move", {"corrections": [1], "to": "Old"}),
    Call("list_corrections", "GET", "/projects/1/corrections?sort=newest&score_from=0.1&since=2026-01-01"),
    Call("get_correction", "GET", "/projects/1/corrections/1"),
    Call("post_decision", "POST", "/projects/1/corrections/1", {"category": "number", "note": "three of them"}),
    Call("post_undo", "POST", "/projects/1/corrections/undo"),
    Call("get_comparison", "GET", "/projects/1/comparison?first=BASE&second=VERSION"),
    Call("get_dataset", "GET", "/projects/1/dataset?split=held-out"),
]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def send(client: FlaskClient, method: str, path: str, body: Any = None, user: str = USER) -> TestResponse:
    """A call as a program makes it: with the Basic pair, and JSON for a change."""
    password = PASSWORD if user == USER else READER_PASSWORD
    sent: dict[str, Any] = {} if method == "GET" else {"json": body or {}}
    return client.open(f"/api/v1{path}", method=method, headers=basic(user, password), **sent)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def description(client: FlaskClient) -> dict[str, Any]:
    return dict(send(client, "GET", "/openapi.json").get_json())


def _operations(description: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }


# The description ---------------------------------------------------------------------------------------------------


def test_the_description_is_valid_openapi(description: dict[str, Any]) -> None:
    from openapi_spec_validator import validate

    assert description["openapi"].startswith("3.1")
    validate(description)


def test_every_address_is_described_and_nothing_else(app: Flask, description: dict[str, Any]) -> None:
    routed = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix("/api/v1")))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(method, path) for method, path, _ in _operations(description).values()} == routed


def test_every_address_in_the_documentation_is_there(app: Flask) -> None:
    text = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    calls = re.findall(r"curl (.*)\$API(/[^\s\"?]+)", text)
    addresses = app.url_map.bind("localhost")

    assert len(calls) > 10
    for options, path in calls:
        assert addresses.test(f"/api/v1{path}", method="POST" if "--json" in options else "GET"), path


def test_every_field_that_its_class_explains_is_explained(description: dict[str, Any]) -> None:
    fields = description["components"]["schemas"]["VersionFigures"]["properties"]

    assert fields["kept"]["description"].startswith("share of those submitted without a word changed")
    assert "Args" not in str(description)


def test_every_operation_has_a_call_below(description: dict[str, Any]) -> None:
    assert sorted(_operations(description)) == sorted(call.operation for call in _CALLS)


@pytest.mark.parametrize("call", _CALLS, ids=lambda call: call.operation)
def test_an_answer_is_as_its_schema_describes_it(
    call: Call,
    client: FlaskClient,
    description: dict[str, Any],
    room: Room,
    database: Database,
    finished: FinishedRun,
) -> None:
    run = room.context.queue.request(finished.project.id, RunKind.FINETUNE, asked_by="somebody").run
    if call.operation == "post_rollback":
        room.promote(finished.project, finished.version.version, by="somebody")
    if call.operation == "post_style_name":
        room.runs.cancel(run.id)
    with database.session() as session:
        take_label_config(session, session.get_one(Project, finished.project.id), label_config("caption"))
        begin_style(session, finished.project.id, "Old")
    correct(database, finished.project, version=finished.version.version, annotator="ada@example.org")
    names = {"RUN": run.id, "VERSION": finished.version.version, "BASE": str(finished.version.parent)}
    path = re.sub("RUN|VERSION|BASE", lambda found: names[found[0]], call.path)

    answer = send(client, call.method, path, call.body)

    (status,) = [code for code in _operations(description)[call.operation][2]["responses"] if code.startswith("2")]
    assert answer.status_code == int(status), answer.get_data(as_text=True)
    _conforms(answer.get_json(), description, call.operation, status)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/projects/99/overview", None, 404, "Project 99 is not connected"),
        ("GET", "/nothing", None, 404, "not found"),
        ("POST", "/projects/1/runs", {"way": "sideways"}, 400, "'way' is 'sideways'; expected one of decoder, lora"),
        ("POST", "/projects/1/runs", {"steps": 0}, 400, "'steps' is 0; expected a whole number above 0"),
        ("POST", "/projects/1/runs", {"settings": 5}, 400, "'settings' is 5; expected the name of saved settings"),
        ("POST", "/projects/1/runs", {"speed": 3}, 400, "There is no field 'speed' here; there are way,"),
        ("POST", "/projects/1/runs", ["way"], 400, "no JSON object"),
        ("GET", "/projects/1/runs/none", None, 404, "There is no run 'none'"),
        ("GET", "/projects/1/runs?state=lost", None, 400, "'state': Input should be"),
        ("POST", "/projects/1/runs/none/cancel", {}, 404, "There is no run 'none'"),
        ("POST", "/projects/1/versions/v9/promote", {}, 404, "There is no version 'v9'"),
        ("GET", "/projects/1/comparison?first=v9", None, 400, "'second': Field required"),
        ("GET", "/projects/1/corrections?sort=oldest", None, 400, "'sort': Input should be 'most-changed'"),
        ("GET", "/projects/1/corrections?colour=red", None, 400, "no query parameter 'colour' here; there are text,"),
        ("GET", "/projects/1/corrections/999", None, 404, "There is no correction 999"),
        ("POST", "/projects/1/corrections/1", {}, 400, "Nothing was decided"),
        ("POST", "/projects/1/corrections/1", {"category": "colour"}, 400, "Field 'category': Input should be"),
        ("POST", "/projects/1/corrections/1", {"note": "x" * 2001}, 400, "2001 characters"),
        ("POST", "/projects/1/rollback", {}, 404, "no earlier version"),
        ("POST", "/projects/1/styles", {"name": ""}, 400, "A style cannot be called ''"),
        ("POST", "/projects/1/styles", {"name": "x", "since": "2999-01-01"}, 400, "A style cannot begin on 2999-01-01"),
        ("POST", "/projects/1/styles/end", {"name": "x"}, 404, "There is no style 'x' in this project"),
        ("POST", "/projects/1/styles/move", {"corrections": [999]}, 404, "There is no correction 999"),
    ],
)
def test_an_error_is_a_sentence_in_the_one_shape_of_errors(
    client: FlaskClient, method: str, path: str, body: Any, status: int, said: str
) -> None:
    answer = send(client, method, path, body)

    assert (answer.status_code, sorted(answer.get_json())) == (status, ["error", "type"])
    assert said in answer.get_json()["error"]


def _conforms(value: Any, description: dict[str, Any], operation: str, status: str) -> None:
    content = _operations(description)[operation][2]["responses"][status]["content"]
    from jsonschema import Draft202012Validator  # takes seconds to import: it draws up the grammar of addresses

    schema = {**content["application/json"]["schema"], "components": description["components"]}
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


# The overview ------------------------------------------------------------------------------------------------------


def test_the_overview_has_the_figures_of_the_page(client: FlaskClient, finished: FinishedRun) -> None:
    shown = send(client, "GET", "/projects/1/overview").get_json()

    assert shown["champion"] == finished.store.champion(finished.project.id).version
    assert (shown["figures"]["corrections"], shown["run"]) == (12, None)


def test_the_text_box_that_captions_go_into_is_told_and_chosen(
    client: FlaskClient, finished: FinishedRun, database: Database
) -> None:
    with database.session() as session:
        take_label_config(session, session.get_one(Project, finished.project.id), label_config("caption"))
        take_label_config(session, session.get_one(Project, finished.project.id), label_config("title", "text"))
    shown = send(client, "GET", "/projects/1/overview").get_json()
    assert (shown["control"], shown["controls"]) == ("caption", ["title", "text"])
    assert "is gone from the label config" in shown["question"]

    send(client, "POST", "/projects/1/control", {"control": "text"})

    shown = send(client, "GET", "/projects/1/overview").get_json()
    assert (shown["control"], shown["question"]) == ("text", None)


def test_a_run_has_the_settings_that_were_sent_and_no_others(client: FlaskClient) -> None:
    run = send(client, "POST", "/projects/1/runs", {"steps": 7, "way": "decoder"}).get_json()

    assert (run["settings"], run["state"], run["asked_by"]) == ({"steps": 7, "way": "decoder"}, "queued", USER)


def test_a_run_takes_settings_by_their_name(client: FlaskClient, database: Database, finished: FinishedRun) -> None:
    with database.session() as session:
        named_settings.save(session, finished.project.id, "careful", {"steps": 77}, origin="a sweep")
    known = send(client, "GET", "/projects/1/settings").get_json()

    run = send(client, "POST", "/projects/1/runs", {"settings": known[0]["name"], "seed": 3}).get_json()

    assert known == [{"name": "careful", "settings": {"steps": 77}, "origin": "a sweep"}]
    assert run["settings"] == {"settings": "careful", "seed": 3}


def test_a_promotion_changes_the_champion(client: FlaskClient, finished: FinishedRun) -> None:
    send(client, "POST", f"/projects/1/versions/{finished.version.version}/promote")

    assert send(client, "GET", "/projects").get_json()[0]["champion"] == finished.version.version


# Corrections -------------------------------------------------------------------------------------------------------


def test_corrections_are_filtered_as_on_the_page(
    client: FlaskClient, database: Database, finished: FinishedRun
) -> None:
    task = correct(database, finished.project, version="v1", suggestion="two dogs", caption="three dogs")

    found = send(client, "GET", "/projects/1/corrections?category=number&words=changed").get_json()

    assert [(row["task_id"], row["guess"], row["words_changed"]) for row in found["corrections"]] == [
        (task, "number", 1)
    ]
    assert (found["total"], found["page"], found["pages"]) == (1, 1, 1)


def test_a_decision_is_kept_with_its_reviewer_and_taken_back(client: FlaskClient, finished: FinishedRun) -> None:
    decided = send(client, "POST", "/projects/1/corrections/1", {"left_out": True, "note": "blurred"}).get_json()
    assert (decided["left_out"], decided["note"], decided["reviewed_by"]) == (True, "blurred", USER)

    undone = send(client, "POST", "/projects/1/corrections/undo").get_json()
    assert (undone["id"], undone["left_out"], undone["note"], undone["reviewed_by"]) == (1, False, "", None)

    assert send(client, "POST", "/projects/1/corrections/undo").get_json() is None


# Who may -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [{}, basic(USER, "wrong"), basic("reader", PASSWORD), {"Authorization": "Bearer x"}]
)
def test_nobody_is_told_anything_without_an_account_and_no_browser_asks_for_one(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    answer = client.get("/api/v1/projects", headers=headers)

    assert (answer.status_code, answer.get_json()["type"]) == (401, "Unauthorized")
    assert "WWW-Authenticate" not in answer.headers


def test_a_reader_reads_and_changes_nothing(client: FlaskClient) -> None:
    assert send(client, "GET", "/projects", user="reader").status_code == 200

    answer = send(client, "POST", "/projects/1/sync", user="reader")

    assert (answer.status_code, "change nothing" in answer.get_json()["error"]) == (403, True)


def test_a_form_of_another_site_cannot_use_the_pair_that_a_browser_remembers(client: FlaskClient) -> None:
    answer = client.post("/api/v1/projects/1/sync", headers=basic(USER, PASSWORD), data={"x": "1"})

    assert (answer.status_code, answer.get_json()["type"]) == (415, "Unsupported Media Type")


def test_a_session_reads_and_changes_with_its_token(lead: FlaskClient) -> None:
    assert lead.get("/api/v1/projects").status_code == 200
    assert lead.post("/api/v1/projects/1/sync", json={}).status_code == 400

    token = token_in(lead, "/projects/1/")

    assert lead.post("/api/v1/projects/1/sync", headers={"X-CSRFToken": token}).status_code == 202
