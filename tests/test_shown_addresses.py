"""Addresses of the database and of Redis may hold passwords: they are shown without, wrong ones too."""

import json
from contextlib import closing
from typing import Any

import pytest

from captionloop.backend.cli import main
from captionloop.backend.local import services
from captionloop.errors import CaptionloopError, ServiceError, SettingsError
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.database import Database, shown_url
from captionloop.settings import Settings, without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pass@host:6379/0", "redis://host:6379/0"),
        ("redis://user:p@ss@host:6379", "redis://host:6379"),
        ("redis://host:6379", "redis://host:6379"),
        ("redis://host:6379/0?password=pass&db=1", "redis://host:6379/0?db=1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix:///run/redis.sock?password=pass", "unix:///run/redis.sock"),
    ],
)
def test_a_redis_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://user:pass@host/name", "postgresql+psycopg://user:***@host/name"),
        ("postgresql+psycopg://user@host/name?password=pass", "postgresql+psycopg://user@host/name"),
        ("sqlite:////srv/home/captionloop.db", "sqlite:////srv/home/captionloop.db"),
    ],
)
def test_a_database_is_shown_without_its_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:planted@127.0.0.1:port/name",
        "nodatabase://user:planted@127.0.0.1/name",
        "planted",
        "postgresql+psycopg://user:planted@127.0.0.1:1/name",
        "postgresql+psycopg://user@127.0.0.1:1/name?password=planted",
    ],
)
def test_a_database_that_cannot_be_used_is_said_to_without_its_password(url: str) -> None:
    with pytest.raises((SettingsError, ServiceError), match="CAPTIONLOOP_DATABASE_URL") as raised:
        Database(url).check()
    assert "planted" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:planted@127.0.0.1:port/0",
        "http://:planted@127.0.0.1:1/0",
        "redis://:planted@127.0.0.1:1/0",
        "redis://127.0.0.1:1/0?password=planted",
    ],
)
def test_a_redis_that_cannot_be_used_is_said_to_without_its_password(url: str, home: Home) -> None:
    with pytest.raises(CaptionloopError, match="REDIS_URL") as raised:
        _ask_redis({"CAPTIONLOOP_HOME": str(home.root), "REDIS_URL": url})
    assert "planted" not in str(raised.value)


def _ask_redis(environment: dict[str, str]) -> None:
    with closing(Context.open(Settings.read(environment))) as context:
        context.queue.check()


def test_settings_that_end_up_in_a_message_show_no_secret() -> None:
    variables = {
        "CAPTIONLOOP_PASSWORD": "planted",
        "CAPTIONLOOP_READER_PASSWORD": "planted",
        "LABEL_STUDIO_API_KEY": "planted",
        "CAPTIONLOOP_DATABASE_URL": "postgresql+psycopg://user:planted@host/name",
        "REDIS_URL": "redis://:planted@host",
    }
    assert "planted" not in repr(Settings.read(variables))


class TestStatus:
    def _asked(self, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
        with pytest.raises(SystemExit):
            main(["status", "--json"])
        found: dict[str, dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    def test_status_shows_what_up_made_and_nobody_else_knows(
        self, home: Home, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = services.ensure_secrets(home)
        found = self._asked(capsys)
        assert found["label_studio"]["token"] == made.token.reveal()
        assert found["backend"]["password"]

    def test_status_does_not_repeat_what_a_person_set(
        self, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        services.ensure_secrets(home)
        monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", "planted")
        monkeypatch.setenv("CAPTIONLOOP_PASSWORD", "planted")
        monkeypatch.setenv("REDIS_URL", "redis://:planted@127.0.0.1:1")
        found = self._asked(capsys)
        assert found["label_studio"]["token"] is found["backend"]["password"] is None
        assert "planted" not in json.dumps(found)
