"""The caption screen in a real browser, with a real Label Studio and a backend that may be killed."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.backend.pages.test_every_page import violations
from tests.support.caption_person import KEEP, ScreenPerson
from tests.support.caption_screen import CaptionProject, annotations_of, make_project, suggested, text_of
from tests.support.forked import ForkedProcess
from tests.support.models import add_project
from tests.support.people import another_annotator
from tests.support.processes import running, until
from tests.support.servers import LabelStudioServer
from tests.support.studio import annotate

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


@pytest.mark.parametrize("count", [24])
def test_two_people_at_once_here_and_in_label_studio_caption_no_task_twice(
    screen: Screen, person: ScreenPerson, label_studio_server: LabelStudioServer
) -> None:
    with (
        another_annotator(label_studio_server, f"bo-{uuid.uuid4().hex[:8]}@example.org") as bo,
        ThreadPoolExecutor(1) as pool,
    ):
        in_label_studio = pool.submit(_caption_in_label_studio, bo, screen.project)
        here = 0
        while person.page.locator("#no-picture:has-text('Everything')").count() == 0:
            task = person.waits_for_task()
            person.presses(KEEP)
            here += 1
            person.page.wait_for_function(
                "([task]) => !place.textContent.startsWith(`Task ${task}`)"
                " && (place.textContent || document.getElementById('no-picture').textContent.startsWith('Everything'))",
                arg=[task],
            )
        there = in_label_studio.result()
    person.waits_until_all_is_sent()

    assert here > 2
    assert there > 2
    assert all(len(found) == 1 for found in screen.texts())
    # Label Studio on SQLite may serve two who ask at once the same task: then the second caption is told, not written.
    refused = person.page.locator("#refused li")
    assert here - refused.count() + there == len(screen.project.tasks)
    assert all("Somebody else" in said for said in refused.all_inner_texts())


def _caption_in_label_studio(api: httpx.Client, project: CaptionProject) -> int:
    """As its own page does it, until there is nothing more; how many."""
    done = 0
    while (answer := api.get(f"/api/projects/{project.number}/next")).status_code == 200:
        annotate(api, project.number, answer.json(), "by Bo, in Label Studio")
        done += 1
    return done


def test_what_was_typed_survives_a_closed_tab(screen: Screen, person: ScreenPerson) -> None:
    task = person.waits_for_task()
    person.types(" that is not finished")
    text = person.text
    context = person.page.context
    person.page.close()

    page = context.new_page()
    page.goto(f"{screen.address}/projects/{screen.project.number}/caption")
    back = ScreenPerson(page)

    assert back.waits_for_task() == task
    assert back.text == text


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


def test_skip_back_note_and_undo(screen: Screen, person: ScreenPerson) -> None:
    first = person.waits_for_task()
    person.presses(KEEP)
    second = person.waits_for_task(other_than=first)
    person.presses("Alt+ArrowLeft")
    assert person.waits_for_task(other_than=second) == first
    person.types(", changed")
    person.presses(KEEP)
    assert person.waits_for_task(other_than=first) == second
    person.presses("Alt+n")
    person.types("which one is meant?")
    person.presses("Enter")
    expect(person.page.locator("#said")).to_have_text("The note is saved.")
    person.presses("Alt+u")
    third = person.waits_for_task(other_than=second)
    person.presses("Alt+s")
    person.waits_for_task(other_than=third)
    person.presses("Alt+z")
    assert person.waits_for_task() == third
    person.presses(KEEP)
    person.waits_until_all_is_sent()

    assert screen.texts()[:3] == [[f"{suggested(0)}, changed"], [], [suggested(2)]]
    assert [one["was_cancelled"] for one in screen.written()[second]] == [True]


def test_enter_alone_keeps_when_that_was_chosen_and_it_is_remembered(screen: Screen, person: ScreenPerson) -> None:
    first = person.waits_for_task()
    person.page.get_by_label("Enter alone keeps").check()
    person.presses("Enter")
    second = person.waits_for_task(other_than=first)
    person.page.reload()
    assert person.waits_for_task() == second
    person.presses("Enter")
    person.waits_for_task(other_than=second)
    person.waits_until_all_is_sent()

    assert screen.texts()[:2] == [[suggested(0)], [suggested(1)]]


def test_what_every_page_has_works_here_as_well(person: ScreenPerson) -> None:
    person.page.get_by_role("button", name="Keys").click()
    expect(person.page.get_by_role("dialog")).to_contain_text("skip this picture")
    person.page.get_by_role("button", name="Close").click()
    person.page.get_by_role("button", name="Light or dark").click()
    expect(person.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_second_tab_takes_over(screen: Screen, person: ScreenPerson) -> None:
    other = person.page.context.new_page()
    other.goto(f"{screen.address}/projects/{screen.project.number}/caption")
    ScreenPerson(other).waits_for_task()

    expect(person.page.locator("#unsent")).to_contain_text("open in another tab")
    expect(person.page.locator("#caption")).to_be_disabled()


def test_a_caption_that_label_studio_refuses_stays_to_be_read(screen: Screen, person: ScreenPerson) -> None:
    task = person.waits_for_task()
    result = [{"from_name": "caption", "to_name": "image", "type": "textarea", "value": {"text": ["by the same"]}}]
    screen.api.post(f"/api/tasks/{task}/annotations/", json={"result": result}).raise_for_status()
    person.types(" and much thought")
    person.presses(KEEP)

    refused = person.page.locator("#refused li")
    expect(refused).to_contain_text("You have captioned task")
    expect(refused).to_contain_text(f"{suggested(0)} and much thought")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_screen_has_no_fault_of_accessibility(browser: Browser, screen: Screen, scheme: Any) -> None:
    with screen.backend():
        context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 800})
        person = ScreenPerson.at(context.new_page(), screen.address, screen.project.number, screen.email)
        person.page.wait_for_selector("#others button")
        assert violations(person.page) == []
        person.presses("Tab")
        person.presses("Alt+n")
        assert violations(person.page) == []
        person.page.set_viewport_size({"width": 390, "height": 844})
        assert violations(person.page) == []
        assert person.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        context.close()
