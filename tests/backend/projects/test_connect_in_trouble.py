"""Connecting while Label Studio answers badly: a sentence, and afterwards one connection or none."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.support.scripted_studio import CUT_OFF, HANG_UP, PAGE, TOKEN, Reply, ScriptedStudio, scripted_studio

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.projects.connect import Connection, connect
from captionloop.errors import LabelConfigError, LabelStudioError
from captionloop.home import Home
from captionloop.model.database import Database, Project
from captionloop.seal import Seal

ANSWERS = {
    "401": Reply(401, b'{"detail": "Invalid token."}'),
    "403": Reply(403, b"{}"),
    "404": Reply(404, b'{"detail": "Not found."}'),
    "500": Reply(500, PAGE, "text/html"),
    "a web page": Reply(200, PAGE, "text/html"),
    "an object of another API": Reply(200, b'{"status": "ok"}'),
    "half of an answer": CUT_OFF,
    "no answer": HANG_UP,
}
QUICK = {"403", "an object of another API", "no answer"}


@pytest.fixture
def studio() -> Iterator[ScriptedStudio]:
    with scripted_studio() as running:
        yield running


@pytest.fixture
def connected(studio: ScriptedStudio, database: Database, home: Home) -> Iterator[Callable[[], Connection]]:
    with closing(LabelStudio(studio.url, TOKEN, retry_delays_s=())) as label_studio:
        yield lambda: connect(
            1, label_studio=label_studio, database=database, server="local", backend_url="http://localhost:9090",
            user="label-studio", password="right", seal=Seal(home),
        )  # fmt: skip


def project(database: Database) -> Project | None:
    with database.reading() as session:
        return session.query(Project).one_or_none()


@pytest.mark.parametrize(
    "answer", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ANSWERS]
)
@pytest.mark.parametrize("place", range(8))
def test_a_bad_answer_at_any_request_ends_in_one_connection(
    studio: ScriptedStudio, connected: Callable[[], Connection], database: Database, answer: str, place: int
) -> None:
    count = iter(range(10**6))
    studio.decide = lambda method, path: ANSWERS[answer] if next(count) == place else None
    try:
        connected()
    except LabelStudioError as error:
        said = str(error)
        assert said.endswith(".")
        assert "Label Studio" in said or studio.url in said
        row = project(database)
        assert row is None or not row.is_connected
    studio.decide = lambda method, path: None

    made = connected()

    assert [backend["id"] for backend in studio.backends] == [made.ml_backend_id]
    assert [webhook["id"] for webhook in studio.webhooks] == [made.webhook_id]
    assert len(studio.views) == 1
    row = project(database)
    assert row is not None
    assert (row.is_connected, row.ml_backend_id, row.webhook_id) == (True, made.ml_backend_id, made.webhook_id)


def test_a_project_that_vanishes_on_the_way_is_not_called_connected(
    studio: ScriptedStudio, connected: Callable[[], Connection], database: Database
) -> None:
    def vanish(method: str, path: str) -> Reply | None:
        return Reply(404, b'{"detail": "Not found."}') if len(studio.asked) > 2 else None

    studio.decide = vanish

    with pytest.raises(LabelStudioError, match="this account cannot see it"):
        connected()

    row = project(database)
    assert row is not None
    assert not row.is_connected


@pytest.mark.parametrize("config", [None, "", "<View/>", "\x00", "<View>" * 3000])
def test_a_label_config_that_is_none_leaves_the_project_alone(
    studio: ScriptedStudio, connected: Callable[[], Connection], database: Database, config: Any
) -> None:
    studio.project["label_config"] = config

    with pytest.raises(LabelConfigError):
        connected()

    assert (studio.backends, studio.webhooks, project(database)) == ([], [], None)
