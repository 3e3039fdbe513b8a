"""Whatever people, servers and files bring as text stays text: on every page, and in what is taken away from them."""

import html
import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient
from tests.support.corrections import correct
from tests.support.room_pages import page_paths
from tests.support.runs import attempt_at
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.model.database import Correction, Database, Project, RunState, Version

_MARK = "hostile7"
_HOSTILE = f"""</title></textarea>'"><script>{_MARK}()</script><img src=x onerror={_MARK}()> {{{{ 7*7 }}}}"""


class _Elements(HTMLParser):
    """Finds in a page, as a browser would, what runs."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.running: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_script = tag == "script" and not (given.get("src") or "").startswith("/static/")
        is_picture_of_theirs = tag == "img" and given.get("src") == "x"
        if is_script or is_picture_of_theirs or any(name.startswith("on") for name in given):
            self.running.append(str(self.get_starttag_text()))


@pytest.fixture
def paths(finished: FinishedRun, room: Room, database: Database) -> dict[str, str]:
    """Every page of a project whose every text is hostile."""
    version = finished.store.champion(finished.project.id).version
    for image in finished.held_out:
        correct(
            database, finished.project, version=version, suggestion=_HOSTILE, caption=f"{_HOSTILE} 2",
            image_sha256=image, annotator=f"{_HOSTILE}@x.org",
        )  # fmt: skip
    run = room.start_run(finished.project, {}, by=_HOSTILE).run
    room.runs.start(run.id)
    attempt_at(room.runs, run.id).finish(RunState.FAILED, message=_HOSTILE)
    with database.session() as session:
        session.get_one(Project, finished.project.id).title = _HOSTILE
        for correction in session.query(Correction):
            correction.note = correction.reviewed_by = _HOSTILE
        for row in session.query(Version):
            row.reason = _HOSTILE
    made = finished.version
    return {"start": "/", **page_paths(1, first=str(made.parent), second=made.version, item=2)}


def test_no_page_takes_text_for_html(lead: FlaskClient, paths: dict[str, str]) -> None:
    shown_on = set()
    for name, path in paths.items():
        text = lead.get(path, follow_redirects=True).get_data(as_text=True)
        assert _Elements(text).running == [], name
        if _MARK in text:
            shown_on.add(name)
            assert "{{ 7*7 }}" in html.unescape(text), name  # and no template either
    assert {"overview", "review", "versions", "version", "runs", "dataset"} <= shown_on


def test_an_error_that_repeats_what_was_asked_for_takes_it_for_text(lead: FlaskClient) -> None:
    for path in (f"/projects/1/versions/<script>{_MARK}", f"/projects/1/review?format=<script>{_MARK}"):
        assert f"<script>{_MARK}" not in lead.get(path).get_data(as_text=True), path


def test_what_is_taken_away_is_an_attachment(lead: FlaskClient, paths: dict[str, str]) -> None:
    links = set()
    for path in paths.values():
        text = html.unescape(lead.get(path, follow_redirects=True).get_data(as_text=True))
        found = re.findall(r'href="([^"]*(?:format=|download|/export)[^"]*)"', text)
        links |= {urljoin(path, link) for link in found}
    assert any("format=csv" in link for link in links)
    assert any("/export" in link for link in links)
    for link in links:
        answer = lead.get(link)
        disposition = answer.headers.get("Content-Disposition", "")
        answer.close()
        assert (answer.status_code, disposition.startswith("attachment; filename=")) == (200, True), link


def test_a_caption_that_a_spreadsheet_would_calculate_does_not_begin_its_cell(
    lead: FlaskClient, finished: FinishedRun, database: Database
) -> None:
    version = finished.store.champion(finished.project.id).version
    correct(database, finished.project, version=version, caption='=HYPERLINK("http://evil.test")')

    text = lead.get("/projects/1/dataset?format=csv").get_data(as_text=True)

    assert "'=HYPERLINK" in text
    assert not re.search(r'(^|,)"?=HYPERLINK', text, re.MULTILINE)
