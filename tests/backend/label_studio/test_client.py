"""The client, against a real Label Studio for what it does, and against a bad server for what it says."""

import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from PIL import Image
from tests.support.servers import STUDIO_VERSION, LabelStudioServer, signed_in

from captionloop.backend.label_studio.annotations import read_moment, to_prediction
from captionloop.backend.label_studio.client import Json, LabelStudio
from captionloop.backend.label_studio.image_source import ImageSource
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG, CaptionTarget
from captionloop.errors import ImageError, LabelStudioError, RunCancelled
from captionloop.settings import LABEL_STUDIO_VERSION

TARGET = CaptionTarget("caption", "image", "image")


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(file, "PNG")
    return file.getvalue()


def annotation(text: str, **more: Any) -> Json:
    return {"result": to_prediction(TARGET, text, 1.0, "")["result"], **more}


@pytest.fixture(scope="module")
def label_studio(label_studio_server: LabelStudioServer) -> Iterator[LabelStudio]:
    client = LabelStudio(label_studio_server.url, label_studio_server.token)
    yield client
    client.close()


@pytest.fixture
def project_id(label_studio: LabelStudio) -> int:
    return int(label_studio.create_project("A client's tests", SAMPLE_LABEL_CONFIG)["id"])


@pytest.fixture(scope="module")
def personal_token(label_studio_server: LabelStudioServer) -> str:
    """A personal access token, made as a person does on the Account page."""
    with signed_in(label_studio_server) as browser:
        answer = browser.get("/api/jwt/settings")
        if answer.status_code == 404 and STUDIO_VERSION != LABEL_STUDIO_VERSION:
            pytest.skip(f"Label Studio {STUDIO_VERSION} has no personal access tokens yet")
        if "api_tokens_enabled" in (settings := answer.json()):
            browser.post("/api/jwt/settings", json=settings | {"api_tokens_enabled": True})
        answer = browser.post("/api/token/")
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])


class TestServer:
    def test_label_studio_says_its_version_and_whose_token_it_is(
        self, label_studio: LabelStudio, label_studio_server: LabelStudioServer
    ) -> None:
        assert label_studio.version() == STUDIO_VERSION
        me = label_studio.who_am_i()
        assert me["email"] == label_studio_server.email
        assert label_studio.emails()[me["id"]] == label_studio_server.email

    def test_projects_are_made_found_and_changed(self, label_studio: LabelStudio, project_id: int) -> None:
        label_studio.update_project(project_id, title="Renamed")
        assert label_studio.project(project_id)["title"] == "Renamed"
        assert project_id in {project["id"] for project in label_studio.projects()}

    def test_label_studios_own_reason_is_passed_on(self, label_studio: LabelStudio) -> None:
        with pytest.raises(LabelStudioError, match="at least 3 characters") as caught:
            label_studio.create_project("x", SAMPLE_LABEL_CONFIG)
        assert caught.value.status == 400

    def test_what_is_not_there_is_named(self, label_studio: LabelStudio, project_id: int) -> None:
        with pytest.raises(LabelStudioError, match="has no project 99999999") as caught:
            label_studio.project(99999999)
        assert caught.value.status == 404
        with pytest.raises(LabelStudioError, match=f"no task 99999999 in project {project_id}"):
            label_studio.task(project_id, 99999999)


class TestTokens:
    def test_a_personal_access_token_is_accepted(
        self, label_studio_server: LabelStudioServer, personal_token: str
    ) -> None:
        client = LabelStudio(label_studio_server.url, personal_token)
        assert client.who_am_i()["email"] == label_studio_server.email
        assert client.authorization().startswith("Bearer ")
        client.close()

    def test_a_short_lived_token_is_used_again_and_renewed_when_refused(
        self, label_studio_server: LabelStudioServer, personal_token: str
    ) -> None:
        client = LabelStudio(label_studio_server.url, personal_token)
        first = client.authorization()
        assert client.authorization() == first
        client._authorization._access = "refused"
        assert client.who_am_i()["email"] == label_studio_server.email
        client.close()

    def test_a_wrong_token_is_said_to_be_wrong(
        self, label_studio_server: LabelStudioServer, personal_token: str
    ) -> None:
        for wrong in ("0" * 40, personal_token[:-3] + "abc", "no token\n"):
            client = LabelStudio(label_studio_server.url, wrong)
            with pytest.raises(
                LabelStudioError, match=r"does not accept the access token.*LABEL_STUDIO_API_KEY"
            ) as caught:
                client.who_am_i()
            assert caught.value.status == 401
            assert wrong.strip() not in str(caught.value)
            client.close()

    def test_no_token_shows_in_a_repr(self, label_studio: LabelStudio, label_studio_server: LabelStudioServer) -> None:
        assert label_studio_server.token not in repr(label_studio)


class TestTasks:
    def test_uploaded_images_become_tasks_in_order(self, label_studio: LabelStudio, project_id: int) -> None:
        pictures = [png(colour) for colour in ("red", "green", "blue")]
        ids = label_studio.upload_images(project_id, [(f"{n}.png", data) for n, data in enumerate(pictures)])
        source = ImageSource(label_studio)
        tasks = label_studio.tasks(project_id, ids)
        by_id = {task["id"]: task["data"]["image"] for task in tasks}
        assert [source.read(by_id[task_id], task_id=task_id) for task_id in ids] == pictures
        source.close()

    def test_more_files_than_one_request_may_hold(self, label_studio: LabelStudio, project_id: int) -> None:
        ids = label_studio.upload_images(project_id, ((f"{n}.png", png("red")) for n in range(52)))
        assert len(set(ids)) == 52

    def test_an_upload_that_is_gone_says_so(self, label_studio: LabelStudio) -> None:
        source = ImageSource(label_studio)
        with pytest.raises(ImageError, match="Label Studio answered with status"):
            source.read("/data/upload/1/nothing.png", task_id=1)
        source.close()

    def test_a_storage_that_is_not_set_up_says_so(self, label_studio: LabelStudio, project_id: int) -> None:
        (task_id,) = label_studio.import_tasks(project_id, [{"data": {"image": "s3://bucket/a.png"}}])
        assert label_studio.task(project_id, task_id)["data"]["image"] == "s3://bucket/a.png"
        source = ImageSource(label_studio)
        with pytest.raises(ImageError, match="Add the storage of this address"):
            source.read("s3://bucket/a.png", task_id=task_id)
        source.close()

    def test_imported_tasks_come_back_with_what_belongs_to_them(
        self, label_studio: LabelStudio, project_id: int
    ) -> None:
        given = {
            "data": {"image": "/a.png"},
            "predictions": [to_prediction(TARGET, "a dog", 0.5, "v1")],
            "annotations": [annotation("a cat")],
        }
        (task_id,) = label_studio.import_tasks(project_id, [given])
        task = label_studio.task(project_id, task_id)
        assert task["predictions"][0]["model_version"] == "v1"
        assert task["annotations"][0]["result"][0]["value"]["text"] == ["a cat"]

    def test_tasks_that_are_not_there_are_left_out(self, label_studio: LabelStudio, project_id: int) -> None:
        (task_id,) = label_studio.import_tasks(project_id, [{"data": {"image": "/a.png"}}])
        assert [task["id"] for task in label_studio.tasks(project_id, [task_id, 99999999])] == [task_id]
        assert label_studio.tasks(project_id, []) == []

    def test_labelled_and_unlabelled_tasks_are_told_apart_over_several_pages(
        self, label_studio: LabelStudio, project_id: int
    ) -> None:
        given: list[Json] = [{"data": {"image": f"/{n}.png"}} for n in range(230)]
        for n in range(0, 230, 2):
            given[n]["annotations"] = [annotation("a cat")]
        given[1]["annotations"] = [annotation("", was_cancelled=True)]
        ids = label_studio.import_tasks(project_id, given)
        assert [task.id for task in label_studio.all_tasks(project_id)] == ids
        assert {task.id for task in label_studio.annotated_tasks(project_id)} == {*ids[::2], ids[1]}
        assert [task.id for task in label_studio.unlabelled_tasks(project_id)] == ids[1::2]

    def test_only_recent_changes_are_listed(
        self, label_studio: LabelStudio, label_studio_server: LabelStudioServer, project_id: int
    ) -> None:
        given = [{"data": {"image": f"/{n}.png"}, "annotations": [annotation("a cat")]} for n in range(3)]
        ids = label_studio.import_tasks(project_id, given)
        moment = max(task.updated_at for task in label_studio.annotated_tasks(project_id)) + timedelta(microseconds=1)
        assert list(label_studio.annotated_tasks(project_id, since=moment)) == []
        annotate(label_studio_server, ids[1], "a second cat")
        assert [task.id for task in label_studio.annotated_tasks(project_id, since=moment)] == [ids[1]]


def annotate(server: LabelStudioServer, task_id: int, text: str) -> Json:
    answer = httpx.post(
        f"{server.url}/api/tasks/{task_id}/annotations/",
        json=annotation(text),
        headers={"Authorization": f"Token {server.token}"},
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


class TestPredictions:
    def test_predictions_are_stored_listed_and_deleted(self, label_studio: LabelStudio, project_id: int) -> None:
        ids = label_studio.import_tasks(project_id, [{"data": {"image": f"/{n}.png"}} for n in range(3)])
        given = [{"task": task_id, **to_prediction(TARGET, "a dog", 0.25, "v1")} for task_id in ids]
        assert label_studio.import_predictions(project_id, given) == 3
        (prediction,) = label_studio.predictions(ids[0])
        assert (prediction["score"], prediction["model_version"]) == (0.25, "v1")
        assert label_studio.prediction(prediction["id"])["task"] == ids[0]
        label_studio.delete_prediction(prediction["id"])
        label_studio.delete_prediction(prediction["id"])
        label_studio.delete_predictions(project_id, ids[1:2])
        assert [len(label_studio.predictions(task_id)) for task_id in ids] == [0, 0, 1]

    def test_none_is_no_request(self, label_studio: LabelStudio) -> None:
        assert label_studio.import_predictions(99999999, []) == 0
        assert label_studio.import_tasks(99999999, []) == []
        label_studio.delete_predictions(99999999, [])


PROJECT = {
    "id": 3,
    "title": "Cats",
    "label_config": "<View/>",
    "total_annotations_number": 0,
    "skipped_annotations_number": 0,
}


@dataclass
class BadServer:
    """Answers in turn what it was told to: a status, with a body and headers."""

    url: str = ""
    answers: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "text/html" if isinstance(body, bytes) else "application/json"
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, data, {"Content-Type": kind} | headers))


@pytest.fixture
def bad_server() -> Iterator[BadServer]:
    made = BadServer()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            made.asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body, headers = made.answers.pop(0) if len(made.answers) > 1 else made.answers[0]
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(bad_server: BadServer) -> Iterator[LabelStudio]:
    made = LabelStudio(bad_server.url + "/tools/ls/", "0" * 40, retry_delays_s=(0.01, 0.01))
    yield made
    made.close()


class TestBadServer:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_reading_is_tried_again(self, client: LabelStudio, bad_server: BadServer, status: int) -> None:
        bad_server.answer(status)
        bad_server.answer(status)
        bad_server.answer(200, PROJECT)
        assert client.project(3) == PROJECT
        assert bad_server.asked == ["GET /tools/ls/api/projects/3/"] * 3

    def test_whoever_wants_to_know_is_told_before_each_further_try(
        self, client: LabelStudio, bad_server: BadServer
    ) -> None:
        bad_server.answer(500)
        bad_server.answer(200, PROJECT, Content_Length="500")
        bad_server.answer(200, PROJECT)
        asked_before: list[int] = []
        with client.telling_of_retries(lambda: asked_before.append(len(bad_server.asked))):
            client.project(3)
        assert asked_before == [1, 2]

    def test_and_may_end_the_trying(self, client: LabelStudio, bad_server: BadServer) -> None:
        def stop() -> None:
            raise RunCancelled("The run was cancelled.")

        bad_server.answer(500)
        with client.telling_of_retries(stop), pytest.raises(RunCancelled):
            client.project(3)
        assert len(bad_server.asked) == 1

    def test_but_not_for_ever(self, client: LabelStudio, bad_server: BadServer) -> None:
        bad_server.answer(500, {"detail": "database is locked"})
        with pytest.raises(LabelStudioError, match=r"status 500 \(database is locked\)\. Try again") as caught:
            client.project(3)
        assert caught.value.status == 500
        assert len(bad_server.asked) == 3

    @pytest.mark.parametrize(("status", "tries"), [(429, 3), (503, 3), (500, 1), (502, 1), (504, 1)])
    def test_what_makes_something_is_only_repeated_when_nothing_was_done(
        self, client: LabelStudio, bad_server: BadServer, status: int, tries: int
    ) -> None:
        bad_server.answer(status)
        with pytest.raises(LabelStudioError):
            client.create_project("Once only", SAMPLE_LABEL_CONFIG)
        assert len(bad_server.asked) == tries

    def test_the_client_waits_as_long_as_the_server_asks(self, client: LabelStudio, bad_server: BadServer) -> None:
        bad_server.answer(429, Retry_After="1")
        bad_server.answer(200, PROJECT)
        started = time.monotonic()
        client.project(3)
        assert time.monotonic() - started >= 1

    @pytest.mark.parametrize(
        ("status", "body", "headers", "message"),
        [
            (
                401,
                {"detail": "Invalid token."},
                {},
                r"does not accept the access token \(Invalid token\)\. Copy a current",
            ),
            (403, {"detail": "Not yours."}, {}, r"does not allow this account to use the project 3 \(Not yours\)"),
            (404, {"detail": "Not found."}, {}, "has no project 3, or this account cannot see it"),
            (404, b"<html>", {}, "404 with a web page: there seems to be no Label Studio"),
            (200, b"<html>", {}, "a web page instead of JSON. Check that LABEL_STUDIO_URL"),
            (
                302,
                b"",
                {"Location": "https://elsewhere.test/"},
                "redirects to 'https://elsewhere.test/'. Set LABEL_STUDIO",
            ),
            (
                400,
                {"detail": "Validation error", "validation_errors": {"title": ["Too short."]}},
                {},
                r"refused the request about the project 3 \(400\) \(title: Too short\)",
            ),
        ],
    )
    def test_a_refusal_is_one_sentence_with_the_remedy(
        self, client: LabelStudio, bad_server: BadServer, status: int, body: Any, headers: Json, message: str
    ) -> None:
        bad_server.answer(status, body, **headers)
        with pytest.raises(LabelStudioError, match=message) as caught:
            client.project(3)
        assert caught.value.status == status

    def test_an_answer_of_another_shape_is_an_error(self, client: LabelStudio, bad_server: BadServer) -> None:
        bad_server.answer(200, [1, 2])
        with pytest.raises(LabelStudioError, match="answered GET /api/projects/3/ with something unexpected"):
            client.project(3)

    @pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "br", "identity, gzip"])
    def test_an_answer_that_is_packed_is_not_unpacked(
        self, client: LabelStudio, bad_server: BadServer, coding: str
    ) -> None:
        bad_server.answer(200, PROJECT, Content_Encoding=coding)
        with pytest.raises(LabelStudioError, match=f"in the coding '{coding}', which nobody asked for"):
            client.project(3)
        assert len(bad_server.asked) == 1

    def test_an_answer_without_end_is_cut_off(
        self, client: LabelStudio, bad_server: BadServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("captionloop.backend.label_studio.client._LARGEST_ANSWER_BYTES", 1000)
        bad_server.answer(200, PROJECT | {"description": "x" * 2000})
        with pytest.raises(LabelStudioError, match="answered with more than 1,000 bytes"):
            client.project(3)
        assert len(bad_server.asked) == 1

    def test_a_request_with_its_further_tries_ends(
        self, bad_server: BadServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("captionloop.backend.label_studio.client._PATIENCE", 0.01)
        client = LabelStudio(bad_server.url, "0" * 40, retry_delays_s=(5.0,) * 10)
        for _ in range(10):
            bad_server.answer(200, PROJECT, Content_Length="500")
        with pytest.raises(LabelStudioError, match="cannot be reached"):
            client.project(3)
        assert len(bad_server.asked) == 1

    def test_a_body_cut_off_is_tried_again(self, client: LabelStudio, bad_server: BadServer) -> None:
        bad_server.answer(200, PROJECT, Content_Length="500")
        bad_server.answer(200, PROJECT)
        assert client.project(3) == PROJECT

    def test_a_server_that_is_not_there(self) -> None:
        client = LabelStudio("http://127.0.0.1:9", "0" * 40, retry_delays_s=(0.01,))
        with pytest.raises(
            LabelStudioError, match=r"cannot be reached .* Start it, or correct LABEL_STUDIO_URL"
        ) as caught:
            client.version()
        assert caught.value.status is None
        client.close()

    def test_an_address_that_is_none(self) -> None:
        client = LabelStudio("localhost:8080", "0" * 40, retry_delays_s=())
        with pytest.raises(LabelStudioError, match="is no address of a Label Studio"):
            client.version()
        client.close()

    def test_who_may_not_list_people_still_knows_their_own_address(
        self, client: LabelStudio, bad_server: BadServer
    ) -> None:
        bad_server.answer(403, {"detail": "No."})
        bad_server.answer(200, {"id": 7, "email": "me@example.test"})
        assert client.emails() == {7: "me@example.test"}

    def test_a_server_that_caps_its_pages_is_read_to_the_end(self, client: LabelStudio, bad_server: BadServer) -> None:
        def page(ids: list[int], total: int) -> Json:
            tasks = [
                {"id": n, "data": {}, "updated_at": "2026-11-23T12:00:00Z", "total_annotations": 0,
                 "cancelled_annotations": 0, "annotations": [], "predictions": []}
                for n in ids
            ]  # fmt: skip
            return {"tasks": tasks, "total": total}

        bad_server.answer(200, page([1, 2], 3))
        bad_server.answer(200, page([3], 1))
        assert [task.id for task in client.all_tasks(3)] == [1, 2, 3]
        bad_server.answers = []
        bad_server.answer(200, page([4, 5], 3))
        bad_server.answer(200, page([6], 1))
        assert [task["id"] for task in client.tasks(3, [4, 5, 6])] == [4, 5, 6]


class TestOwnership:
    @pytest.mark.parametrize(
        ("url", "owned"),
        [
            ("https://ls.test/tools", True),
            ("https://ls.test/tools/data/upload/a.png", True),
            ("https://LS.test:443/tools/data", True),
            ("http://ls.test/tools/data", False),
            ("https://ls.test:8443/tools/data", False),
            ("https://ls.test/toolshed", False),
            ("https://ls.test/", False),
            ("https://ls.test.evil.test/tools/", False),
            ("https://ls.test@evil.test/tools/", False),
            ("https://ls.test:port/tools/", False),
        ],
    )
    def test_only_addresses_below_it_are_its_own(self, url: str, owned: bool) -> None:
        assert LabelStudio("https://ls.test/tools", "x").owns(url) is owned


def test_moments_are_given_to_label_studio_in_utc(client: LabelStudio, bad_server: BadServer) -> None:
    bad_server.answer(200, {"tasks": [], "total": 0})
    moment = datetime(2026, 11, 23, 13, tzinfo=timezone(timedelta(hours=1)))
    assert list(client.annotated_tasks(3, since=moment)) == []
    assert "2026-11-23T12%3A00%3A00.000000Z" in bad_server.asked[0]
    assert read_moment("2026-11-23T12:00:00.000000Z") == moment
