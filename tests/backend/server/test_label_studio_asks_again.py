"""A real Label Studio, and our response to temporary failures."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.annotator import png
from tests.support.contexts import opened_context
from tests.support.models import tiny_base
from tests.support.picture_server import pictures_answered
from tests.support.scripted_studio import Reply
from tests.support.served import running
from tests.support.servers import LabelStudioServer

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.projects.connect import connect
from captionloop.backend.server.app import create_app
from captionloop.backend.server.graceful_server import GracefulServer
from captionloop.backend.server.serve import build_service
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.database import Database
from captionloop.settings import Secret


@contextmanager
def served(context: Context) -> Iterator[str]:
    """The address of a backend."""
    stop = threading.Event()
    with closing(build_service(context)) as service:
        app = create_app(service, Gatekeeper("someone", Secret("right"), seal=context.seal))
        server = GracefulServer(
            app, listening=[socket.create_server(("127.0.0.1", 0))], threads=4, stop=stop, may_send_much=bool
        )
        with running(server, stop) as address:
            yield address


@pytest.mark.parametrize(
    ("first", "stored"),
    [
        pytest.param(Reply(503), [0, 1], id="a failure that passes: it asks again"),
        pytest.param(Reply(404), [1, 1], id="a failure that stays: it does not ask again"),
    ],
)
def test_a_task_that_is_opened_again_after_a_failure(
    label_studio_server: LabelStudioServer,
    database: Database,
    home: Home,
    redis_url: str,
    tmp_path: Path,
    first: Reply,
    stored: list[int],
) -> None:
    server, base = label_studio_server, tiny_base(tmp_path / "base").source
    headers = {"Authorization": f"Token {server.token}"}
    with (
        pictures_answered(first, Reply(200, png())) as picture,
        opened_context(
            database, home, url=server.url, token=server.token, redis_url=redis_url, CAPTIONLOOP_MODEL=base,
            CAPTIONLOOP_IMAGE_HOSTS="127.0.0.1",
        ) as context,
        served(context) as backend_url,
        httpx.Client(base_url=server.url, headers=headers, timeout=60) as browser,
    ):  # fmt: skip
        studio: LabelStudio = context.label_studio
        number = int(studio.create_project("Asking again", SAMPLE_LABEL_CONFIG)["id"])
        connect(
            number, label_studio=studio, database=database, seal=context.seal, server=server.url,
            backend_url=backend_url, user="someone", password="right",
        )  # fmt: skip
        (task,) = studio.import_tasks(number, [{"data": {"image": picture}}])
        opened = []
        for _ in stored:
            browser.get(f"/api/tasks/{task}/", params={"project": number}).raise_for_status()
            opened.append(studio.predictions(task))

    assert [len(predictions) for predictions in opened] == stored
    assert bool(opened[-1][0]["result"]) is (first.status == 503)
