"""The calls, of a real Label Studio, and of a server that answers what a real one rarely does."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from PIL import Image
from tests.support.bad_server import BadServer
from tests.support.servers import STUDIO_VERSION, LabelStudioServer

from captionloop.backend.label_studio.annotations import read_moment, to_prediction
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.image_source import ImageSource
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG, CaptionTarget
from captionloop.errors import ImageError, LabelStudioError

TARGET = CaptionTarget("caption", "image", "image")


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(file, "PNG")
    return file.getvalue()


def annotation(text: str, **more: Any) -> Json:
    return {"result": to_prediction(TARGET, text, 1.0, "")["result"], **more}


@pytest.fixture
def project_id(label_studio: LabelStudio) -> int:
    return int(label_studio.create_project("A client's tests", SAMPLE_LABEL_CONFIG)["id"])


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

    def test_a_project_or_task_that_does_not_exist_is_named(self, label_studio: LabelStudio, project_id: int) -> None:
        with pytest.raises(LabelStudioError, match="has no project 99999999") as caught:
            label_studio.project(99999999)
        assert caught.value.status == 404
        with pytest.raises(LabelStudioError, match=f"no task 99999999 in project {project_id}"):
            label_studio.task(project_id, 99999999)


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

    def test_whoever_imports_at_once_loses_no_annotation(self, label_studio: LabelStudio) -> None:
        given = [{"data": {"image": f"/{n}.png"}, "annotations": [annotation("a cat")]} for n in range(3)]

        def make(number: int) -> int:
            project = label_studio.create_project(f"At once {number}", SAMPLE_LABEL_CONFIG)["id"]
            label_studio.import_tasks(project, given)
            return len(list(label_studio.annotated_tasks(project)))

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(make, range(24))) == [3] * 24
        titles = [project["title"] for project in label_studio.projects()]
        assert sum(title.startswith("At once") for title in titles) == 24


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

    def test_a_call_about_no_tasks_makes_no_request(self, label_studio: LabelStudio) -> None:
        assert label_studio.import_predictions(99999999, []) == 0
        assert label_studio.import_tasks(99999999, []) == []
        label_studio.delete_predictions(99999999, [])


class TestBadServer:
    def test_an_account_that_may_not_list_people_still_knows_its_own_address(
        self, client: LabelStudio, bad_server: BadServer
    ) -> None:
        bad_server.answer(403, {"detail": "No."})
        bad_server.answer(200, {"id": 7, "email": "me@example.test"})
        assert client.emails() == {7: "me@example.test"}

    def test_tasks_that_were_imported_without_their_annotations_are_imported_again(
        self, client: LabelStudio, bad_server: BadServer
    ) -> None:
        bad_server.answer(201, {"task_ids": [1, 2], "annotation_count": 0, "prediction_count": 0})
        bad_server.answer(200, {"processed_items": 2})
        bad_server.answer(201, {"task_ids": [3, 4], "annotation_count": 1, "prediction_count": 0})
        given: list[Json] = [{"data": {}, "annotations": [annotation("a cat")]}, {"data": {}}]
        assert client.import_tasks(1, given) == [3, 4]
        assert [request.split("?")[0] for request in bad_server.asked] == [
            "POST /tools/ls/api/projects/1/import",
            "POST /tools/ls/api/dm/actions/",
            "POST /tools/ls/api/projects/1/import",
        ]

    def test_it_is_said_when_predictions_are_lost_again_and_again(
        self, client: LabelStudio, bad_server: BadServer
    ) -> None:
        bad_server.answer(201, {"task_ids": [1], "annotation_count": 0, "prediction_count": 0})
        given = [{"data": {}, "predictions": [to_prediction(TARGET, "a dog", 0.5, "v1")]}]
        with pytest.raises(LabelStudioError, match="without 1 of their annotations and predictions"):
            client.import_tasks(1, given)
        assert bad_server.asked[-1] == "POST /tools/ls/api/dm/actions/?id=delete_tasks&project=1"

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
    def test_only_addresses_below_the_servers_path_are_its_own(self, url: str, owned: bool) -> None:
        assert LabelStudio("https://ls.test/tools", "x").owns(url) is owned


def test_moments_are_given_to_label_studio_in_utc(client: LabelStudio, bad_server: BadServer) -> None:
    bad_server.answer(200, {"tasks": [], "total": 0})
    moment = datetime(2026, 11, 23, 13, tzinfo=timezone(timedelta(hours=1)))
    assert list(client.annotated_tasks(3, since=moment)) == []
    assert "2026-11-23T12%3A00%3A00.000000Z" in bad_server.asked[0]
    assert read_moment("2026-11-23T12:00:00.000000Z") == moment
