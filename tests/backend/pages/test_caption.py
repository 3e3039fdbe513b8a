"""The caption screen's routes, against a real Label Studio: each request goes there under the person's own account."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.caption_screen import CaptionProject, annotations_of, make_project, text_of
from tests.support.models import add_project, tiny_base
from tests.support.people import PASSWORD, another_annotator
from tests.support.room import opened_room, token_in
from tests.support.servers import LabelStudioServer

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.page_data.room import Room
from captionloop.home import Home
from captionloop.model.database import Database, Project, TaskNote
from captionloop.settings import Secret


@pytest.fixture(scope="module")
def studio(label_studio_server: LabelStudioServer) -> Iterator[LabelStudio]:
    client = LabelStudio(label_studio_server.url, label_studio_server.token)
    yield client
    client.close()


@pytest.fixture
def project(studio: LabelStudio, database: Database) -> CaptionProject:
    made = make_project(studio, 6)
    row = add_project(database, made.number)
    with database.session() as session:
        session.get_one(Project, row.id).label_config = SAMPLE_LABEL_CONFIG
    return made


@pytest.fixture
def room(
    project: CaptionProject, home: Home, redis_url: str, tmp_path: Path, label_studio_server: LabelStudioServer
) -> Iterator[Room]:
    settings = {"label_studio_url": label_studio_server.url, "label_studio_api_key": Secret(label_studio_server.token)}
    with opened_room(home, redis_url, model=tiny_base(tmp_path).source, **settings) as opened:
        yield opened


@dataclass
class Captioner:
    """Somebody at the caption screen, and their own requests to Label Studio."""

    client: FlaskClient
    token: str
    number: int
    api: httpx.Client
    email: str

    def asks(self, what: str, **body: Any) -> Any:
        path = f"/projects/{self.number}/caption/{what}"
        return self.client.post(path, json=body, headers={"X-CSRFToken": self.token, "HX-Request": "true"})

    def next(self) -> dict[str, Any]:
        answer = self.asks("next")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        found: dict[str, Any] = answer.get_json()["task"]
        return found

    def keeps(self, task: dict[str, Any], text: str, **more: Any) -> Any:
        return self.asks("keep", **_decision(task), text=text, **more)

    def skips(self, task: dict[str, Any], **more: Any) -> Any:
        return self.asks("skip", **_decision(task), **more)


def _decision(task: dict[str, Any]) -> dict[str, Any]:
    known = {name: task[name] for name in ("task", "draft", "prediction", "suggestion", "overlap")}
    return {**known, "unique_id": task.setdefault("unique_id", uuid.uuid4().hex), "lead_time_s": 3.5}


@pytest.fixture
def people(app: Flask, project: CaptionProject, label_studio_server: LabelStudioServer) -> Iterator[list[Captioner]]:
    with ExitStack() as stack:
        found = []
        for name in ("ada", "bo"):
            email = f"{name}-{uuid.uuid4().hex[:8]}@example.org"
            api = stack.enter_context(another_annotator(label_studio_server, email))
            client = app.test_client()
            fields = {"user": email, "password": PASSWORD, "csrf_token": token_in(client, "/login")}
            assert client.post("/login", data=fields).status_code == 302
            token = token_in(client, f"/projects/{project.number}/caption")
            found.append(Captioner(client, token, project.number, api, email))
        yield found


@pytest.fixture
def ada(people: list[Captioner]) -> Captioner:
    return people[0]


@pytest.fixture
def bo(people: list[Captioner]) -> Captioner:
    return people[1]


def test_what_is_kept_is_an_annotation_of_the_person_with_parent_and_lead_time(
    ada: Captioner, project: CaptionProject
) -> None:
    first, second = ada.next(), ada.next()  # the next is there before the first is kept
    assert [first["task"], second["task"]] == list(project.tasks[:2])
    assert first["text"] == first["suggestion"] == project.suggestion(first["task"])
    assert ada.client.get(f"/images/{first['picture']}").mimetype == "image/jpeg"

    kept = [ada.keeps(first, first["text"]), ada.keeps(second, "another  caption\n")]

    assert [answer.status_code for answer in kept] == [200, 200]
    found = annotations_of(ada.api, project)
    (unchanged,), (changed,) = found[first["task"]], found[second["task"]]
    assert (text_of(unchanged), text_of(changed)) == (first["suggestion"], "another caption")
    assert [one["result"][0]["origin"] for one in (unchanged, changed)] == ["prediction", "prediction-changed"]
    me = ada.api.get("/api/current-user/whoami").json()["id"]
    for task, one in ((first, unchanged), (second, changed)):
        assert one["completed_by"] == me
        assert one["parent_prediction"] == project.suggestions[task["task"]]
        assert one["lead_time"] == 3.5
    assert ada.next()["task"] == project.tasks[2]
    assert ada.api.get(f"/api/tasks/{first['task']}/drafts").json() == []


def test_a_decision_that_is_sent_again_is_written_once(ada: Captioner, project: CaptionProject) -> None:
    task, other = ada.next(), ada.next()

    answers = [ada.keeps(task, "the same") for _ in range(3)] + [ada.skips(other) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.get_json()["annotation"] for answer in answers[:3]}) == 1
    assert len({answer.get_json()["annotation"] for answer in answers[3:]}) == 1
    found = annotations_of(ada.api, project)
    assert len(found[task["task"]]) == len(found[other["task"]]) == 1
    assert found[other["task"]][0]["was_cancelled"]


def test_two_people_and_label_studio_itself_never_get_the_same_task(
    ada: Captioner, bo: Captioner, project: CaptionProject
) -> None:
    here = [ada.next()["task"], ada.next()["task"]]
    there = bo.api.get(f"/api/projects/{project.number}/next").json()["id"]
    others = [bo.next()["task"], bo.next()["task"]]

    assert sorted([*here, *others]) == sorted(set(here) | set(others))
    assert there == others[0]  # Bo's own, which Label Studio keeps for Bo
    assert there not in here


def test_nothing_is_overwritten(ada: Captioner, bo: Captioner, project: CaptionProject) -> None:
    task, own = ada.next(), ada.next()
    _submit(bo.api, project, task["task"], "by Bo, who opened it from the list")
    _submit(ada.api, project, own["task"], "by Ada, in Label Studio")

    refused = [ada.keeps(task, "by Ada"), ada.keeps(own, "by Ada, here"), ada.skips(own)]

    assert [answer.status_code for answer in refused] == [409, 409, 409]
    assert "Somebody else" in refused[0].get_json()["error"]
    assert "by Ada, in Label Studio" in refused[1].get_json()["error"]
    found = annotations_of(ada.api, project)
    assert [text_of(one) for one in found[task["task"]] + found[own["task"]]] == [
        "by Bo, who opened it from the list",
        "by Ada, in Label Studio",
    ]


def test_an_own_caption_is_changed_and_taken_back_unless_label_studio_has_another_by_now(
    ada: Captioner, project: CaptionProject
) -> None:
    task, other = ada.next(), ada.next()
    written, again = ada.keeps(task, "first").get_json(), ada.keeps(other, "stays").get_json()
    change = {"text": "second", "lead_time_s": 1.0, "suggestion": task["suggestion"]}

    changed = ada.asks("change", **written, **change)
    assert (changed.status_code, ada.asks("change", **written, **change).status_code) == (200, 200)  # sent twice
    (found,) = annotations_of(ada.api, project)[task["task"]]
    assert (text_of(found), found["lead_time"]) == ("second", 4.5)

    for _ in range(2):
        assert ada.asks("undo", **changed.get_json(), task=task["task"]).status_code == 200
    assert annotations_of(ada.api, project)[task["task"]] == []

    _change(ada.api, again["annotation"], "changed in Label Studio")
    assert ada.asks("change", **again, **change).status_code == 409
    assert ada.asks("undo", **again, task=other["task"]).status_code == 409
    (found,) = annotations_of(ada.api, project)[other["task"]]
    assert text_of(found) == "changed in Label Studio"


def test_nobody_changes_somebody_elses_caption(ada: Captioner, bo: Captioner, project: CaptionProject) -> None:
    written = ada.keeps(ada.next(), "by Ada").get_json()

    answers = [
        bo.asks("change", **written, text="by Bo", lead_time_s=1.0, suggestion=""),
        bo.asks("undo", **written, task=1),
    ]

    assert [answer.status_code for answer in answers] == [409, 409]


def test_an_own_draft_from_label_studio_is_gone_on_with(ada: Captioner, project: CaptionProject) -> None:
    result = [
        {"from_name": "caption", "to_name": "image", "type": "textarea", "value": {"text": ["begun in Label Studio"]}}
    ]
    ada.api.get(f"/api/projects/{project.number}/next")
    ada.api.post(f"/api/tasks/{project.tasks[0]}/drafts", json={"result": result}).raise_for_status()

    task = ada.next()

    assert (task["task"], task["text"]) == (project.tasks[0], "begun in Label Studio")
    assert task["suggestion"] == project.suggestion(project.tasks[0])


def test_a_page_that_comes_back_gets_those_of_its_tasks_that_are_still_to_be_captioned(
    ada: Captioner, bo: Captioner, project: CaptionProject
) -> None:
    first, second, third = ada.next(), ada.next(), ada.next()
    ada.keeps(first, "kept")
    _submit(bo.api, project, second["task"], "by Bo")

    tasks = {str(task["task"]): task["draft"] for task in (first, second, third)}
    (found,) = ada.asks("resume", tasks=tasks).get_json()["tasks"]

    assert found["task"] == third["task"]
    assert (found["draft"], found["suggestion"]) == (third["draft"], third["suggestion"])


def test_a_suggestion_that_is_gone_by_now_is_no_parent(
    ada: Captioner, project: CaptionProject, studio: LabelStudio
) -> None:
    task = ada.next()
    studio.delete_prediction(task["prediction"])

    assert ada.keeps(task, "kept all the same").status_code == 200
    (found,) = annotations_of(ada.api, project)[task["task"]]
    assert found["parent_prediction"] is None


def test_when_all_is_captioned_there_is_no_next(ada: Captioner, project: CaptionProject) -> None:
    for _ in project.tasks:
        assert ada.keeps(ada.next(), "kept").status_code == 200

    assert ada.next() is None


def test_notes_and_unclear_pictures_carry_who_said_so(ada: Captioner, room: Room) -> None:
    task = ada.next()
    assert ada.asks("note", task=task["task"], text="a note").status_code == 200
    assert ada.skips(task, is_unclear=True).status_code == 200

    with room.database.reading() as session:
        (note,) = session.query(TaskNote).all()
    assert (note.task_id, note.by, note.text, note.is_unclear) == (task["task"], ada.email, "a note", True)


def test_the_model_offers_other_captions_and_the_rest_of_a_begun_one(ada: Captioner, project: CaptionProject) -> None:
    task = ada.next()

    others = ada.asks("others", picture=task["picture"], text=task["suggestion"]).get_json()["captions"]
    rest = ada.asks("complete", picture=task["picture"], text="a ").get_json()["rest"]

    assert 0 < len(others) <= 3
    assert isinstance(rest, str)


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("keep", {}),
        ("keep", {"task": 1, "unique_id": "x", "lead_time_s": 1, "text": "a"}),
        ("keep", {"task": 2**40, "unique_id": "0" * 32, "lead_time_s": 1, "text": "a"}),
        ("keep", {"task": 1, "unique_id": "0" * 32, "lead_time_s": -1, "text": "a"}),
        ("keep", {"task": 1, "unique_id": "0" * 32, "lead_time_s": 1, "text": " \ud800 "}),
        ("skip", {"task": "x"}),
        ("note", {"task": 1, "text": "x" * 5000}),
        ("complete", {"picture": "../../etc/passwd", "text": ""}),
        ("resume", {"tasks": {str(number): None for number in range(1, 40)}}),
        ("change", {"annotation": 1}),
    ],
)
def test_odd_requests_are_answered_with_400(ada: Captioner, what: str, body: dict[str, Any]) -> None:
    assert ada.asks(what, **body).status_code == 400


def test_who_signed_in_without_label_studio_is_asked_for_a_token_first(
    app: Flask, ada: Captioner, project: CaptionProject
) -> None:
    from tests.support.room import post, signed_in

    lead = signed_in(app)
    path = f"/projects/{project.number}/caption"
    assert "own account" in lead.get(path).get_data(as_text=True)

    token = ada.api.headers["Authorization"].removeprefix("Token ")
    assert post(lead, f"{path}/account", page=path, token="0" * 40).status_code == 401
    assert post(lead, f"{path}/account", page=path, token=token).status_code == 200
    assert ada.email in lead.get(path).get_data(as_text=True)


def _submit(api: httpx.Client, project: CaptionProject, task: int, text: str) -> None:
    body = {"result": [_item(text)], "lead_time": 1.0}
    api.post(f"/api/tasks/{task}/annotations/", params={"project": project.number}, json=body).raise_for_status()


def _change(api: httpx.Client, annotation: int, text: str) -> None:
    api.patch(f"/api/annotations/{annotation}/", json={"result": [_item(text)]}).raise_for_status()


def _item(text: str) -> dict[str, Any]:
    return {"from_name": "caption", "to_name": "image", "type": "textarea", "value": {"text": [text]}}
