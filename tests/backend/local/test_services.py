import re
import sqlite3
import stat

import pytest

from captionloop.backend.local import services
from captionloop.backend.local.processes import sole_owner
from captionloop.errors import CaptionloopError
from captionloop.home import Home, write_json
from captionloop.settings import LOCAL_SERVER, Secret, Settings


def _settings(home: Home, **given: str) -> Settings:
    return Settings.read({"CAPTIONLOOP_HOME": str(home.root), **given})


def test_the_secrets_are_made_once_for_our_eyes_only(home: Home) -> None:
    first = services.ensure_secrets(home)
    assert services.ensure_secrets(home) == first == services.login(home)
    assert stat.S_IMODE(home.secrets.stat().st_mode) == 0o600
    assert re.fullmatch("[0-9a-f]{40}", first.token.reveal())
    assert re.fullmatch("[a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4}", first.password.reveal())


def test_two_homes_have_different_secrets(home: Home) -> None:
    other = Home(home.root / "other")
    one, two = services.ensure_secrets(home), services.ensure_secrets(other)
    assert one.password.reveal() != two.password.reveal()
    assert one.token.reveal() != two.token.reveal()


def test_with_lost_secrets_a_second_account_is_made_beside_the_first(home: Home) -> None:
    """Label Studio keeps the first account's password, which nobody knows any more."""
    home.label_studio.mkdir()
    connection = sqlite3.connect(home.label_studio / "label_studio.sqlite3")
    connection.executescript(
        "CREATE TABLE htx_user (email TEXT); INSERT INTO htx_user VALUES ('captionloop@localhost')"
    )
    connection.close()
    assert re.fullmatch(r"captionloop-[0-9a-f]{4}@localhost", services.ensure_secrets(home).email)


def test_without_an_up_only_redis_is_assumed(home: Home) -> None:
    settings = services.complete(_settings(home))
    assert settings.redis_url == f"unix://{home.redis_socket}"
    assert settings.label_studio_url is None
    assert settings.password is None


def test_services_that_an_up_started_are_found(home: Home) -> None:
    login = services.ensure_secrets(home)
    write_json(home.services, {"label_studio_url": "http://localhost:8181", "backend_url": "http://localhost:9191"})
    settings = services.complete(_settings(home))
    assert settings.label_studio_url == "http://localhost:8181"
    assert settings.label_studio_api_key == login.token
    assert settings.server_name == LOCAL_SERVER
    assert settings.backend_url == "http://localhost:9191"
    assert settings.user == "captionloop"
    assert settings.password is not None


def test_a_setting_of_a_person_wins(home: Home) -> None:
    services.ensure_secrets(home)
    write_json(home.services, {"label_studio_url": "http://localhost:8181", "backend_url": "http://localhost:9191"})
    given = {
        "REDIS_URL": "redis://elsewhere:6379/0",
        "LABEL_STUDIO_URL": "http://studio.example",
        "LABEL_STUDIO_API_KEY": "theirs",
        "CAPTIONLOOP_URL": "http://backend.example",
        "CAPTIONLOOP_USER": "me",
        "CAPTIONLOOP_PASSWORD": "mine",
    }
    assert services.complete(_settings(home, **given)) == _settings(home, **given)


def test_completing_twice_changes_nothing(home: Home) -> None:
    services.ensure_secrets(home)
    once = services.complete(_settings(home))
    assert services.complete(once) == once


def test_children_read_the_same_settings_from_their_environment(home: Home) -> None:
    services.ensure_secrets(home)
    settings = services.complete(_settings(home))
    assert Settings.read(settings.as_environment()) == settings


def test_the_password_does_not_show(home: Home) -> None:
    login = services.ensure_secrets(home)
    assert login.password.reveal() not in repr(login)
    assert isinstance(login.password, Secret)


@pytest.mark.parametrize("said_ready", [True, False])
def test_ready_is_what_a_living_up_says(home: Home, said_ready: bool) -> None:
    write_json(home.services, {"ready": said_ready})
    with sole_owner(home):
        assert services.is_ready(home) is said_ready


def test_the_notes_of_a_crashed_up_do_not_count(home: Home) -> None:
    write_json(home.services, {"ready": True, "pid": 4711})
    assert not services.is_ready(home)


def test_a_broken_secrets_file_is_named(home: Home) -> None:
    home.secrets.write_text("{")
    with pytest.raises(CaptionloopError, match=f"{home.secrets} is not JSON"):
        services.ensure_secrets(home)
