"""What Label Studio is answered when a picture cannot be read: it asks again where that may pass, else it need not."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from tests.support.annotator import png
from tests.support.contexts import NO_REDIS, opened_context
from tests.support.models import tiny_base
from tests.support.picture_server import pictures_answered
from tests.support.pictures import picture
from tests.support.scripted_studio import TOKEN, Reply, scripted_studio
from tests.support.service import client_of, predict

from captionloop.backend.label_studio import image_source
from captionloop.backend.local.ports import free_port
from captionloop.backend.server.serve import build_service
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.database import Database, Suggestion
from captionloop.settings import Settings

Entry = dict[str, Any]


def is_stored(entry: Entry) -> bool:
    """Whether Label Studio makes a prediction of it; one without a caption is shown as an empty suggestion for ever."""
    return "result" in entry


@contextmanager
def client_on(context: Context) -> Iterator[FlaskClient]:
    with closing(build_service(context)) as service:
        context.database.migrate()
        yield client_of(service)


@pytest.fixture
def base(tmp_path: Path) -> str:
    return tiny_base(tmp_path / "base").source


@pytest.fixture
def client(database: Database, home: Home, base: str) -> Iterator[FlaskClient]:
    """A backend that may read pictures of this machine."""
    with (
        opened_context(
            database, home, url="http://localhost:9", token=TOKEN, CAPTIONLOOP_MODEL=base,
            CAPTIONLOOP_IMAGE_HOSTS="127.0.0.1",
        ) as context,
        client_on(context) as client,
    ):  # fmt: skip
        yield client


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_is_busy_or_fails_is_asked_again(client: FlaskClient, database: Database, status: int) -> None:
    with pictures_answered(Reply(status)) as address:
        failed, good = predict(client, address, picture("red"))

    assert (is_stored(failed), is_stored(good)) == (False, True)
    assert f"status {status}" in failed["reason"]
    with database.reading() as session:
        assert session.query(Suggestion).where(Suggestion.reason.is_not(None)).count() == 1


def test_a_server_that_is_away_is_asked_again(client: FlaskClient) -> None:
    (failed,) = predict(client, f"http://127.0.0.1:{free_port()}/a.png")
    assert not is_stored(failed)
    assert "cannot be reached" in failed["reason"]


def test_a_server_that_does_not_answer_in_time_is_asked_again(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_source, "_READ_TIMEOUT_S", 0.2)
    with pictures_answered(Reply(), hangs=threading.Event()) as address:
        (failed,) = predict(client, address)
    assert not is_stored(failed)


@pytest.mark.parametrize("reply", [Reply(404), Reply(410), Reply(200, b"no picture")])
def test_a_picture_that_is_gone_or_none_is_not_asked_for_again(client: FlaskClient, reply: Reply) -> None:
    with pictures_answered(reply) as address:
        (failed,) = predict(client, address)
    assert failed["result"] == []


def test_an_uploaded_picture_is_asked_for_again_once_label_studio_accepts_the_token(
    database: Database, home: Home, base: str
) -> None:
    with (
        scripted_studio(lambda method, path: Reply(401)) as studio,
        opened_context(database, home, url=studio.url, token="of-yesterday", CAPTIONLOOP_MODEL=base) as context,
        client_on(context) as client,
    ):
        (failed,) = predict(client, "/data/upload/1/a.png")

    assert not is_stored(failed)
    assert "LABEL_STUDIO_API_KEY" in failed["reason"]


class TestWithoutALabelStudioThatIsKnown:
    @pytest.fixture(params=[{}, {"LABEL_STUDIO_URL": "http://localhost:9"}], ids=["nothing is set", "no token is"])
    def client(
        self, request: pytest.FixtureRequest, database: Database, home: Home, base: str
    ) -> Iterator[FlaskClient]:
        settings = Settings.read(
            {
                "CAPTIONLOOP_HOME": str(home.root), "CAPTIONLOOP_IMAGE_HOSTS": "127.0.0.1", "CAPTIONLOOP_MODEL": base,
                "REDIS_URL": NO_REDIS, **request.param,
            }
        )  # fmt: skip
        with closing(Context.open(settings)) as context, client_on(context) as client:
            yield client

    def test_pictures_that_need_none_are_captioned_and_the_others_get_the_reason(self, client: FlaskClient) -> None:
        inline, uploaded, stored, none = predict(
            client, picture("red"), "/data/upload/1/a.png", "s3://bucket/a.png", "file:///etc/passwd"
        )

        assert inline["result"][0]["value"]["text"]
        for entry in (uploaded, stored):
            assert not is_stored(entry)
            assert "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY" in entry["reason"]
        assert none["result"] == []

    def test_a_picture_on_another_server_is_captioned(self, client: FlaskClient) -> None:
        with pictures_answered(Reply(200, png())) as address:
            (found,) = predict(client, address)
        assert found["result"][0]["value"]["text"]
