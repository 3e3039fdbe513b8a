"""The settings of a project as a form."""

from flask.testing import FlaskClient
from tests.support.room import post
from tests.support.versions import FinishedRun

from captionloop.backend.pages.project_settings import GROUPS
from captionloop.backend.pages.room import Room
from captionloop.model.active_learning.project_settings import ProjectSettings, settings_of
from captionloop.model.database import RunKind

_PAGE = "/projects/1/settings"


def test_every_setting_has_a_field() -> None:
    named = [field.name for fields in GROUPS.values() for field in fields]
    assert sorted(named) == sorted(ProjectSettings().to_dict())


def test_what_is_kept_is_what_was_typed(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    post(lead, _PAGE, strategy="uncertainty", train_after="40", train_at="", random_share="0.2")

    kept = settings_of(room.project(1))
    assert kept == ProjectSettings(strategy="uncertainty", train_after=40, random_share=0.2)


def test_what_cannot_be_used_is_said_beside_its_field_and_nothing_is_changed(lead: FlaskClient, room: Room) -> None:
    answer = post(lead, _PAGE, train_after="soon", train_window="30")

    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "train_after is &#39;soon&#39;; expected a whole number above 0, or off" in page
    assert 'value="30"' in page
    assert settings_of(room.project(1)) == ProjectSettings()


def test_another_order_is_written_by_a_run(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    post(lead, _PAGE, order="view")

    (run,) = room.runs.unfinished(finished.project.id)
    assert (run.kind, run.asked_by) == (RunKind.ANNOTATE, "lead: another order")


def test_a_reader_changes_nothing(reader: FlaskClient, room: Room) -> None:
    assert post(reader, _PAGE, order="view").status_code == 403
    assert settings_of(room.project(1)) == ProjectSettings()
