"""Pages and files of a project whose people wrote what no one expects."""

import html
import time

import pytest
from flask.testing import FlaskClient
from tests.support.corrections import correct
from tests.support.odd_captions import KEPT
from tests.support.room_pages import page_paths
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.model.database import Correction, Database

CAPTIONS = list(KEPT.values())


@pytest.fixture
def paths(finished: FinishedRun, room: Room, database: Database) -> dict[str, str]:
    images = list(finished.held_out)
    for number, caption in enumerate(CAPTIONS):
        correct(
            database, finished.project, version=finished.version.version, suggestion=caption[::-1], caption=caption,
            image_sha256=images[number % len(images)], annotator="a\u202eb@x.org",
        )  # fmt: skip
    made = finished.version
    return page_paths(1, first=str(made.parent), second=made.version, item=20)


def test_every_page_shows_them(lead: FlaskClient, paths: dict[str, str]) -> None:
    for name, path in paths.items():
        begun = time.process_time()
        answer = lead.get(path, follow_redirects=True)
        assert answer.status_code == (404 if name == "error" else 200), name
        assert time.process_time() - begun < 10, name


@pytest.mark.parametrize("number", range(len(CAPTIONS)))
def test_a_caption_is_shown_as_it_is(lead: FlaskClient, paths: dict[str, str], database: Database, number: int) -> None:
    with database.reading() as session:
        (row,) = [row for row in session.query(Correction) if row.captions == [CAPTIONS[number]]]

    page = lead.get(f"/projects/1/review?item={row.id}").get_data(as_text=True)

    assert CAPTIONS[number][:200] in html.unescape(page)


def test_a_search_for_what_no_database_holds_finds_nothing(lead: FlaskClient, paths: dict[str, str]) -> None:
    for text in ("%00", "%ED%A0%80", "%F0%9F%90%88", "%25%25%25", "%5C", "x" * 1000):
        assert lead.get(f"/projects/1/review?text={text}").status_code == 200, text
        assert lead.get(f"/projects/1/dataset?text={text}").status_code == 200, text


@pytest.mark.parametrize("note", ["\x00", "a \x00 NUL", "\u202e", "<b>", "x" * 100_000])
def test_a_reviewers_note_may_be_as_odd(
    lead: FlaskClient, paths: dict[str, str], database: Database, note: str
) -> None:
    from tests.support.room import token_in

    with database.reading() as session:
        (row,) = session.query(Correction).where(Correction.captions == [CAPTIONS[0]])
    fields = {"note": note, "csrf_token": token_in(lead, "/projects/1/review")}

    assert lead.post(f"/projects/1/review/{row.id}", data=fields, follow_redirects=True).status_code in {200, 400}
    assert lead.get("/projects/1/review").status_code == 200
