"""The dataset page: problems first, decisions by one click, figures that can be switched off."""

import csv
import html
import io
import json
import re
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from tests.support.live_room import served, sign_in
from tests.support.room import app_of, post
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.dataset import PAGE
from captionloop.backend.page_data.room import Room
from captionloop.home import Home
from captionloop.model.database import Correction, CorrectionState, Dismissal, Project, utc_now
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import CorrectionRecord
from captionloop.model.dataset.task_notes import keep_note

if TYPE_CHECKING:
    from playwright.sync_api import Page

DATASET = "/projects/1/dataset"
_ALL_FINE = "Nothing of this kind is left to decide"


def add(room: Room, finished: FinishedRun, number: int, caption: str, **fields: Any) -> int:
    values: dict[str, Any] = {
        "annotation_id": number,
        "task_id": number,
        "state": CorrectionState.ACTIVE,
        "captions": [caption],
        "annotated_at": utc_now() + timedelta(minutes=number),
        "updated_at": utc_now(),
        "image_sha256": finished.snapshot.examples[0].image,
        "annotator": "ada",
        "lead_time_s": 7.0,
    }
    with room.database.session() as session:
        corrections.upsert(session, finished.project.id, CorrectionRecord(**values | fields))
        return session.scalars(select(Correction.id).where(Correction.annotation_id == number)).one()


def text_of(client: FlaskClient, address: str = DATASET) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return html.unescape(answer.get_data(as_text=True))


def test_what_people_say_while_they_caption_stands_there(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    with room.database.session() as session:
        keep_note(session, finished.project.id, 7, "ada@example.org", text="is it <b>one</b> ship?")
        keep_note(session, finished.project.id, 8, "bo@example.org", is_unclear=True)
        keep_note(session, finished.project.id, 9, "bo@example.org", text="")

    shown = text_of(lead).partition("What people say")[2]
    assert [f"Task {task} ↗" in shown for task in (7, 8, 9)] == [True, True, False]
    assert "is it <b>one</b> ship?" in shown  # as text: what was read is unescaped
    assert "ada@example.org" in shown

    post(lead, f"{DATASET}/annotators", page=DATASET, shows="no")
    assert "ada@example.org" not in text_of(lead)


def test_every_correction_is_in_the_gallery_with_its_split(lead: FlaskClient, finished: FinishedRun) -> None:
    shown = text_of(lead)

    assert shown.count('<li class="card">') == 12
    assert shown.count('<span class="tag attention">held out</span>') == len(finished.held_out)


@pytest.mark.parametrize(
    ("caption", "kind"), [("asdf", "test"), ("éàü" * 400, "cannot-be-written")]
)  # fmt: skip
def test_a_problem_is_listed_and_gone_when_it_is_left_out(
    lead: FlaskClient, room: Room, finished: FinishedRun, caption: str, kind: str
) -> None:
    number = add(room, finished, 100, caption)
    assert caption in text_of(lead, f"{DATASET}?problem={kind}")

    answer = post(lead, f"{DATASET}/{number}?problem={kind}", page=DATASET, left_out="yes")

    assert answer.request.args.to_dict() == {"problem": kind}
    assert caption not in text_of(lead, f"{DATASET}?problem={kind}")
    assert caption in text_of(lead, f"{DATASET}?state=left-out")


def test_a_caption_in_another_language_is_no_problem(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    caption = "маленькая кошка 🐈"
    add(room, finished, 100, caption)

    assert caption in text_of(lead)
    assert caption not in text_of(lead, f"{DATASET}?problem=cannot-be-written")


def test_a_left_out_correction_can_be_used_again(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    number = add(room, finished, 100, "asdf")
    post(lead, f"{DATASET}/{number}", page=DATASET, left_out="yes")

    post(lead, f"{DATASET}/{number}?state=left-out", page=DATASET, left_out="no")

    with room.database.reading() as session:
        assert not session.get_one(Correction, number).left_out


def test_a_problem_that_is_none_is_not_shown_again_until_it_is_asked_for(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    number = add(room, finished, 100, "asdf")
    post(lead, f"{DATASET}/dismissals", page=DATASET, kind="test", subject=str(number))
    assert _ALL_FINE in text_of(lead, f"{DATASET}?problem=test")

    with room.database.reading() as session:
        dismissal = session.scalars(select(Dismissal)).one()
    post(lead, f"{DATASET}/dismissals/{dismissal.id}/take-back", page=DATASET)

    assert "asdf" in text_of(lead, f"{DATASET}?problem=test")


def test_annotators_who_disagree_stand_side_by_side(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    add(room, finished, 100, "two people ride bicycles")
    add(room, finished, 101, "an empty kitchen", annotator="bob")

    shown = text_of(lead, f"{DATASET}?problem=disagreement")

    assert "1 to decide" in shown
    assert "two people ride bicycles" in shown
    assert "an empty kitchen" in shown


def test_a_picture_whose_file_is_gone_is_a_problem(lead: FlaskClient, finished: FinishedRun, home: Home) -> None:
    home.image(finished.snapshot.examples[0].image).unlink()

    assert "1 to decide" in text_of(lead, f"{DATASET}?problem=picture-gone")


def test_without_problems_none_are_shown(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    shown = text_of(lead, f"{DATASET}?problem=same-picture")

    assert _ALL_FINE in shown
    assert "looks like the same picture" not in text_of(lead)


def test_annotators_figures_can_be_switched_off_and_on(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    add(room, finished, 100, "a cat", suggestion="a dog")
    assert '<th scope="row"><bdi>ada</bdi></th><td>1</td><td>7 s</td><td>100\u00a0%</td>' in text_of(lead)

    answer = post(lead, f"{DATASET}/annotators", page=DATASET, shows="no")

    assert not re.search(r"\bada\b", answer.get_data(as_text=True))
    assert "ada" not in text_of(lead, f"{DATASET}?table=annotators&format=csv")
    post(lead, f"{DATASET}/annotators", page=DATASET, shows="yes")
    with room.database.reading() as session:
        assert session.scalars(select(Project)).one().shows_annotators


def test_the_filtered_rows_can_be_taken_away(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    add(room, finished, 100, "asdf")

    rows = json.loads(lead.get(f"{DATASET}?problem=test&format=json").get_data(as_text=True))
    held_out = lead.get(f"{DATASET}?split=held-out&format=csv").get_data(as_text=True)

    assert [(row["captions"], row["state"]) for row in rows] == [(["asdf"], "teaching")]
    assert {row["split"] for row in csv.DictReader(io.StringIO(held_out))} == {"held-out"}


def test_a_reader_is_offered_no_decision(reader: FlaskClient, room: Room, finished: FinishedRun) -> None:
    add(room, finished, 100, "asdf")

    shown = text_of(reader)

    assert "asdf" in shown
    assert "Leave out" not in shown
    assert "Hide annotators" not in shown


@pytest.mark.parametrize("argument", ["state=gone", "split=test", "problem=none", "format=xml"])
def test_an_address_that_means_nothing_is_told_so(lead: FlaskClient, argument: str) -> None:
    assert lead.get(f"{DATASET}?{argument}").status_code == 400


def test_in_a_browser_what_is_found_later_shows_up_by_itself(page: "Page", room: Room, finished: FinishedRun) -> None:
    add(room, finished, 100, "asdf")
    hasty = replace(room, patience_s=0)
    with closing(hasty), served(app_of(hasty)) as address:
        sign_in(page, address)
        page.goto(address + DATASET)

        page.locator(".problems li", has_text="asdf").wait_for()
        page.locator(".still-looking").wait_for(state="detached")


def test_in_a_browser_pages_turn_by_key_and_a_decision_stays_in_place(
    page: "Page", app: Flask, room: Room, finished: FinishedRun
) -> None:
    for number in range(100, 100 + PAGE):
        add(room, finished, number, "asdf" if number == 100 else "a cat")
    with served(app) as address:
        sign_in(page, address)
        page.goto(address + DATASET)
        page.evaluate("window.was = 'never reloaded'")

        page.keyboard.press("j")
        page.get_by_text("Page 2 of 2").wait_for()
        page.keyboard.press("k")
        page.get_by_text("Page 1 of 2").wait_for()
        page.locator(".problems li", has_text="asdf").get_by_text("Leave out").click()
        page.get_by_text("Left out of training.").wait_for()

        assert page.evaluate("window.was") == "never reloaded"
        assert page.locator(".problems li", has_text="asdf").count() == 0


def test_a_text_is_found_on_the_page_in_the_file_and_by_the_api(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    add(room, finished, 200, "Eine Katze auf der Straße")

    assert text_of(lead, f"{DATASET}?text=STRASSE").count('<li class="card">') == 1
    assert [row["captions"] for row in json.loads(text_of(lead, f"{DATASET}?text=strasse&format=json"))] == [
        ["Eine Katze auf der Straße"]
    ]
    assert lead.get("/api/v1/projects/1/dataset?text=strasse").get_json()["total"] == 1
    assert lead.get(f"{DATASET}?text={'x' * 1001}").status_code == 400
    assert lead.get(f"/api/v1/projects/1/dataset?text={'x' * 1001}").status_code == 400
