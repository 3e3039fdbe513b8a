"""The settings of a project as a form."""

import pytest
from flask.testing import FlaskClient
from tests.support.label_configs import label_config
from tests.support.room import post
from tests.support.versions import FinishedRun

from captionloop.backend.label_studio.controls import take_label_config
from captionloop.backend.page_data.room import Room
from captionloop.backend.pages.project_settings import GROUPS, OTHER_BOXES
from captionloop.model.active_learning.project_settings import ProjectSettings, settings_of
from captionloop.model.database import Database, Project, RunKind

_PAGE = "/projects/1/settings"


def test_every_setting_has_a_field() -> None:
    named = [field.name for fields in (*GROUPS.values(), OTHER_BOXES) for field in fields]
    assert sorted(named) == sorted(ProjectSettings().to_dict())


def test_other_text_boxes_are_chosen_where_there_are_several(
    lead: FlaskClient, room: Room, finished: FinishedRun, database: Database
) -> None:
    assert "Other text boxes" not in lead.get(_PAGE).get_data(as_text=True)
    with database.session() as session:
        take_label_config(session, session.get_one(Project, finished.project.id), label_config("title", "caption"))
    assert "Other text boxes" in lead.get(_PAGE).get_data(as_text=True)
    post(lead, _PAGE, other_boxes=" title ", empty_boxes="caption")
    assert settings_of(room.project(1)) == ProjectSettings(other_boxes=("title",), empty_boxes="caption")
    assert 'value="title"' in lead.get(_PAGE).get_data(as_text=True)
    refused = post(lead, _PAGE, other_boxes="subtitle").get_data(as_text=True)
    assert "has &#39;subtitle&#39;; the label config&#39;s text boxes are title, caption" in refused
    assert settings_of(room.project(1)).other_boxes == ("title",)


def test_typed_settings_are_kept(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    post(lead, _PAGE, strategy="uncertainty", train_after="40", train_at="", random_share="0.2")

    kept = settings_of(room.project(1))
    assert kept == ProjectSettings(strategy="uncertainty", train_after=40, random_share=0.2)


def test_a_wrong_setting_is_said_beside_its_field_and_nothing_is_changed(lead: FlaskClient, room: Room) -> None:
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


class TestTheTextBox:
    @pytest.fixture(autouse=True)
    def boxes(self, finished: FinishedRun, database: Database) -> None:
        """Two, of which the captions are in `caption`."""
        with database.session() as session:
            row = session.get_one(Project, finished.project.id)
            take_label_config(session, row, label_config("title", "caption"))

    def test_is_shown_among_those_there_are(self, lead: FlaskClient) -> None:
        page = lead.get(_PAGE).get_data(as_text=True)
        assert '<option value="caption" selected>caption</option>' in page
        assert '<option value="title">title</option>' in page

    def test_another_one_is_chosen_and_what_is_in_it_is_read(self, lead: FlaskClient, room: Room) -> None:
        post(lead, _PAGE, control="title", train_after="40")

        assert room.project(1).control == "title"
        assert settings_of(room.project(1)).train_after == 40
        assert not room.context.queue.request_sync(room.project(1).id)  # one is asked for

    def test_the_text_box_stays_when_another_setting_is_changed(self, lead: FlaskClient, room: Room) -> None:
        post(lead, _PAGE, control="caption", train_after="40")
        assert (room.project(1).control, room.project(1).control_history["rejected"]) == ("caption", [])

    def test_a_text_box_that_is_gone_since_the_page_was_opened_is_refused(self, lead: FlaskClient, room: Room) -> None:
        answer = post(lead, _PAGE, control="subject")
        assert answer.status_code == 422
        assert "The label config has no text box &#39;subject&#39; any more." in answer.get_data(as_text=True)
        assert room.project(1).control == "caption"

    def test_nobody_chooses_one_by_the_way(
        self, lead: FlaskClient, room: Room, finished: FinishedRun, database: Database
    ) -> None:
        with database.session() as session:
            row = session.get_one(Project, finished.project.id)
            take_label_config(session, row, label_config("headline", "text"))
        page = lead.get(_PAGE).get_data(as_text=True)
        assert '<option value="" selected>to be chosen</option>' in page

        post(lead, _PAGE, control="", train_after="40")

        assert room.project(1).control == "caption"
        assert settings_of(room.project(1)).train_after == 40
