import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support.corrections import correct
from tests.support.damage import damage
from tests.support.label_configs import label_config
from tests.support.models import add_project
from tests.support.scripted_studio import ScriptedStudio, scripted_studio
from tests.support.servers import LabelStudioServer
from tests.support.versions import FinishedRun

from captionloop.backend.health import doctor
from captionloop.backend.health.doctor import NOT_LOOKED_AT, Check, examine
from captionloop.backend.label_studio.controls import take_label_config
from captionloop.backend.local import services
from captionloop.backend.local.ports import free_port
from captionloop.home import Home
from captionloop.model.database import Database, Project
from captionloop.settings import OLDEST_LABEL_STUDIO, Settings

_NAMES = [
    "Label Studio", "Label Studio's version", "token", "project", "label config", "backend attached", "webhook",
    "images",
    "database", "versions",
    "Redis", "worker", "processes",
    "backend", "backend's password", "champion",
]  # fmt: skip


def _examine(home: Home, **given: str) -> dict[str, Check]:
    settings = Settings.read({"CAPTIONLOOP_HOME": str(home.root), "CAPTIONLOOP_PORT": str(free_port()), **given})
    return {check.name: check for check in examine(services.complete(settings))}


def test_where_nothing_runs_every_link_is_named_with_a_remedy(home: Home) -> None:
    checks = _examine(home)
    assert list(checks) == _NAMES
    assert not any(check.ok for check in checks.values())
    assert all(check.remedy for check in checks.values())


def test_without_a_label_studio_the_remedy_is_to_start_or_name_one(home: Home) -> None:
    check = _examine(home)["Label Studio"]
    assert check.remedy == "Run `captionloop up`, or set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY to use yours."


def test_a_label_studio_without_a_key_is_told_where_to_get_one(home: Home) -> None:
    check = _examine(home, LABEL_STUDIO_URL="http://localhost:1")["Label Studio"]
    assert check.message == "LABEL_STUDIO_API_KEY is not set"
    assert "http://localhost:1/user/account" in check.remedy


def test_a_part_behind_a_broken_link_is_not_checked(home: Home) -> None:
    checks = _examine(home)
    assert checks["token"].message == "not looked at"
    assert checks["token"].remedy == "First: Label Studio."
    assert checks["champion"].remedy == "First: backend."


def test_one_broken_link_does_not_hide_the_others(home: Home, database: Database, redis_url: str) -> None:
    checks = _examine(home, REDIS_URL=redis_url)
    assert checks["database"].ok
    assert checks["Redis"].ok
    assert checks["worker"].message == "none listens, so nothing is fine-tuned, synced or re-captioned"
    assert not checks["Label Studio"].ok


@pytest.mark.faults
def test_a_damaged_version_is_told_with_what_to_do(finished: FinishedRun, home: Home) -> None:
    finished.store.promote(finished.project.id, finished.version.version, reason="test")
    damage(finished.version.path / "model.safetensors", "bit flipped")

    check = _examine(home)["versions"]

    assert check.message.startswith(f"The file model.safetensors of version {finished.version.version} is damaged")
    assert "Let another version serve (`captionloop promote`), or put" in check.message


def test_a_refused_token_is_told_apart_from_a_server_that_is_away(
    home: Home, database: Database, label_studio_server: LabelStudioServer
) -> None:
    checks = _examine(home, LABEL_STUDIO_URL=label_studio_server.url, LABEL_STUDIO_API_KEY="0" * 40)
    assert checks["Label Studio"].ok
    assert not checks["token"].ok
    assert "Copy a new access token" in checks["token"].remedy


def test_a_project_that_nobody_connected_is_told_how(
    home: Home, database: Database, label_studio_server: LabelStudioServer
) -> None:
    given = {"LABEL_STUDIO_URL": label_studio_server.url, "LABEL_STUDIO_API_KEY": label_studio_server.token}
    checks = _examine(home, **given)
    assert checks["token"].ok
    assert checks["project"].remedy == "Connect one: `captionloop connect --project ID`."


@pytest.mark.parametrize("page", ["/projects/1/data", "/projects", "/user/account", "/api", "/some/where"])
def test_the_address_of_a_page_is_not_label_studios_own(
    home: Home, database: Database, label_studio_server: LabelStudioServer, page: str
) -> None:
    given = {"LABEL_STUDIO_URL": label_studio_server.url + page, "LABEL_STUDIO_API_KEY": label_studio_server.token}

    checks = _examine(home, **given)

    own = "with the path that it lives under" if page == "/some/where" else f": {label_studio_server.url}."
    assert not checks["Label Studio"].ok
    assert own in checks["Label Studio"].message
    assert checks["token"].message == NOT_LOOKED_AT


class TestTheLabelConfig:
    @pytest.fixture
    def studio(self) -> Iterator[ScriptedStudio]:
        with scripted_studio() as running:
            yield running

    @pytest.fixture
    def look(self, home: Home, database: Database, studio: ScriptedStudio) -> Callable[..., Check]:
        """At the label config of a project whose captions are in `caption`, once it has these text boxes."""
        project = add_project(database, server=studio.url)
        correct(database, project, caption="a cat", version="v1")

        def look(*boxes: str) -> Check:
            with database.session() as session:
                take_label_config(session, session.get_one(Project, project.id), label_config("title", "caption"))
            studio.project["label_config"] = label_config(*boxes)
            return _examine(home, LABEL_STUDIO_URL=studio.url, LABEL_STUDIO_API_KEY=studio.token)["label config"]

        return look

    def test_names_the_text_box_and_the_others(self, look: Callable[..., Check]) -> None:
        check = look("remarks", "title", "caption")
        assert check.ok
        assert check.message == (
            "captions go to <TextArea name='caption'>, images are in the field 'image'; other text boxes: 'remarks', "
            "'title'"
        )

    def test_says_that_it_was_renamed_with_how_to_confirm_it(self, look: Callable[..., Check]) -> None:
        check = look("title", "text")
        assert not check.ok
        assert "'text' came in its place" in check.message
        assert "captionloop project set control=text" in check.remedy

    def test_says_that_it_is_gone_with_the_choice(self, look: Callable[..., Check], database: Database) -> None:
        check = look("title")
        assert not check.ok
        assert "'caption', which captions went into, is gone" in check.message
        assert "captionloop project set control=NAME` (title)" in check.remedy
        with database.reading() as session:  # whoever looks changes nothing
            assert "caption" in session.scalars(select(Project.label_config)).one()


def test_a_label_studio_older_than_all_that_were_tried_is_told_to_be_upgraded(home: Home) -> None:
    with scripted_studio() as studio:
        studio.release = "1.10.1dev"
        checks = _examine(home, LABEL_STUDIO_URL=studio.url, LABEL_STUDIO_API_KEY=studio.token)
    check = checks["Label Studio's version"]
    assert check.message == f"1.10.1dev is older than {OLDEST_LABEL_STUDIO}, the oldest that Captionloop was tried with"
    assert check.remedy.startswith("Upgrade it: `pip install label-studio==")


def test_an_old_label_studio_is_looked_at_all_the_same(home: Home) -> None:
    with scripted_studio() as studio:
        studio.release = "1.10.1dev"
        checks = _examine(home, LABEL_STUDIO_URL=studio.url, LABEL_STUDIO_API_KEY=studio.token)
    assert checks["token"].ok


def test_the_oldest_label_studio_that_was_tried_is_old_enough(home: Home) -> None:
    with scripted_studio() as studio:
        studio.release = OLDEST_LABEL_STUDIO
        checks = _examine(home, LABEL_STUDIO_URL=studio.url, LABEL_STUDIO_API_KEY=studio.token)
    assert checks["Label Studio's version"].ok


def test_a_part_that_hangs_is_given_up_and_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for_ever = threading.Event()
    monkeypatch.setattr(doctor._Patient, "_database", lambda self: str(for_ever.wait(60)))
    settings = services.complete(Settings.read({"CAPTIONLOOP_HOME": str(home.root), "CAPTIONLOOP_PORT": "1"}))
    begun = time.monotonic()
    checks = {check.name: check for check in examine(settings, within_s=3)}
    assert time.monotonic() - begun < 50  # it would wait 60 s
    assert checks["database"].message == "no answer within 3 s"
    for_ever.set()


def test_a_surprise_is_a_broken_link_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def surprise(self: object) -> str:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(doctor._Patient, "_database", surprise)
    assert _examine(home)["database"].message == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (Check("Redis", True, "answers"), "✓ Redis: answers"),
        (Check("Redis", False, "no answer", "Start it."), "✗ Redis: no answer → Start it."),
    ],
)
def test_a_check_is_one_line(check: Check, line: str) -> None:
    assert check.line() == line


def test_a_check_is_plain_data_for_other_programs(tmp_path: Path) -> None:
    assert Check("Redis", True, "answers").to_dict() == {
        "name": "Redis",
        "ok": True,
        "message": "answers",
        "remedy": "",
    }
