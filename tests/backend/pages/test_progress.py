"""The page Progress: how far people are, and from each number to its pictures."""

import re
from html import unescape

import pytest
from flask.testing import FlaskClient
from tests.support.corrections import correct
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room, TaskCounts
from captionloop.model.database import Database

_PAGE = "/projects/1/progress"


def test_every_number_of_a_category_leads_to_as_many_corrections(
    lead: FlaskClient, finished: FinishedRun, database: Database
) -> None:
    version = finished.version.version
    for caption in ("a blue square", "a blue square", "a red square"):
        correct(
            database, finished.project, version=version, suggestion="a red square", caption=caption, annotator="ada"
        )

    text = lead.get(_PAGE).get_data(as_text=True)

    assert "Label Studio does not say how many tasks there are" in text  # none answers here
    links = re.findall(r'<a class="alone" href="([^"]+)" aria-label="(\d+) ', text)
    of_categories = [(link, count) for link, count in links if "category=" in link]
    assert [link for link, _ in of_categories if f"version={version}" in link]
    for link, count in of_categories:
        found = lead.get(unescape(link)).get_data(as_text=True)
        assert re.search(rf">{count}<span", found), link


@pytest.mark.parametrize(("annotated", "said"), [(67, "67 of 160"), (160, "done")])
def test_with_label_studios_counts_it_says_how_far_people_are(
    lead: FlaskClient,
    finished: FinishedRun,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    annotated: int,
    said: str,
) -> None:
    correct(database, finished.project, version=finished.version.version)
    monkeypatch.setattr(Room, "task_counts", lambda self, project: TaskCounts(160, annotated))

    text = re.sub(r"<[^>]+>", "", lead.get(_PAGE).get_data(as_text=True))

    assert said.split()[0] in text
    assert ("at today's pace done on" in unescape(text)) == (annotated < 160)
