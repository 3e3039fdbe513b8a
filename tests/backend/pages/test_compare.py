"""Two versions side by side, and blind verdicts about them."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Page, expect
from sqlalchemy import select
from tests.support.live_room import press, sign_in
from tests.support.room import post, signed_in
from tests.support.runs import attempt_at
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.compare import read_compare, read_pair
from captionloop.backend.page_data.room import Room
from captionloop.model.database import Better, Choice, Database, RunKind, RunState
from captionloop.model.evaluation.blind_verdicts import to_ask
from captionloop.model.evaluation.comparison_file import COMPARISON, ComparedImage, read_comparison

PAGE = "/projects/1/compare"


@pytest.fixture
def pair(finished: FinishedRun) -> dict[str, str]:
    """The base and the version made from it, which its run has compared."""
    return {"first": finished.base.name, "second": finished.version.version}


@pytest.fixture
def asked(finished: FinishedRun, pair: dict[str, str]) -> list[ComparedImage]:
    stored = read_comparison(finished.version.path / COMPARISON)
    assert stored is not None
    return to_ask(stored.images, pair["first"], pair["second"])


@pytest.fixture
def uncompared(finished: FinishedRun) -> None:
    """The run left no comparison, as older ones did not."""
    (finished.version.path / COMPARISON).unlink()


def text_of(client: FlaskClient, **arguments: str) -> str:
    answer = client.get(PAGE, query_string=arguments, follow_redirects=True)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_without_a_choice_the_newest_version_stands_beside_the_one_it_was_made_from(
    lead: FlaskClient, pair: dict[str, str]
) -> None:
    address = lead.get(PAGE).headers["Location"]

    assert {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()} == pair


def test_the_older_version_always_comes_first(lead: FlaskClient, pair: dict[str, str]) -> None:
    address = lead.get(PAGE, query_string={"first": pair["second"], "second": pair["first"], "order": "worst"})

    assert {name: values[0] for name, values in parse_qs(urlsplit(address.headers["Location"]).query).items()} == {
        **pair, "order": "worst",
    }  # fmt: skip


def test_each_picture_has_both_captions_and_the_persons(
    room: Room, finished: FinishedRun, pair: dict[str, str]
) -> None:
    shown = read_compare(room, read_pair(room, finished.project, **pair), order="difference", page=1)

    row = shown.rows[0]
    assert {found.image for found in shown.rows} == set(finished.held_out)
    assert (row.first.version, row.second.version, row.second.exact) == (pair["first"], pair["second"], True)
    assert {change.kind for change in row.first.changes} >= {"removed", "added"}
    assert (row.width, row.height, row.bar) == (64, 48, 1.0)


def test_captions_are_shown_as_text_whatever_is_in_them(lead: FlaskClient, pair: dict[str, str]) -> None:
    assert "<b>" not in text_of(lead, **pair)


def test_the_figures_come_with_their_intervals(lead: FlaskClient, pair: dict[str, str]) -> None:
    text = text_of(lead, **pair)

    assert re.search(r"Exactly right.*?0\.0\u00a0%.*?100\.0\u00a0%.*?\+100\.0\u00a0%", text, re.DOTALL)
    assert "by a paired bootstrap over the images" in text


def test_a_page_beyond_the_last_is_the_last(room: Room, finished: FinishedRun, pair: dict[str, str]) -> None:
    shown = read_compare(room, read_pair(room, finished.project, **pair), order="images", page=99)

    assert (shown.page, shown.pages) == (1, 1)


@pytest.mark.parametrize(("arguments", "said"), [({"order": "x"}, "no order"), ({"first": "v9"}, "no version")])
def test_a_version_or_order_that_does_not_exist_is_named(
    lead: FlaskClient, pair: dict[str, str], arguments: dict[str, str], said: str
) -> None:
    answer = lead.get(PAGE, query_string={**pair, **arguments})

    assert answer.status_code in (400, 404)
    assert said in answer.get_data(as_text=True)


def test_a_version_is_not_compared_with_itself(lead: FlaskClient, pair: dict[str, str]) -> None:
    assert lead.get(PAGE, query_string={"first": pair["first"], "second": pair["first"]}).status_code == 400


def test_the_tables_of_figures_and_images_can_be_downloaded(
    lead: FlaskClient, pair: dict[str, str], finished: FinishedRun
) -> None:
    figures = lead.get(PAGE, query_string={**pair, "table": "figures", "format": "json"}).get_json()
    images = lead.get(PAGE, query_string={**pair, "table": "images", "format": "json"}).get_json()

    assert figures[0]["figure"] == "score"
    assert {row["image"]: row["people"] for row in images} == {
        image: texts[0] for image, texts in finished.held_out.items()
    }


# Having them compared ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("uncompared")
def test_two_that_nobody_compared_are_compared_by_the_worker(
    lead: FlaskClient, room: Room, finished: FinishedRun, pair: dict[str, str]
) -> None:
    assert "were not compared yet" in text_of(lead, **pair)

    answer = post(lead, PAGE, page="/projects/1/", **pair)

    [run] = room.runs.active()
    assert (run.kind, run.settings) == (RunKind.COMPARE, {"pairs": [[pair["first"], pair["second"]]]})
    text = answer.get_data(as_text=True)
    assert f'data-live="/projects/1/live?run={run.id}"' in text
    assert "waits for the worker" in text


@pytest.mark.usefixtures("uncompared")
def test_why_the_last_try_failed_is_said(
    lead: FlaskClient, room: Room, finished: FinishedRun, pair: dict[str, str]
) -> None:
    run = room.request_comparison(finished.project, **pair, by="test")
    room.runs.start(run.id)
    attempt_at(room.runs, run.id).finish(RunState.FAILED, message="The disk is full.")

    assert "The last try failed.</span> The disk is full." in text_of(lead, **pair)


@pytest.mark.usefixtures("uncompared")
def test_a_reader_cannot_have_them_compared(reader: FlaskClient, pair: dict[str, str]) -> None:
    assert "lead&#39;s account" in text_of(reader, **pair) or "lead's account" in text_of(reader, **pair)


def test_opening_the_page_requests_no_comparison(lead: FlaskClient, room: Room, pair: dict[str, str]) -> None:
    text_of(lead, **pair)

    assert room.runs.active() == []


# Blind ---------------------------------------------------------------------------------------------------------------


def sides(text: str) -> tuple[str, str]:
    """The captions on the left and on the right."""
    found = re.findall(r'value="(?:left|right)".*?<span class="model" dir="auto">(.*?)</span>', text, re.DOTALL)
    assert len(found) == 2
    return found[0], found[1]


def choose(client: FlaskClient, pair: dict[str, str], image: str, side: str) -> str:
    answer = post(client, f"{PAGE}/choice", page="/projects/1/", **pair, image=image, side=side)
    assert answer.status_code == 200
    return str(answer.get_data(as_text=True))


def choose_captions_of_first(client: FlaskClient, pair: dict[str, str], image: ComparedImage) -> str:
    left, _ = sides(text_of(client, **pair, blind="1", image=image.image))
    return choose(client, pair, image.image, "left" if left == image.champion.caption else "right")


def verdicts(database: Database) -> dict[str, Better]:
    with database.reading() as session:
        return {row.image_sha256: row.better for row in session.scalars(select(Choice).order_by(Choice.id))}


def test_the_page_does_not_say_which_version_stands_where(lead: FlaskClient, pair: dict[str, str]) -> None:
    judging = text_of(lead, **pair, blind="1").partition('<section class="blind">')[2].partition("</section>")[0]

    assert judging.count(pair["first"]) == judging.count(pair["second"]) == 1  # what the form is about, in this order


def test_a_picture_keeps_its_sides(lead: FlaskClient, pair: dict[str, str], asked: list[ComparedImage]) -> None:
    looks = {sides(text_of(lead, **pair, blind="1", image=asked[0].image)) for _ in range(3)}

    assert len(looks) == 1


def test_the_sides_depend_on_the_servers_secret_key(
    app: Flask, lead: FlaskClient, pair: dict[str, str], asked: list[ComparedImage]
) -> None:
    looks = set()
    for number in range(20):
        app.secret_key = bytes([number]) * 32
        client = signed_in(app)
        looks.add(sides(text_of(client, **pair, blind="1", image=asked[0].image)))

    assert len(looks) == 2


def test_a_verdict_is_kept_for_the_version_that_stood_there(
    lead: FlaskClient, database: Database, pair: dict[str, str], asked: list[ComparedImage]
) -> None:
    for image in asked:
        choose_captions_of_first(lead, pair, image)

    assert verdicts(database) == {image.image: Better.FIRST for image in asked}


def test_after_a_verdict_comes_the_next_picture_and_at_last_the_tally(
    lead: FlaskClient, pair: dict[str, str], asked: list[ComparedImage]
) -> None:
    for done, image in enumerate(asked):
        text = text_of(lead, **pair, blind="1")
        assert f"{done} of {len(asked)} judged" in text
        assert image.image in text
        assert "better caption in" not in text
        choose_captions_of_first(lead, pair, image)

    text = text_of(lead, **pair, blind="1")
    assert f"All {len(asked)} pictures are judged" in text
    assert f"0 to {len(asked)}" in text


def test_the_last_verdict_can_be_changed(
    lead: FlaskClient, database: Database, pair: dict[str, str], asked: list[ComparedImage]
) -> None:
    text = choose(lead, pair, asked[0].image, "same")
    address = re.search(r'href="([^"]+)" data-key="z"', text)
    assert address
    assert asked[0].image in address[1]

    choose_captions_of_first(lead, pair, asked[0])

    assert verdicts(database) == {asked[0].image: Better.FIRST}


def test_only_the_lead_judges(reader: FlaskClient, pair: dict[str, str]) -> None:
    text = text_of(reader, **pair, blind="1")

    assert "Nobody has judged these two yet" in text
    assert 'name="side"' not in text


@pytest.mark.parametrize(("image", "side", "status"), [("0" * 64, "left", 404), (None, "up", 400)])
def test_a_verdict_about_a_picture_that_is_not_asked_about_is_refused(
    lead: FlaskClient, pair: dict[str, str], asked: list[ComparedImage], image: str | None, side: str, status: int
) -> None:
    fields = {**pair, "image": image or asked[0].image, "side": side}

    assert post(lead, f"{PAGE}/choice", page="/projects/1/", **fields).status_code == status


def test_judged_by_keyboard_alone(
    page: Page, served: str, database: Database, pair: dict[str, str], asked: list[ComparedImage]
) -> None:
    sign_in(page, served)
    page.goto(f"{served}{PAGE}")
    expect(page.locator("article.compared-image")).to_have_count(len(asked))
    press(page, "b")
    page.wait_for_url("**blind=1**")
    page.wait_for_load_state("load")
    page.evaluate("window.sameVisit = true")
    # From here on the script listens all the time: a key may follow as soon as there is something to judge.
    for number, key in enumerate(["ArrowLeft", *["ArrowDown"] * (len(asked) - 1)]):
        expect(page.locator("main")).to_contain_text(f"{number} of {len(asked)} judged")
        page.keyboard.press(key)
    expect(page.locator("h1")).to_contain_text("are judged")

    page.keyboard.press("z")
    expect(page.locator(".choice.chosen")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_contain_text("are judged")
    assert page.evaluate("window.sameVisit")

    found = list(verdicts(database).values())
    assert (len(found), sum(better is not Better.SAME for better in found)) == (len(asked), min(2, len(asked)))


def test_on_a_phone_the_verdict_is_in_sight(page: Page, served: str, pair: dict[str, str]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    sign_in(page, served)
    page.goto(f"{served}{PAGE}")

    verdict = page.locator("td.verdict").first
    verdict.scroll_into_view_if_needed()
    box = verdict.bounding_box()
    assert box
    assert (box["x"] >= 0, box["x"] + box["width"] <= 390) == (True, True)
    name = page.locator("table.compared tbody th").first.bounding_box()
    assert name
    assert abs(name["y"] - box["y"]) < 12  # beside the figure's name, before the numbers


def test_which_version_is_better_is_said_in_a_sentence(lead: FlaskClient, pair: dict[str, str]) -> None:
    assert re.search(rf"{pair['second']} is (probably )?better|too close to call", text_of(lead, **pair))
