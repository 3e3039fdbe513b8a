"""Captions in other scripts than Latin on the pages: each text has the direction of its own script."""

from collections.abc import Mapping

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page
from tests.support.corrections import correct
from tests.support.live_room import sign_in
from tests.support.room import post
from tests.support.room_pages import page_paths
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.model.database import Database, Project
from captionloop.model.evaluation.comparison_file import COMPARISON, write_comparison

ARABIC, HEBREW, CHINESE = "كلب بني يجري على BMW الشاطئ.", "כלב חום רץ", "一只棕色的狗在沙滩上奔跑。"
_PERSON = "ليلى@x.org"

# The innermost elements with right-to-left letters, fields included, that are laid out from left to right.
_WRONG_WAY = r"""() => {
  const rightToLeft = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/;
  const texts = (item) => [...item.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
  const own = (item) => texts(item).map((node) => node.data).join("");
  const written = (item) => item.matches("input, textarea") ? item.value : own(item);
  const firstStrong = (text) => (text.match(/\p{L}/u) ?? [""])[0];
  return [...document.querySelectorAll("main *, header *")]
    .filter((item) => item.checkVisibility() && rightToLeft.test(firstStrong(written(item))))
    .filter((item) => getComputedStyle(item).direction !== "rtl")
    .map((item) => `${item.tagName}.${item.className}: ${written(item)}`);
}"""


@pytest.fixture
def paths(finished: FinishedRun, room: Room, database: Database) -> Mapping[str, str]:
    images = list(finished.held_out)
    made = finished.version
    for number, caption in enumerate((ARABIC, HEBREW, CHINESE)):
        task = correct(
            database, finished.project, version=made.version, suggestion="a brown dog", caption=caption,
            image_sha256=images[number % len(images)], annotator=_PERSON,
        )  # fmt: skip
    with database.session() as session:
        session.get_one(Project, finished.project.id).title = "صور"
    references = {image: [ARABIC, HEBREW] for image in images}
    write_comparison(
        made.path / COMPARISON, champion=str(made.parent), references=references,
        champion_captions=dict.fromkeys(images, "a brown dog"), candidate_captions=dict.fromkeys(images, HEBREW),
        corpus=references.values(),
    )  # fmt: skip
    assert task
    found = page_paths(1, first=str(made.parent), second=made.version, item=13)
    return {
        **found,
        "search": f"/projects/1/review?text={ARABIC[:3]}",
        "dataset search": f"/projects/1/dataset?text={ARABIC[:3]}",
        "arabic": "/projects/1/review?item=13",
        "report": f"/projects/1/versions/{made.version}/report",
    }


def test_each_text_has_the_direction_of_its_script_on_every_page(
    page: Page, served: str, lead: FlaskClient, paths: Mapping[str, str]
) -> None:
    post(lead, "/projects/1/review/13", page="/projects/1/review", note="لماذا BMW؟")
    sign_in(page, served)

    wrong = {}
    for name, path in paths.items():
        page.goto(f"{served}{path}")
        wrong[name] = page.evaluate(_WRONG_WAY)

    assert {name: found for name, found in wrong.items() if found} == {}


def test_a_correction_reads_in_the_direction_of_what_the_person_wrote(
    page: Page, served: str, paths: Mapping[str, str]
) -> None:
    """What the model said stands before it, on the right, and keeps its own order."""
    sign_in(page, served)
    page.goto(f"{served}{paths['arabic']}")

    directions = {name: page.locator(name).first.evaluate("item => getComputedStyle(item).direction") for name in
                  (".merged", ".merged del", ".merged ins")}  # fmt: skip
    removed = page.locator(".merged del").first.bounding_box()
    added = page.locator(".merged ins").first.bounding_box()

    assert directions == {".merged": "rtl", ".merged del": "ltr", ".merged ins": "rtl"}
    assert removed
    assert added
    assert added["x"] < removed["x"]


def test_a_message_keeps_the_captions_order_within_english(lead: FlaskClient, paths: Mapping[str, str]) -> None:
    shown = post(lead, "/projects/1/review/13", page="/projects/1/review", left_out="yes").get_data(as_text=True)

    assert f"Left out of training: “\u2068{ARABIC}\u2069”" in shown


@pytest.mark.parametrize("path", ["compare", "report", "overview"])
def test_pages_whose_figures_count_by_character_say_so(
    lead: FlaskClient, finished: FinishedRun, database: Database, paths: Mapping[str, str], path: str
) -> None:
    references = {image: [CHINESE] for image in finished.held_out}
    write_comparison(
        finished.version.path / COMPARISON, champion=str(finished.version.parent), references=references,
        champion_captions=dict.fromkeys(references, "a dog"), candidate_captions=dict.fromkeys(references, CHINESE),
        corpus=references.values(),
    )  # fmt: skip

    shown = lead.get(paths[path], follow_redirects=True).get_data(as_text=True)

    assert "each character counts as a word" in shown
