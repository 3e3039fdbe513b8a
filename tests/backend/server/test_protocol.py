"""The requests that a real Label Studio sent (tests/data/label-studio), answered by the app on a small real model."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from tests.support.judged import add_judged, over_confident
from tests.support.models import tiny_base
from tests.support.pictures import picture
from tests.support.service import AUTH, CONFIG, caption_service, client_of, predict

from captionloop.backend.serving.caption_service import CaptionService
from captionloop.home import Home
from captionloop.jobs.queue.work import SYNCS
from captionloop.model.database import Database, Project, Run, RunKind, Suggestion
from captionloop.model.evaluation.calibration import chances
from captionloop.model.versions.base import Base

RECORDED = Path(__file__).parents[2] / "data" / "label-studio"


def recorded(name: str) -> dict[str, Any]:
    return dict(json.loads((RECORDED / f"{name}.json").read_text())["body"] or {})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def service(database: Database, redis_url: str, tmp_path: Path, base: Base) -> Iterator[CaptionService]:
    with caption_service(database, redis_url, tmp_path, base) as made:
        yield made


@pytest.fixture
def client(service: CaptionService, home: Home) -> FlaskClient:
    return client_of(service, home)


def test_health_needs_no_password(client: FlaskClient) -> None:
    assert client.get("/health").get_json()["status"] == "UP"


@pytest.mark.parametrize(
    ("method", "path"), [("post", "/setup"), ("post", "/predict"), ("get", "/versions"), ("post", "/job_status")]
)
@pytest.mark.parametrize("auth", [None, ("label-studio", "wrong"), ("somebody", "right")])
def test_everything_else_needs_the_right_password(client: FlaskClient, method: str, path: str, auth: Any) -> None:
    answer = getattr(client, method)(path, json={}, auth=auth)

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="Captionloop ML backend"')


def test_setup_answers_with_the_version_that_serves(client: FlaskClient, base: Base) -> None:
    answer = client.post("/setup", json=recorded("setup"), auth=AUTH)

    assert answer.get_json() == {"model_version": base.name}


def test_setup_refuses_a_config_without_a_place_for_captions(client: FlaskClient) -> None:
    body = recorded("setup") | {"schema": '<View><Text name="t" value="$text"/></View>'}

    answer = client.post("/setup", json=body, auth=AUTH)

    assert answer.status_code == 400
    assert "<TextArea" in answer.get_json()["error"]


@pytest.mark.parametrize("name", ["predict_one_task", "predict_many_tasks", "predict_interactive"])
def test_recorded_tasks_get_one_suggestion_each(client: FlaskClient, base: Base, name: str) -> None:
    body = recorded(name)

    results = client.post("/predict", json=body, auth=AUTH).get_json()["results"]

    assert len(results) == len(body["tasks"])
    for result in results:
        [item] = result["result"]
        assert (item["from_name"], item["to_name"], item["type"]) == ("caption", "image", "textarea")
        assert isinstance(item["value"]["text"][0], str)
        assert 0 <= result["score"] <= 1
        assert result["model_version"] == base.name


def test_results_come_in_the_order_of_the_tasks(client: FlaskClient) -> None:
    colours = ["red", "green", "blue", "white", "black"]
    alone = [predict(client, picture(colour))[0]["result"][0]["value"] for colour in colours]

    together = [result["result"][0]["value"] for result in predict(client, *map(picture, colours))]

    assert together == alone


@pytest.mark.parametrize(
    "bad",
    ["missing.png", "data:image/png;base64,AAAA", ""],
    ids=["not there", "not an image", "empty"],
)
def test_a_bad_image_gets_an_entry_without_suggestion_and_harms_no_neighbour(client: FlaskClient, bad: str) -> None:
    before, broken, after = predict(client, picture("red"), bad, picture("blue"))

    assert broken["result"] == []
    assert before["result"]
    assert after["result"]


def test_why_a_task_has_no_suggestion_is_kept(client: FlaskClient, database: Database) -> None:
    predict(client, "missing.png")

    with database.reading() as session:
        [row] = session.query(Suggestion).all()
    assert (row.task_id, row.caption, "404" in (row.reason or "")) == (100, None, True)


def test_suggestions_are_kept_once_per_task_and_version(client: FlaskClient, database: Database) -> None:
    predict(client, picture("red"))
    predict(client, picture("red"))

    with database.reading() as session:
        assert session.query(Suggestion).count() == 1


def test_the_score_is_the_chance_that_the_captioning_run_gives_too_and_the_models_own_is_kept(
    client: FlaskClient, service: CaptionService, database: Database, base: Base
) -> None:
    project = service.projects.seen(7).id
    add_judged(database, project, base.name, over_confident(200))

    (entry,) = predict(client, picture("red"))

    with database.reading() as session:
        (kept,) = session.query(Suggestion).all()
        chance = chances(session, project, base.name)
    assert chance.is_calibrated
    assert kept.score is not None
    assert entry["score"] == pytest.approx(chance(kept.score))
    assert entry["score"] != pytest.approx(kept.score)


def test_with_too_few_corrections_the_score_is_the_models_own(
    client: FlaskClient, service: CaptionService, database: Database, base: Base
) -> None:
    add_judged(database, service.projects.seen(7).id, base.name, over_confident(49))

    (entry,) = predict(client, picture("red"))

    with database.reading() as session:
        (kept,) = session.query(Suggestion).all()
    assert entry["score"] == kept.score


def test_a_task_that_is_not_done_in_time_has_an_entry_that_is_not_stored_and_waits_for_the_worker(
    client: FlaskClient, service: CaptionService, database: Database
) -> None:
    in_time = predict(client, picture("red"))
    service.answer_within_s = 0.0

    late = predict(client, picture("red"), picture("blue"), picture("green"))

    assert "result" in in_time[0]
    assert [set(entry) for entry in late] == [{"score", "model_version"}] * 3
    with database.reading() as session:
        [run] = session.query(Run).all()
        assert (run.kind, run.asked_by) == (RunKind.ANNOTATE, "a batch that was too large for one request")
        assert session.query(Suggestion).count() == 1  # that of the first request


def test_the_tasks_that_are_done_in_time_keep_their_places(
    client: FlaskClient, service: CaptionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service.champions.lease(service.projects.seen(7).id) as batcher:
        encode = batcher.captioner.encode

        def slow(*args: Any, **kwargs: Any) -> Any:
            time.sleep(0.4)
            return encode(*args, **kwargs)

        monkeypatch.setattr(batcher.captioner, "encode", slow)
    alone = predict(client, picture("red"))[0]["result"][0]["value"]
    service.answer_within_s = 1.5

    entries = predict(client, *[picture("red")] * 150)

    done = [place for place, entry in enumerate(entries) if "result" in entry]
    assert len(entries) == 150
    assert 0 < len(done) < 150
    assert all(entries[place]["result"][0]["value"] == alone for place in done)


def test_no_tasks_get_no_results(client: FlaskClient) -> None:
    assert predict(client) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("nonsense", "JSON object"),
        ([], "JSON object"),
        ({"project": "1.2", "label_config": CONFIG}, "`tasks`"),
        ({"project": "1.2", "label_config": CONFIG, "tasks": [{"id": "x", "data": {}}]}, "`tasks[0]`"),
        ({"project": "none", "label_config": CONFIG, "tasks": []}, "`project`"),
        ({"project": "1.2", "label_config": None, "tasks": []}, "`label_config`"),
    ],
)
def test_a_malformed_request_is_told_which_field_is_wrong(client: FlaskClient, body: Any, said: str) -> None:
    answer = client.post("/predict", json=body, auth=AUTH)

    assert answer.status_code == 400
    assert said in answer.get_json()["error"]


def test_versions_lists_the_projects_own(client: FlaskClient, base: Base) -> None:
    predict(client, picture("red"))

    assert client.get("/versions", json={"project": "7.1"}, auth=AUTH).get_json() == {"versions": [base.name]}


def test_start_training_answers_with_a_job_that_can_be_asked_about(client: FlaskClient) -> None:
    job = client.post("/webhook", json=recorded("webhook_start_training"), auth=AUTH).get_json()["job"]

    status = client.post("/job_status", json={"job": job}, auth=AUTH).get_json()

    assert (status["job_status"], status["progress"]) == ("queued", 0.0)


def test_a_second_press_joins_the_run_that_waits_and_is_told_so(client: FlaskClient) -> None:
    first, second = (
        client.post("/webhook", json=recorded("webhook_start_training"), auth=AUTH).get_json() for _ in range(2)
    )

    assert first["job"] == second["job"]
    assert "no further one was added" in second["message"]


def test_start_training_needs_the_password(client: FlaskClient) -> None:
    assert client.post("/webhook", json=recorded("webhook_start_training")).status_code == 403


def test_an_unknown_job_is_gone(client: FlaskClient) -> None:
    assert client.post("/job_status", json={"job": "nonsense"}, auth=AUTH).status_code == 410


EVENTS = [
    "webhook_annotation_created",
    "webhook_annotation_created_skipped",
    "webhook_annotation_updated",
    "webhook_annotations_created",
    "webhook_annotations_deleted",
    "webhook_tasks_deleted",
    "webhook_project_updated",
]


@pytest.fixture
def secret(database: Database) -> dict[str, str]:
    with database.session() as session:
        session.add(Project(server="local", label_studio_id=1, webhook_secret="of project 1"))
    return {"X-Captionloop-Secret": "of project 1"}


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_with_the_secret_asks_for_a_sync(
    client: FlaskClient, secret: dict[str, str], redis_url: str, event: str
) -> None:
    answer = client.post("/webhook", json=recorded(event), headers=secret)

    assert answer.status_code == 200
    with Redis.from_url(redis_url) as redis:
        assert redis.llen(f"rq:queue:{SYNCS}") == 1


@pytest.mark.parametrize("kept", ["", "sealed:with-a-key-that-is-lost"])
@pytest.mark.parametrize("sent", ["", "x", "sealed:with-a-key-that-is-lost"])
def test_where_no_secret_can_be_read_no_event_carries_it(
    client: FlaskClient, database: Database, home: Home, kept: str, sent: str
) -> None:
    with database.session() as session:
        session.add(Project(server="local", label_studio_id=1, webhook_secret=kept))
    headers = {"X-Captionloop-Secret": sent}

    assert client.post("/webhook", json=recorded(EVENTS[0]), headers=headers).status_code == 403


@pytest.mark.parametrize(("order", "runs"), [("off", 0), ("sampling", 1)])
def test_new_tasks_are_captioned_where_label_studio_asks_in_our_order(
    client: FlaskClient, secret: dict[str, str], database: Database, order: str, runs: int
) -> None:
    with database.session() as session:
        session.query(Project).one().settings = {"order": order}

    client.post("/webhook", json={"action": "TASKS_CREATED", "project": {"id": 1}}, headers=secret)

    with database.reading() as session:
        asked = [(run.kind, run.settings) for run in session.query(Run)]
    assert asked == [(RunKind.ANNOTATE, {"only_missing": True})] * runs


@pytest.mark.parametrize("header", [{}, {"X-Captionloop-Secret": "guessed"}])
def test_an_event_without_the_secret_is_refused(
    client: FlaskClient, secret: dict[str, str], header: dict[str, str]
) -> None:
    assert client.post("/webhook", json=recorded("webhook_annotation_created"), headers=header).status_code == 403


def test_an_event_of_an_unknown_project_is_refused_and_leaves_no_trace(client: FlaskClient, database: Database) -> None:
    answer = client.post("/webhook", json=recorded("webhook_annotation_created"), headers={"X-Captionloop-Secret": ""})

    assert answer.status_code == 403
    with database.reading() as session:
        assert session.query(Project).count() == 0


def test_errors_have_one_shape(client: FlaskClient) -> None:
    answer = client.get("/nowhere")

    assert (answer.status_code, set(answer.get_json())) == (404, {"error", "type"})
