"""Connecting, tried on a real Label Studio: whatever was there before, the outcome is one working connection."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from tests.support.label_studio_pages import log_in_to_label_studio, open_task
from tests.support.servers import LabelStudioServer

from captionloop.backend.label_studio.annotations import to_prediction
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.client import BACKEND_TITLE, LabelStudio
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG, CaptionTarget
from captionloop.backend.projects import connect as connecting
from captionloop.backend.projects.connect import Connection
from captionloop.backend.projects.webhook_secret import SECRET_HEADER
from captionloop.errors import BusyError, LabelConfigError, LabelStudioError
from captionloop.home import Home
from captionloop.model.database import Database, Project, Version
from captionloop.seal import Seal, is_sealed
from captionloop.settings import Secret

if TYPE_CHECKING:
    from playwright.sync_api import Page

USER, PASSWORD = "someone", "correct-horse"
SEAL = Seal(Home(Path("unused")), Secret("k" * 43 + "="))


@dataclass
class Backend:
    """As much of a backend as Label Studio asks for when one is attached."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    events: list[tuple[str | None, str]] = field(default_factory=list)


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            self.answer({"status": "UP"} if self.path == "/health" else {"versions": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append(self.path)
            if self.path == "/webhook":
                made.events.append((self.headers.get(SECRET_HEADER), body["action"]))
            self.answer({"model_version": "v1"}, with_auth=self.path != "/webhook")

        def answer(self, body: Json, *, with_auth: bool = True) -> None:
            allowed = not with_auth or self.headers.get("Authorization") == expected
            data = json.dumps(body).encode()
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def label_studio(label_studio_server: LabelStudioServer) -> Iterator[LabelStudio]:
    client = LabelStudio(label_studio_server.url, label_studio_server.token)
    yield client
    client.close()


@pytest.fixture
def project_id(label_studio: LabelStudio) -> int:
    return int(label_studio.create_project("Connecting", SAMPLE_LABEL_CONFIG)["id"])


@pytest.fixture
def connect(label_studio: LabelStudio, database: Database, backend: Backend) -> Any:
    return partial(
        connecting.connect,
        label_studio=label_studio,
        database=database,
        seal=SEAL,
        server="http://test",
        backend_url=backend.url,
        user=USER,
        password=PASSWORD,
    )


def row(database: Database, connection: Connection) -> Project:
    with database.reading() as session:
        return session.get_one(Project, connection.project_row_id)


def test_a_project_gets_backend_webhook_and_settings(
    connect: Any, project_id: int, label_studio: LabelStudio, database: Database, backend: Backend
) -> None:
    connection = connect(project_id)
    (attached,) = label_studio.ml_backends(project_id)
    assert (attached["id"], attached["title"], attached["url"]) == (
        connection.ml_backend_id,
        BACKEND_TITLE,
        backend.url,
    )
    assert not attached["is_interactive"]
    assert (attached["auth_method"], attached["basic_auth_user"]) == ("BASIC_AUTH", USER)
    assert attached["state"] == "CO"
    (webhook,) = label_studio.webhooks(project_id)
    assert (webhook["id"], webhook["url"]) == (connection.webhook_id, backend.url + "/webhook")
    assert webhook["is_active"]
    project = label_studio.project(project_id)
    assert project["show_collab_predictions"]
    assert not project["evaluate_predictions_automatically"]
    assert not project["reveal_preannotations_interactively"]
    assert project["model_version"] == BACKEND_TITLE
    address = f"{backend.url}/projects/{project_id}/"
    assert address in project["description"]
    assert address in project["expert_instruction"]
    stored = row(database, connection)
    assert (stored.is_connected, stored.label_studio_id, stored.title) == (True, project_id, "Connecting")
    assert (stored.ml_backend_id, stored.webhook_id) == (connection.ml_backend_id, connection.webhook_id)
    assert stored.label_config == project["label_config"]


def test_only_with_improve_are_a_label_config_and_tabs_that_are_there_changed(
    connect: Any, project_id: int, label_studio: LabelStudio
) -> None:
    theirs = {"title": "Mine", "hiddenColumns": {"explore": ["tasks:id", "tasks:predictions_results"]}, "gridWidth": 7}
    label_studio.create_view(project_id, theirs)

    connect(project_id)
    assert "<Style>" not in label_studio.project(project_id)["label_config"]
    assert [view["data"] for view in label_studio.views(project_id)] == [theirs]

    for _ in range(2):
        connect(project_id, improves=True)
        assert label_studio.project(project_id)["label_config"].count("<Style>") == 1
        (view,) = label_studio.views(project_id)
        assert view["data"]["hiddenColumns"] == {"explore": ["tasks:id"]}
        assert view["data"]["gridWidth"] == 7


@pytest.mark.parametrize("smart", ['smart="true"', 'smartOnly="True"'])
def test_a_label_config_with_smart_tools_gets_an_interactive_backend(
    connect: Any, label_studio: LabelStudio, smart: str
) -> None:
    config = SAMPLE_LABEL_CONFIG.replace(
        "</View>\n</View>", f'</View><Rectangle name="r" toName="image" {smart}/></View>'
    )
    project = int(label_studio.create_project("Smart", config)["id"])

    connect(project)

    (attached,) = label_studio.ml_backends(project)
    assert attached["is_interactive"]


def test_events_carry_our_secret(
    connect: Any, project_id: int, label_studio: LabelStudio, database: Database, backend: Backend
) -> None:
    connection = connect(project_id)
    backend.events.clear()
    label_studio.import_tasks(project_id, [{"data": {"image": "/a.png"}}])
    secret = SEAL.decrypt(row(database, connection).webhook_secret, what="", lost="")
    assert (secret, "TASKS_CREATED") in backend.events


def test_the_secret_is_kept_encrypted(connect: Any, project_id: int, database: Database) -> None:
    assert is_sealed(row(database, connect(project_id)).webhook_secret)


@pytest.mark.parametrize("kept", ["as an earlier release kept it", "sealed:with-a-key-that-is-lost"])
def test_connecting_again_heals_a_secret_that_is_plain_or_cannot_be_read(
    connect: Any, project_id: int, label_studio: LabelStudio, database: Database, backend: Backend, kept: str
) -> None:
    with database.session() as session:
        session.get_one(Project, connect(project_id).project_row_id).webhook_secret = kept
    connection = connect(project_id)
    backend.events.clear()
    label_studio.import_tasks(project_id, [{"data": {"image": "/a.png"}}])
    secret = SEAL.decrypt(row(database, connection).webhook_secret, what="", lost="")
    assert (secret, "TASKS_CREATED") in backend.events
    assert (secret == kept) == (not is_sealed(kept))


def test_connecting_again_changes_nothing(connect: Any, project_id: int, label_studio: LabelStudio) -> None:
    first = connect(project_id)
    assert connect(project_id) == first
    assert len(label_studio.ml_backends(project_id)) == 1
    assert len(label_studio.webhooks(project_id)) == 1


def test_a_backend_that_moved_is_changed_not_added(
    connect: Any, project_id: int, label_studio: LabelStudio, backend: Backend
) -> None:
    first = connect(project_id)
    moved = backend.url.replace("127.0.0.1", "localhost")
    assert connect(project_id, backend_url=moved + "/") == first
    assert [attached["url"] for attached in label_studio.ml_backends(project_id)] == [moved]
    assert [webhook["url"] for webhook in label_studio.webhooks(project_id)] == [moved + "/webhook"]


def test_what_somebody_deleted_is_made_again(connect: Any, project_id: int, label_studio: LabelStudio) -> None:
    first = connect(project_id)
    label_studio.delete_webhook(first.webhook_id)
    label_studio.delete_ml_backend(first.ml_backend_id)
    second = connect(project_id)
    assert [attached["id"] for attached in label_studio.ml_backends(project_id)] == [second.ml_backend_id]
    assert [webhook["id"] for webhook in label_studio.webhooks(project_id)] == [second.webhook_id]


def test_a_webhook_that_was_switched_off_is_on_again(connect: Any, project_id: int, label_studio: LabelStudio) -> None:
    connection = connect(project_id)
    url = label_studio.webhooks(project_id)[0]["url"]
    label_studio.update_webhook(connection.webhook_id, url, is_active=False, headers={})
    connect(project_id)
    (webhook,) = label_studio.webhooks(project_id)
    assert webhook["is_active"]
    assert SECRET_HEADER in webhook["headers"]


def test_a_promoted_version_stays_the_one_that_is_shown(
    connect: Any, project_id: int, label_studio: LabelStudio, database: Database
) -> None:
    with database.session() as session:
        session.add(Version(name="starter-2"))
    # Label Studio shows no version that has no predictions.
    task = {"data": {"image": "/data/none.png"}, "predictions": [{"model_version": "starter-2", "result": []}]}
    label_studio.import_tasks(project_id, [task])
    label_studio.update_project(project_id, model_version="starter-2")
    connect(project_id)
    assert label_studio.project(project_id)["model_version"] == "starter-2"


def test_a_backend_of_somebody_else_is_left_alone(
    connect: Any, project_id: int, label_studio: LabelStudio, backend: Backend
) -> None:
    theirs = {"auth_method": "BASIC_AUTH", "basic_auth_user": USER, "basic_auth_pass": PASSWORD}
    label_studio.create_ml_backend(
        project_id, url=backend.url.replace("127.0.0.1", "localhost"), title="Theirs", **theirs
    )
    with pytest.raises(BusyError, match="already has the ML backend 'Theirs'"):
        connect(project_id)
    assert [attached["title"] for attached in label_studio.ml_backends(project_id)] == ["Theirs"]


def test_a_project_without_place_for_captions_is_not_touched(connect: Any, label_studio: LabelStudio) -> None:
    config = '<View><Text name="text" value="$text"/><TextArea name="t" toName="text"/></View>'
    project_id = label_studio.create_project("No pictures", config)["id"]
    with pytest.raises(LabelConfigError, match="it has no Image"):
        connect(project_id)
    assert label_studio.ml_backends(project_id) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend_url": "http://127.0.0.1:9"}, "Start it .* before connecting"),
        ({"password": "wrong"}, "authentication parameters"),
    ],
)
def test_a_backend_that_label_studio_cannot_use_leaves_nothing_behind(
    connect: Any, project_id: int, label_studio: LabelStudio, database: Database, change: Json, message: str
) -> None:
    with pytest.raises(LabelStudioError, match=message):
        connect(project_id, **change)
    assert label_studio.ml_backends(project_id) == []
    with database.reading() as session:
        assert not session.query(Project).one().is_connected


def test_a_project_that_does_not_exist_is_named(connect: Any) -> None:
    with pytest.raises(LabelStudioError, match="has no project 99999999"):
        connect(99999999)


# -- as an annotator sees it -------------------------------------------------------------------------------------

_SUGGESTED = "a small boat to the left of a car"


def test_a_caption_is_changed_by_keyboard_with_the_pencil_beside_it_and_nothing_empty_around(
    connect: Any,
    label_studio: LabelStudio,
    label_studio_server: LabelStudioServer,
    page: "Page",
) -> None:
    from playwright.sync_api import expect

    project = int(label_studio.create_project("Editor", SAMPLE_LABEL_CONFIG)["id"])
    picture = io.BytesIO()
    Image.new("RGB", (480, 480), "teal").save(picture, "PNG")
    (task,) = label_studio.upload_images(project, [("a.png", picture.getvalue())])
    target = CaptionTarget("caption", "image", "image")
    label_studio.import_predictions(project, [{"task": task} | to_prediction(target, _SUGGESTED, 0.9, "v1")])
    connect(project, improves=True)
    label_studio.update_project(project, model_version="v1")
    studio = {"url": label_studio.url, "project_id": project}
    studio |= {"email": label_studio_server.email, "password": label_studio_server.password}

    log_in_to_label_studio(page, studio)
    page.goto(f"{studio['url']}/projects/{project}/data")
    expect(page.get_by_text("Prediction results")).to_be_visible()
    expect(page.get_by_text(_SUGGESTED).first).to_be_visible()

    open_task(page, studio, {"id": task})
    text, pencil = page.get_by_test_id("htx-textbox-content"), page.get_by_test_id("htx-textbox-edit-button")
    expect(text).to_have_text(_SUGGESTED)
    expect(page.get_by_test_id("htx-textbox-delete-button")).to_be_hidden()
    expect(page.get_by_text("Labeled regions will appear here")).to_be_hidden()
    page.mouse.move(0, 0)
    assert pencil.locator("xpath=..").evaluate("actions => getComputedStyle(actions).opacity") == "1"
    beside, at = text.bounding_box(), pencil.bounding_box()
    assert beside
    assert at
    assert beside["x"] + beside["width"] <= at["x"]
    assert abs(beside["y"] - at["y"]) < 10
    assert at["x"] + at["width"] > 1200  # of 1280: the panels' width is used

    pencil.focus()
    page.keyboard.press("Space")
    page.get_by_test_id("htx-textbox-input").fill("a boat and a car")
    page.keyboard.press("Shift+Enter")
    expect(text).to_have_text("a boat and a car")
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST") as saved:
        page.keyboard.press("Control+Enter")
    assert saved.value.status == 201
    (annotation,) = label_studio.task(project, task)["annotations"]
    assert annotation["result"][0]["value"]["text"] == ["a boat and a car"]
