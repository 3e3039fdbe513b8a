"""What monitoring is told: ready or not, and why; figures that are true; a dashboard that asks for no other ones."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from tests.support.corrections import correct
from tests.support.models import add_project, tiny_base
from tests.support.pictures import picture
from tests.support.room import PASSWORD, READER_PASSWORD, USER, app_of, opened_room
from tests.support.runs import attempt_at

from captionloop import __version__
from captionloop.backend.page_data.room import Room
from captionloop.backend.serving import readiness
from captionloop.home import Home
from captionloop.model.database import CorrectionState, Database, Project, RunKind
from captionloop.model.versions.base import Base

LEAD, READER = (USER, PASSWORD), ("reader", READER_PASSWORD)
DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana" / "captionloop.json"
CONFIG = '<View><Image name="img" value="$photo"/><TextArea name="words" toName="img"/></View>'


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database, 7)


@pytest.fixture
def room(project: Project, home: Home, redis_url: str, base: Base) -> Iterator[Room]:
    with opened_room(home, redis_url, model=base.source) as opened:
        opened.service.champions.warm_up([project.id])
        yield opened


@pytest.fixture
def app(room: Room) -> Flask:
    return app_of(room)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def predict(client: FlaskClient, *photos: str) -> None:
    tasks = [{"id": 100 + number, "data": {"photo": photo}} for number, photo in enumerate(photos)]
    answer = client.post("/predict", json={"tasks": tasks, "project": "7", "label_config": CONFIG}, auth=LEAD)
    assert answer.status_code == 200, answer.get_data(as_text=True)


def figures(client: FlaskClient) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every figure by its name and the values of its labels."""
    text = client.get("/metrics", auth=READER).get_data(as_text=True)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# Ready ---------------------------------------------------------------------------------------------------------------


def test_with_everything_there_the_backend_is_ready(client: FlaskClient) -> None:
    answer = client.get("/ready", auth=READER)

    assert (answer.status_code, answer.get_json()) == (200, {"ready": True, "missing": {}})


def test_whoever_asks_is_told_whether_and_not_why(client: FlaskClient, room: Room, project: Project) -> None:
    ready = client.get("/ready")
    shutil.rmtree(room.versions.champion(project.id).path)
    with mock.patch.object(readiness, "_KEPT_S", -1), mock.patch.dict(room.service.champions._serving, clear=True):
        not_ready, why = client.get("/ready"), client.get("/ready", auth=READER)
        wrong = client.get("/ready", auth=(USER, "wrong"))

    assert [(answer.status_code, answer.data) for answer in (ready, not_ready)] == [(200, b""), (503, b"")]
    assert (why.status_code, wrong.status_code) == (503, 401)
    assert "has no readable captionloop.json" in why.get_json()["missing"]["champion"]


def test_a_project_whose_model_made_room_for_others_can_be_served(client: FlaskClient, room: Room) -> None:
    with mock.patch.dict(room.service.champions._serving, clear=True):
        assert client.get("/ready", auth=READER).status_code == 200


def test_before_the_champions_are_loaded_it_is_not_ready(
    project: Project, home: Home, redis_url: str, base: Base
) -> None:
    with opened_room(home, redis_url, model=base.source) as room:
        answer = app_of(room).test_client().get("/ready", auth=LEAD)

    assert answer.status_code == 503
    assert answer.get_json()["missing"] == {"champion": "The models of the connected projects are being loaded."}


@pytest.mark.faults
def test_without_redis_it_is_not_ready_and_says_where_it_was_looked_for(
    project: Project, home: Home, base: Base
) -> None:
    with opened_room(home, "redis://localhost:1/0", model=base.source) as room:
        room.service.champions.warm_up([project.id])
        answer = app_of(room).test_client().get("/ready", auth=LEAD)

    assert answer.status_code == 503
    assert list(answer.get_json()["missing"]) == ["redis"]
    assert "redis://localhost:1/0" in answer.get_json()["missing"]["redis"]


@pytest.mark.faults
def test_with_a_champion_that_cannot_be_loaded_it_is_not_ready_and_says_which_file_is_damaged(
    room: Room, client: FlaskClient, project: Project, home: Home, redis_url: str, base: Base
) -> None:
    (room.versions.champion(project.id).path / "model.safetensors").write_bytes(b"damaged")
    with opened_room(home, redis_url, model=base.source) as restarted:
        restarted.service.champions.warm_up([project.id])
        answer = app_of(restarted).test_client().get("/ready", auth=LEAD)

    assert answer.status_code == 503
    assert answer.get_json()["missing"]["champion"].startswith("Project 7 is not served: The file model.safetensors of")


@pytest.mark.faults
def test_a_damaged_database_is_named(client: FlaskClient, room: Room, home: Home) -> None:
    room.database.close()
    home.database.write_bytes(b"no database at all" * 500)
    for beside in ("-wal", "-shm"):
        home.database.with_name(home.database.name + beside).unlink(missing_ok=True)

    answer = client.get("/ready", auth=LEAD)

    assert answer.status_code == 503
    assert "file is not a database" in answer.get_json()["missing"]["database"]


def test_health_asks_nothing_of_database_redis_or_model(home: Home, base: Base, database: Database) -> None:
    with opened_room(home, "redis://localhost:1/0", model=base.source) as room:
        room.database.close()
        home.database.unlink()
        answer = app_of(room).test_client().get("/health")

    assert (answer.status_code, answer.get_json()) == (
        200, {"status": "UP", "model_class": "Captionloop", "version": __version__},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "auth", "status"),
    [
        ("/metrics", None, 401),
        *((path, (USER, "wrong"), 401) for path in ("/ready", "/metrics")),
        *((path, account, 200) for path in ("/ready", "/metrics") for account in (READER, LEAD)),
    ],
)
def test_monitoring_needs_an_account_and_the_readers_will_do(
    client: FlaskClient, path: str, auth: Any, status: int
) -> None:
    assert client.get(path, auth=auth).status_code == status


# Figures -------------------------------------------------------------------------------------------------------------


def test_requests_are_counted_by_address_and_status(client: FlaskClient) -> None:
    predict(client, picture("red"))
    client.post("/job_status", json={"job": "none"}, auth=LEAD)
    for guess in ("/a", "/b", "/c"):
        client.get(guess)

    found = figures(client)
    assert found["captionloop_http_requests_total", ("POST", "/predict", "200")] == 1
    assert found["captionloop_http_requests_total", ("POST", "/job_status", "410")] == 1
    assert found["captionloop_http_requests_total", ("GET", "none", "404")] == 3
    assert found["captionloop_http_request_seconds_count", ("/predict",)] == 1


def test_pictures_batches_cache_and_failures_are_counted(client: FlaskClient) -> None:
    predict(client, picture("red"), picture("blue"), "data:image/png;base64,AAAA")
    predict(client, picture("red"))

    found = figures(client)
    assert found["captionloop_suggestions_total", ()] == 3
    assert found["captionloop_failures_total", ("image",)] == 1
    assert found["captionloop_failures_total", ("late",)] == 0
    assert found["captionloop_batch_size_sum", ()] == 3
    assert found["captionloop_feature_cache_misses_total", ()] == 2
    assert found["captionloop_feature_cache_hits_total", ()] == 1
    assert found["captionloop_pictures_waiting", ()] == 0


def test_what_each_process_does_and_what_all_share_can_be_asked_for_apart(client: FlaskClient, room: Room) -> None:
    predict(client, picture("red"))
    names = {}
    for of in ("process", "installation"):
        text = client.get(f"/metrics?of={of}", auth=READER).get_data(as_text=True)
        names[of] = {family.name for family in text_string_to_metric_families(text)}

    assert names["process"] & names["installation"] == set()
    assert names["process"] | names["installation"] == {
        family.name for family in text_string_to_metric_families(client.get("/metrics", auth=READER).text)
    }
    assert names["process"] >= {"captionloop_serving", "captionloop_batch_size", "captionloop_feature_cache_hits"}
    assert names["installation"] >= {"captionloop_corrections", "captionloop_champion", "captionloop_workers"}
    assert figures(client)["captionloop_serving", ("7", room.context.base.name)] == 1
    assert client.get("/metrics?of=all", auth=READER).status_code == 400


def test_corrections_runs_and_the_champion_are_those_of_the_database(
    client: FlaskClient, room: Room, database: Database, project: Project, base: Base
) -> None:
    for state in (CorrectionState.ACTIVE, CorrectionState.ACTIVE, CorrectionState.SKIPPED):
        correct(database, project, version=base.name, state=state)
    room.context.queue.request(project.id, RunKind.ANNOTATE, asked_by="test")
    run = room.context.queue.request(project.id, RunKind.FINETUNE, asked_by="test").run
    room.runs.start(run.id)
    attempt_at(room.runs, run.id).report(0.25)

    found = figures(client)
    assert found["captionloop_corrections", ("7", "active")] == 2
    assert found["captionloop_corrections", ("7", "skipped")] == 1
    assert found["captionloop_runs", ("finetune", "7", "running")] == 1
    assert found["captionloop_runs", ("annotate", "7", "queued")] == 1
    assert found["captionloop_run_progress", ("finetune", "7")] == 0.25
    assert found["captionloop_queue_jobs", ("captionloop",)] == 2
    assert found["captionloop_workers", ()] == 0
    assert found["captionloop_champion", ("7", room.context.base.name)] == 1
    assert found["captionloop_champion_damaged", ("7",)] == 0


def test_a_part_that_is_away_is_said_to_be_and_has_no_other_figures(project: Project, home: Home, base: Base) -> None:
    with opened_room(home, "redis://localhost:1/0", model=base.source) as room:
        found = figures(app_of(room).test_client())

    assert (found["captionloop_up", ("database",)], found["captionloop_up", ("redis",)]) == (1, 0)
    assert not [name for name, _ in found if name == "captionloop_queue_jobs"]


def test_projects_of_another_label_studio_are_none_of_our_business(client: FlaskClient, database: Database) -> None:
    correct(database, add_project(database, 99, server="http://elsewhere"), version="v1")

    assert not [labels for name, labels in figures(client) if "99" in labels]


# The dashboard -------------------------------------------------------------------------------------------------------


def test_the_dashboard_asks_only_for_figures_that_there_are(
    client: FlaskClient, room: Room, database: Database, project: Project, base: Base
) -> None:
    correct(database, project, version=base.name)
    run = room.context.queue.request(project.id, RunKind.FINETUNE, asked_by="test").run
    room.runs.start(run.id)
    predict(client, picture("red"))
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))

    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"\b(?:captionloop|process)_\w+", target["expr"])
    }
    asked |= set(re.findall(r"captionloop_\w+", json.dumps(dashboard["templating"])))

    assert len(asked) > 15
    assert asked - {name for name, _ in figures(client)} == set()


def test_every_figure_of_ours_is_on_the_dashboard_or_explained(client: FlaskClient, project: Project) -> None:
    predict(client, picture("red"))
    told = DASHBOARD.read_text(encoding="utf-8") + (DASHBOARD.parents[1] / "watching.md").read_text(encoding="utf-8")

    ours = {name for name, _ in figures(client) if name.startswith("captionloop_")}
    missing = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours} - set(
        re.findall(r"captionloop_\w+?(?=_bucket|_sum|_count|\b)", told)
    )
    assert missing == set()
