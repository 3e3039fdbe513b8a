"""Styles on the pages: the overview says what changed and offers what to do; a page shows and changes them."""

import re
from collections.abc import Callable
from datetime import timedelta
from itertools import islice

import pytest
from benchmarks.style_changes import History
from flask.testing import FlaskClient
from tests.backend.pages.test_overview import text_of
from tests.support.corrections import correct
from tests.support.room import post
from tests.support.styles import serve_styles
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.model.database import Correction, Database, RunKind, utc_now
from captionloop.model.dataset.styles import StyleInfo, styles_of
from captionloop.model.starter.scenes import Scene, caption

OVERVIEW, STYLES = "/projects/1/", "/projects/1/styles"
SAID = "People write otherwise than before"


def gigantic(scene: Scene) -> str:
    return caption(scene).replace("large", "gigantic")


@pytest.fixture
def write(database: Database, finished: FinishedRun) -> Callable[..., None]:
    """Corrections in the one manner or the other, of a history of 60 in the old one and 80 in the new."""
    pairs = list(History((caption, gigantic), lambda number, rng: False, 0).pairs())
    pairs = [*pairs[:60], *pairs[120:200]]
    begin = utc_now() - timedelta(days=2)

    def write(first: int, last: int, annotator: str | None = None) -> None:
        for number, pair in islice(enumerate(pairs), first, last):
            at = begin + timedelta(seconds=number)
            correct(
                database, finished.project, version=finished.version.version, suggestion=pair.suggestion,
                caption=pair.caption, at=at, annotator=annotator,
            )  # fmt: skip

    return write


def styles(database: Database, finished: FinishedRun) -> dict[str | None, StyleInfo]:
    with database.reading() as session:
        return {style.name: style for style in styles_of(session, finished.project.id)}


def test_a_change_of_manner_is_said_and_followed_with_one_press(
    lead: FlaskClient, write: Callable[..., None], database: Database, finished: FinishedRun
) -> None:
    write(0, 60)
    assert SAID not in text_of(lead)
    write(60, 90)
    page = lead.get(OVERVIEW).get_data(as_text=True)
    (times,) = re.findall(r"&#39;large&#39; is written &#39;gigantic&#39;, (\d+) of \1 times", page)
    assert re.search(r"<del[^>]*>[^<]*large.*?<ins>[^<]*gigantic", page)
    name, first = re.search(r'name="name" [^>]*value="([^"]+)"', page), re.search(r'correction" value="(\d+)"', page)
    assert name is not None
    assert first is not None

    answer = post(lead, f"{STYLES}/begin", name=name[1], from_correction=first[1], back=OVERVIEW)

    assert f"{name[1]} has begun, with" in answer.get_data(as_text=True)
    begun = styles(database, finished)[name[1]]
    assert begun.is_current
    assert begun.corrections >= int(times)
    assert SAID not in text_of(lead)


def test_mistakes_are_shown_by_review_and_are_no_news_once_they_are_left_out(
    lead: FlaskClient, write: Callable[..., None], database: Database
) -> None:
    write(0, 90)
    page = lead.get(OVERVIEW).get_data(as_text=True)
    link = re.search(r'href="([^"]+)">These are mistakes', page)
    assert link
    shown = text_of(lead, link[1].replace("&amp;", "&"))
    with database.session() as session:
        wrong = session.query(Correction).filter(Correction.search_text.contains("\n"), Correction.words_changed > 0)
        mistakes = [row for row in wrong if "gigantic" in row.captions[0]]
        assert f"{len(mistakes)} (" in shown
        for row in mistakes:
            row.left_out = True
    assert SAID not in text_of(lead)


def test_not_now_lasts_until_more_comes(lead: FlaskClient, write: Callable[..., None]) -> None:
    write(0, 75)
    assert SAID in text_of(lead)
    post(lead, f"{STYLES}/not-now", back=OVERVIEW)
    assert SAID not in text_of(lead)
    write(75, 80)
    assert SAID not in text_of(lead)
    write(80, 140)
    assert SAID in text_of(lead)


def test_one_annotator_of_several_is_named(
    lead: FlaskClient, write: Callable[..., None], database: Database, finished: FinishedRun
) -> None:
    write(0, 60, annotator="ada@example.org")
    write(60, 90, annotator="bob@example.org")
    assert "all by" not in text_of(lead)  # Ada has corrected nothing since
    correct(database, finished.project, version=finished.version.version, annotator="ada@example.org")
    assert ", all by bob@example.org" in text_of(lead)


def test_a_reader_sees_the_news_and_decides_nothing(reader: FlaskClient, write: Callable[..., None]) -> None:
    write(0, 90)
    page = text_of(reader)
    assert SAID in page
    assert "Only the lead decides" in page
    assert post(reader, f"{STYLES}/begin", name="mine").status_code == 403


def test_styles_are_begun_moved_renamed_and_ended(
    lead: FlaskClient, write: Callable[..., None], database: Database, finished: FinishedRun
) -> None:
    write(0, 3)
    since = (utc_now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    assert "British has begun, with" in post(
        lead, f"{STYLES}/begin", name="British", since=since, language="English"
    ).get_data(as_text=True)
    with database.reading() as session:
        numbers = [str(row.id) for row in session.query(Correction).order_by(Correction.id)]
    to = str(styles(database, finished)["British"].id)
    assert "Moved 2 corrections to British" in post(
        lead, f"{STYLES}/move", numbers=", ".join(numbers[-2:]), to=to
    ).get_data(as_text=True)
    assert "British is called Old now" in post(lead, f"{STYLES}/rename", name="British", to="Old").get_data(
        as_text=True
    )
    shown = text_of(lead, STYLES)
    assert "Old current" in shown
    assert "not taught to" in shown
    in_it = styles(database, finished)["Old"].corrections
    assert text_of(lead, f"/projects/1/review?style={to}").startswith(f"{in_it} (")
    assert "in the style Old" in text_of(lead, f"/projects/1/review?style={to}")
    assert "Old has ended; the style without a name is current again" in post(
        lead, f"{STYLES}/end", name="Old"
    ).get_data(as_text=True)


def test_figures_name_the_style_that_they_are_in(lead: FlaskClient, finished: FinishedRun) -> None:
    pages = ("versions", f"versions/{finished.version.version}")
    assert not any("in the style" in text_of(lead, f"/projects/1/{page}") for page in pages)
    base = finished.base.source
    made = serve_styles(finished.store, finished.project, base, own="shouted", metrics=finished.version.metrics)
    for page in ("versions", f"versions/{made}", ""):
        assert "in the style shouted" in text_of(lead, f"/projects/1/{page}"), page


@pytest.mark.parametrize(
    ("action", "fields", "said"),
    [
        ("begin", {"name": ""}, "A style cannot be called"),
        ("begin", {"name": "x" * 61}, "A style cannot be called"),
        ("begin", {"name": "Old"}, "has a style &#39;Old&#39; already"),
        ("begin", {"name": "new", "since": "2999-01-01T00:00"}, "A style cannot begin on 2999-01-01"),
        ("begin", {"name": "new", "from_correction": "2000000000"}, "There is no correction 2000000000"),
        ("rename", {"name": "none", "to": "x"}, "There is no style &#39;none&#39;"),
        ("rename", {"name": "shouted", "to": "x"}, "was taught the style &#39;shouted&#39;"),
        ("end", {"name": "none"}, "There is no style &#39;none&#39;"),
        ("move", {"numbers": "", "to": "0"}, "No correction was named"),
        ("move", {"numbers": "7777777", "to": "0"}, "There is no correction 7777777"),
        ("move", {"numbers": "1", "to": "99"}, "no such style any more"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_page(
    lead: FlaskClient, room: Room, finished: FinishedRun, action: str, fields: dict[str, str], said: str
) -> None:
    serve_styles(finished.store, finished.project, finished.base.source)
    for name in ("Old", "shouted"):
        room.begin_style(finished.project, name)
    answer = post(lead, f"{STYLES}/{action}", **fields)
    assert (answer.status_code, said in answer.get_data(as_text=True)) == (422, True), answer.get_data(as_text=True)


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01"])
def test_a_moment_that_is_none_is_refused(lead: FlaskClient, since: str) -> None:
    answer = post(lead, f"{STYLES}/begin", name="new", since=since)
    assert (answer.status_code, "expected a moment as" in answer.get_data(as_text=True)) == (400, True)


def test_a_style_that_a_run_may_be_teaching_keeps_its_name(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    room.begin_style(finished.project, "Old")
    room.context.queue.request(finished.project.id, RunKind.FINETUNE, asked_by="somebody")
    answer = post(lead, f"{STYLES}/rename", name="Old", to="new")
    assert "rename it when the run is over" in answer.get_data(as_text=True)
