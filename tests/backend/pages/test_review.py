"""Reviewing in the browser: what the list shows, where a decision leads, and that keys are enough."""

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from tests.support.live_room import served, sign_in
from tests.support.room import USER, post
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.review import PAGE
from captionloop.backend.page_data.room import Room
from captionloop.model.database import Category, Correction, CorrectionState, Project, utc_now
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import CorrectionRecord

if TYPE_CHECKING:
    from playwright.sync_api import Page

TO_REVIEW = "/projects/1/review?words=changed&reviewed=no"
CHANGED = ("two <b>cats</b>", "a small cat", "a dog", "a cat on a beach", "there is a cat")


@pytest.fixture
def changed(room: Room, finished: FinishedRun) -> list[int]:
    """Corrections of the suggestion "a cat", in the order of the list: most words changed first, then newest."""
    image = finished.snapshot.examples[0].image
    with room.database.session() as session:
        for number, caption in enumerate(CHANGED, start=100):
            record = CorrectionRecord(
                annotation_id=number, task_id=number, state=CorrectionState.ACTIVE, captions=[caption],
                annotated_at=utc_now() + timedelta(minutes=number), updated_at=utc_now(), image_sha256=image,
                suggestion="a cat", suggestion_version=finished.version.version, suggestion_score=number / 1000,
                annotator="ada", lead_time_s=7.0,
            )  # fmt: skip
            corrections.upsert(session, finished.project.id, record)
        return list(
            session.scalars(
                select(Correction.id)
                .where(Correction.words_changed > 0)
                .order_by(Correction.words_changed.desc(), Correction.id.desc())
            )
        )


def stored(room: Room, number: int) -> Correction:
    with room.database.reading() as session:
        return session.get_one(Correction, number)


def text_of(client: FlaskClient, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_data(as_text=True)


def test_the_words_that_differ_are_marked_and_nothing_of_a_caption_is_markup(
    lead: FlaskClient, room: Room, changed: list[int]
) -> None:
    number = next(number for number in changed if "two" in stored(room, number).captions[0])

    shown = text_of(lead, f"/projects/1/review?item={number}")

    assert '<del dir="auto">a cat</del> <ins>two &lt;' in shown
    assert "<b>" not in shown
    assert '<dd dir="auto">two &lt;b&gt;cats&lt;/b&gt;</dd>' in shown


def test_the_tab_says_how_many_wait_and_leads_to_them(lead: FlaskClient, changed: list[int]) -> None:
    """The five, and the twelve of the finished run, which were written without a suggestion."""
    shown = text_of(lead, "/projects/1/")

    assert re.search(
        r'review\?words=corrected&amp;reviewed=no">Review<span id="waiting"> <span class="waiting">17<', shown
    )


def test_a_decision_is_kept_and_leads_to_the_next_of_the_same_list(
    lead: FlaskClient, room: Room, changed: list[int]
) -> None:
    answer = post(lead, f"/projects/1/review/{changed[0]}?words=changed&reviewed=no", page=TO_REVIEW, category="number")

    assert answer.request.args.to_dict() == {"words": "changed", "reviewed": "no", "item": str(changed[1])}
    assert "Number: " in answer.get_data(as_text=True)
    row = stored(room, changed[0])
    assert (row.category, row.left_out, row.reviewed_by) == (Category.NUMBER, False, USER)


def test_undo_takes_the_decision_back_and_shows_its_correction(
    lead: FlaskClient, room: Room, changed: list[int]
) -> None:
    post(lead, f"/projects/1/review/{changed[0]}", page="/projects/1/review", left_out="yes")
    assert stored(room, changed[0]).left_out

    answer = post(lead, "/projects/1/review/undo", page="/projects/1/review")

    assert answer.request.args["item"] == str(changed[0])
    row = stored(room, changed[0])
    assert (row.left_out, row.reviewed_by) == (False, None)


def test_after_the_last_row_of_a_page_comes_the_first_of_the_next(
    lead: FlaskClient, room: Room, changed: list[int]
) -> None:
    with room.database.reading() as session:
        numbers = list(session.scalars(select(Correction.id).order_by(Correction.annotated_at.desc())))

    answer = post(lead, f"/projects/1/review/{numbers[PAGE - 1]}?sort=newest", page="/projects/1/review", left_out="no")

    assert answer.request.args["item"] == str(numbers[PAGE])
    assert "Page 2 of 2" in answer.get_data(as_text=True)


def test_a_note_stays_at_its_correction(lead: FlaskClient, room: Room, changed: list[int]) -> None:
    answer = post(lead, f"/projects/1/review/{changed[0]}", page="/projects/1/review", note="<i>ask ada</i>")

    assert answer.request.args["item"] == str(changed[0])
    assert "&lt;i&gt;ask ada&lt;/i&gt;" in answer.get_data(as_text=True)
    assert stored(room, changed[0]).note == "<i>ask ada</i>"


def test_empty_fields_of_the_form_do_not_stay_in_the_address(lead: FlaskClient, changed: list[int]) -> None:
    answer = lead.get("/projects/1/review?text=&words=changed&score_from=")

    assert answer.headers["Location"] == "/projects/1/review?words=changed"


def test_the_task_opens_in_label_studio(lead: FlaskClient, room: Room, changed: list[int]) -> None:
    shown = text_of(lead, f"/projects/1/review?item={changed[0]}")

    task = stored(room, changed[0]).task_id
    assert f'href="http://localhost:9/projects/1/data?task={task}"' in html.unescape(shown)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("category=colour", "category is 'colour'"),
        ("score_from=high", "score_from is 'high'"),
        ("since=yesterday", "since is 'yesterday'"),
        ("format=xml", "no download as 'xml'"),
        ("item=99999", "no correction 99999"),
    ],
)
def test_an_address_that_means_nothing_is_told_so(lead: FlaskClient, argument: str, said: str) -> None:
    answer = lead.get(f"/projects/1/review?{argument}")

    assert answer.status_code in (400, 404)
    assert said in html.unescape(answer.get_data(as_text=True))


def test_the_filtered_rows_can_be_taken_away(lead: FlaskClient, changed: list[int]) -> None:
    rows = json.loads(text_of(lead, f"{TO_REVIEW}&format=json"))
    lines = list(csv.DictReader(io.StringIO(text_of(lead, f"{TO_REVIEW}&format=csv"))))

    assert [row["id"] for row in rows] == changed
    assert rows[0]["suggestion"] == "a cat"
    assert [line["captions"] for line in lines] == [row["captions"][0] for row in rows]


def test_an_empty_list_can_be_taken_away_too(lead: FlaskClient) -> None:
    assert json.loads(text_of(lead, f"{TO_REVIEW}&format=json")) == []


def test_where_annotators_are_not_shown_they_are_nowhere(lead: FlaskClient, room: Room, changed: list[int]) -> None:
    with room.database.session() as session:
        session.scalars(select(Project)).one().shows_annotators = False

    for address in (f"/projects/1/review?item={changed[0]}", f"{TO_REVIEW}&format=csv", "/projects/1/dataset"):
        assert not re.search(r"\bada\b", text_of(lead, address)), address


def test_a_reader_sees_all_and_is_offered_no_decision(reader: FlaskClient, changed: list[int]) -> None:
    shown = text_of(reader, TO_REVIEW)

    assert "a small cat" in shown
    assert 'data-key="x"' not in shown


def test_captions_that_were_written_without_a_suggestion_wait_for_review_and_imported_ones_do_not(
    lead: FlaskClient, room: Room, changed: list[int]
) -> None:
    with room.database.session() as session:
        some = session.scalars(select(Correction).where(Correction.words_changed.is_(None)).limit(2)).all()
        for row in some:
            row.task_id = None

    rows = json.loads(text_of(lead, "/projects/1/review?words=corrected&reviewed=no&format=json"))

    assert [row["words_changed"] for row in rows].count(None) == 10
    assert {row["id"] for row in rows} >= set(changed)


def test_nothing_to_review_says_so(lead: FlaskClient, room: Room) -> None:
    with room.database.session() as session:
        for row in session.scalars(select(Correction)):
            row.reviewed_at = utc_now()

    assert "Nothing waits for review" in text_of(lead, "/projects/1/review?words=corrected&reviewed=no")


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    with served(app) as found:
        yield found


def test_five_captions_are_reviewed_by_keyboard_alone(
    page: "Page", address: str, room: Room, changed: list[int]
) -> None:
    troubles: list[Any] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    sign_in(page, address)
    page.goto(address + TO_REVIEW)
    page.evaluate("window.was = 'never reloaded'")

    def press(key: str, says: str) -> None:
        page.keyboard.press(key)
        page.locator(".said", has_text=says).wait_for()

    press("4", "Number: ")
    press("x", "Left out of training: ")
    press("a", "Kept for training: ")
    press("5", "Wording: ")
    press("z", "Taken back.")
    page.keyboard.press("n")
    page.wait_for_function("document.activeElement.name === 'note'")
    page.keyboard.type("ask 1 more time")
    press("Enter", "Noted: ")
    press("1", "Subject: ")
    press("6", "Other: ")

    rows = [stored(room, number) for number in changed]
    assert [row.category for row in rows] == [Category.NUMBER, None, None, Category.SUBJECT, Category.OTHER]
    assert [row.left_out for row in rows] == [False, True, False, False, False]
    assert rows[3].note == "ask 1 more time"
    assert all(row.reviewed_by == USER for row in rows)
    page.goto(address + TO_REVIEW)
    page.get_by_text("No correction fits these filters").wait_for()
    assert troubles == []


def test_keys_go_through_the_list_and_the_address_names_the_item(
    page: "Page", address: str, changed: list[int]
) -> None:
    sign_in(page, address)
    page.goto(address + TO_REVIEW)
    page.evaluate("window.was = 'never reloaded'")

    page.keyboard.press("j")
    page.wait_for_url(f"**&item={changed[1]}")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**&item={changed[2]}")
    page.keyboard.press("k")
    page.wait_for_url(f"**&item={changed[1]}")

    assert page.evaluate("window.was") == "never reloaded"
    page.go_back()
    page.locator(f".rows a[aria-current][href$='item={changed[2]}']").wait_for()


def test_the_tab_counts_down_and_a_decision_keeps_the_focus_on_its_button(
    page: "Page", address: str, changed: list[int]
) -> None:
    sign_in(page, address)
    page.goto(address + TO_REVIEW)
    assert page.locator("#waiting").inner_text().split()[0] == "17"

    page.locator("#leave-out").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**&item={changed[1]}")
    page.wait_for_function("document.querySelector('#waiting').innerText.trim().startsWith('16')")

    assert page.evaluate("document.activeElement.id") == "leave-out"


def test_arrow_keys_scroll_a_long_caption_instead_of_leaving_it(
    page: "Page", address: str, room: Room, changed: list[int]
) -> None:
    with room.database.session() as session:
        session.get_one(Correction, changed[0]).captions = ["a very long caption " * 300]
    sign_in(page, address)
    page.goto(f"{address}/projects/1/review?item={changed[0]}")
    page.wait_for_load_state("load")

    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.wait_for_function("window.scrollY > 0")

    assert page.url.endswith(f"item={changed[0]}")


@pytest.mark.parametrize("width", [390, 1280])
def test_without_a_copy_of_the_picture_that_is_said_in_its_middle(
    page: "Page", address: str, room: Room, changed: list[int], width: int
) -> None:
    with room.database.session() as session:
        session.get_one(Correction, changed[0]).image_sha256 = None
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, address)
    page.goto(f"{address}/projects/1/review?item={changed[0]}")

    middles = page.evaluate("""() => {
        const text = document.createRange();
        const place = document.querySelector(".item p.picture");
        text.selectNodeContents(place);
        return [text, place, document.querySelector(".item")]
            .map(item => item.getBoundingClientRect()).map(box => (box.left + box.right) / 2);
    }""")
    assert max(middles) - min(middles) < 2
