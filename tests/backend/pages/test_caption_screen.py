"""The caption screen in a real browser, with a real Label Studio and a backend that may be killed."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.support.caption_person import KEEP, ScreenPerson
from tests.support.caption_screen import CaptionProject, annotations_of, make_project, suggested, text_of
from tests.support.forked import ForkedProcess
from tests.support.models import add_project
from tests.support.people import another_annotator
from tests.support.processes import running, until
from tests.support.servers import LabelStudioServer

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.local.ports import free_port
from captionloop.home import Home
from captionloop.model.database import Database, Project

pytestmark = pytest.mark.slow

_TASKS = 50
_CHANGED = range(3, 43, 4)  # ten of them
_COMPLETED = (8, 28)
_TAKEN_BACK = 14
_KILLED_BEFORE = 24


@dataclass
class Screen:
    """A backend of its own, one project, and an account in Label Studio."""

    home: Home
    environment: dict[str, str]
    directory: Path
    project: CaptionProject
    api: httpx.Client
    email: str

    @property
    def address(self) -> str:
        return f"http://localhost:{self.environment['CAPTIONLOOP_PORT']}"

    @contextmanager
    def backend(self) -> Iterator[ForkedProcess]:
        log = self.directory / "backend.log"
        with running("serve", log=log, environment=self.environment) as process:
            until(lambda: self._answers())
            yield process

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def written(self) -> dict[int, list[dict[str, Any]]]:
        return annotations_of(self.api, self.project)

    def texts(self) -> list[list[str]]:
        """What each task says, by annotation; nothing of a skip."""
        found = self.written()
        return [[text_of(one) for one in found[task] if one["result"]] for task in self.project.tasks]


@pytest.fixture
def count() -> int:
    return 6


@pytest.fixture
def screen(
    database: Database, home: Home, redis_url: str, tmp_path: Path, label_studio_server: LabelStudioServer, count: int
) -> Iterator[Screen]:
    studio = LabelStudio(label_studio_server.url, label_studio_server.token)
    project = make_project(studio, count)
    studio.close()
    row = add_project(database, project.number)
    with database.session() as session:
        session.get_one(Project, row.id).label_config = SAMPLE_LABEL_CONFIG
    environment = {
        "CAPTIONLOOP_HOME": str(home.root), "CAPTIONLOOP_SERVER": "local", "CAPTIONLOOP_PORT": str(free_port()),
        "CAPTIONLOOP_USER": "lead", "CAPTIONLOOP_PASSWORD": "right", "REDIS_URL": redis_url,
        "LABEL_STUDIO_URL": label_studio_server.url, "LABEL_STUDIO_API_KEY": label_studio_server.token,
    }  # fmt: skip
    email = f"ada-{uuid.uuid4().hex[:8]}@example.org"
    with another_annotator(label_studio_server, email) as api:
        yield Screen(home, environment, tmp_path, project, api, email)


@pytest.fixture
def person(screen: Screen, page: Page) -> Iterator[ScreenPerson]:
    with screen.backend():
        yield ScreenPerson.at(page, screen.address, screen.project.number, screen.email)


@pytest.mark.parametrize("count", [_TASKS])
def test_fifty_captions_by_keyboard_with_a_killed_backend_in_the_middle(screen: Screen, page: Page) -> None:
    expected = []
    with screen.backend() as first:
        person = ScreenPerson.at(page, screen.address, screen.project.number, screen.email)
        for place in range(_KILLED_BEFORE):
            expected.append(_caption(person, place))
        person.waits_until_next_are_ready()
        first.kill()
        first.wait()
        # Those that are ready are captioned all the same.
        expected += [_caption(person, place) for place in range(_KILLED_BEFORE, _KILLED_BEFORE + 2)]
        expect(page.locator("#unsent")).to_contain_text("kept in this browser")
    with screen.backend():
        for place in range(_KILLED_BEFORE + 2, _TASKS):
            expected.append(_caption(person, place))
        person.waits_until_all_is_sent()
        expect(page.locator("#no-picture")).to_contain_text("Everything is captioned")

    assert screen.texts() == [[text] for text in expected]
    me = screen.api.get("/api/current-user/whoami").json()["id"]
    for task, (found,) in screen.written().items():
        assert found["completed_by"] == me
        assert found["parent_prediction"] == screen.project.suggestions[task]
        assert 0 < found["lead_time"] < 600
    assert expected.count("a wrong caption") == 0
    assert len([text for place, text in enumerate(expected) if text != suggested(place)]) == 10 + 2 + 1


def _caption(person: ScreenPerson, place: int) -> str:
    """What a person does with one picture; what they have written in the end."""
    task = person.waits_for_task()
    assert person.text == suggested(place)
    if place in _CHANGED:
        person.types(" at night")
    elif place in _COMPLETED:
        person.presses("Control+a")
        person.types("a ")
        person.takes_the_rest()
    elif place == _TAKEN_BACK:
        person.presses("Control+a")
        person.types("a wrong caption")
        person.presses(KEEP)
        person.waits_for_task(other_than=task)
        person.presses("Alt+z")
        assert person.waits_for_task() == task
        assert person.text == "a wrong caption"
        person.presses("Control+a")
        person.types("the right caption")
    text = person.text
    person.presses(KEEP)
    if place + 1 < _TASKS:
        person.waits_for_task(other_than=task)
    return text


def test_escape_takes_back_and_never_loses(person: ScreenPerson) -> None:
    suggestion = person.text
    person.types(" and more")
    person.presses("Escape")
    assert person.text == suggestion
    person.presses("Escape")
    assert person.text == suggestion + " and more"
    person.page.wait_for_selector("#others button")
    person.presses("Alt+1")
    assert person.text == person.page.locator("#others bdi").first.inner_text()
    person.presses("Escape")
    assert person.text == suggestion + " and more"

    person.presses("Control+a")
    person.types("a ")
    person.presses("Tab")
    person.page.wait_for_selector("#caption.with-rest")
    whole = person.text
    person.presses("ArrowRight")
    person.presses("Escape")
    assert person.text == "a "
    person.presses("Tab")
    person.page.wait_for_selector("#caption.with-rest")
    person.presses("ArrowRight")
    person.types("!")  # what is typed takes the place of the rest
    assert person.text == f"a {whole.split()[1]}!"
