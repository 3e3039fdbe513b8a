"""What holds on every page, in a real browser: for those who do not see it, on a phone, and without script."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.support.corrections import correct
from tests.support.models import add_project
from tests.support.room import PASSWORD, USER
from tests.support.room_pages import page_paths
from tests.support.runs import attempt_at
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.backend.pages.frame import TABS
from captionloop.model.database import Database

_PHONE = {"width": 390, "height": 844}
_LAPTOP = {"width": 1280, "height": 800}
_TOO_WIDE = """[...document.querySelectorAll("body *")]
    .filter(item => item.getBoundingClientRect().right > innerWidth && !item.closest(".scroll"))
    .map(item => `${item.tagName} ${item.className}`).slice(0, 5)"""
_SERIOUS = ("serious", "critical")


@dataclass(frozen=True)
class Visit:
    """A browser tab in which the lead is signed in, and the pages there are."""

    page: Page
    address: str
    paths: dict[str, str]

    @property
    def context(self) -> BrowserContext:
        return self.page.context

    def each(self) -> Iterator[tuple[str, Page]]:
        """Every page by name, opened one after the other in the same tab."""
        for name, path in self.paths.items():
            answer = self.page.goto(f"{self.address}{path}")
            assert answer is not None
            assert answer.status < 500, name
            yield name, self.page


@pytest.fixture
def paths(room: Room, finished: FinishedRun, database: Database) -> dict[str, str]:
    """Pages with something on them: corrections, a second project to choose, a run that goes on."""
    add_project(database, 2)
    version = finished.store.champion(finished.project.id).version
    for number, image in enumerate(finished.held_out):
        caption = "a red square" if number % 2 else "a very long caption of a small blue square that goes on and on"
        correct(database, finished.project, version=version, caption=caption, image_sha256=image, annotator="ada@x.org")
    run = room.start_run(finished.project, {}, by="lead").run
    room.runs.start(run.id)
    attempt_at(room.runs, run.id).report(0.4, stage="training", step=16, steps=40, loss=1.2, seconds_left=9)
    made = finished.version
    return {"start": "/", **page_paths(1, first=str(made.parent), second=made.version, item=2)}


@pytest.fixture
def visit(browser: Browser, served: str, paths: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Parametrised with the options of the browser's context."""
    context = browser.new_context(locale="en-US", **request.param)
    page = context.new_page()
    page.goto(f"{served}/login")
    page.fill("input[name=user]", USER)
    page.fill("input[name=password]", PASSWORD)
    page.click("button.primary")
    page.wait_for_url(f"{served}/")
    yield Visit(page, served, paths)
    context.close()


def violations(page: Page) -> list[str]:
    """What axe-core finds that keeps somebody from using a page, with the places."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{fault['id']} ({fault['impact']}): {fault['help']}: {[node['target'] for node in fault['nodes']]}"
        for fault in found
        if fault["impact"] in _SERIOUS
    ]


@pytest.mark.parametrize("visit", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True, ids=str)
def test_no_page_has_a_serious_fault_of_accessibility(visit: Visit) -> None:
    found = {name: violations(page) for name, page in visit.each()}

    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_form_to_sign_in_has_no_serious_fault_of_accessibility(browser: Browser, served: str, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{served}/login")

    assert violations(page) == []
    context.close()


@pytest.mark.parametrize("visit", [{"viewport": _PHONE}, {"viewport": _LAPTOP}], indirect=True, ids=str)
def test_no_page_scrolls_sideways(visit: Visit) -> None:
    wide = {
        name: page.evaluate(_TOO_WIDE)
        for name, page in visit.each()
        if page.evaluate("document.scrollingElement.scrollWidth > innerWidth")
    }

    assert wide == {}


@pytest.mark.parametrize("visit", [{"viewport": _PHONE}], indirect=True, ids=["phone"])
def test_the_tab_of_the_page_is_in_view_on_a_phone(visit: Visit) -> None:
    for name, page in visit.each():
        for tab in page.locator("nav a[aria-current=page]").all():
            expect(tab, name).to_be_in_viewport(ratio=0.9)


@pytest.mark.parametrize("visit", [{}], indirect=True, ids=["with script"])
def test_no_page_has_an_error_of_script_or_policy(visit: Visit) -> None:
    said: list[str] = []
    visit.context.on("console", lambda message: said.append(f"{message.page and message.page.url}: {message.text}"))
    visit.context.on("weberror", lambda error: said.append(str(error.error)))
    for name, page in visit.each():
        page.wait_for_load_state("load")
        assert name

    assert [line for line in said if "status of 40" not in line] == []  # the error page and a picture that is gone


@pytest.mark.parametrize("visit", [{"java_script_enabled": False}], indirect=True, ids=["without script"])
def test_every_page_can_be_read_without_script(visit: Visit) -> None:
    for name, page in visit.each():
        assert page.locator("main").inner_text(), name
        assert page.locator("h1").count() == 1, name


def test_the_list_covers_every_page_there_is(app: Flask, paths: dict[str, str]) -> None:
    """A page is what a tab leads to."""
    rules = [rule for endpoint, _ in TABS for rule in app.url_map.iter_rules(endpoint) if "GET" in (rule.methods or ())]
    patterns = [re.sub(r"<[^>]+>", "[^/?]+", rule.rule) + r"(\?|$)" for rule in rules]
    assert [pattern for pattern in patterns if not any(re.match(pattern, path) for path in paths.values())] == []


# A link within a sentence is as high as its lines (WCAG 2.5.8).
_SMALL = """() => {
  const height = (item) => item.getBoundingClientRect().height;
  const isInSentence = (item) =>
    item.matches("p a, dd a, li a, span a, h1 a") &&
    item.parentElement.innerText.trim().length > 2 * item.innerText.length;
  return [...document.querySelectorAll("a, button, summary, input, select, textarea")]
    .filter((item) => item.checkVisibility({ visibilityProperty: true }) && height(item) > 1 && height(item) < 36)
    .filter((item) => !item.closest(".unseen, .skip") && !isInSentence(item))
    .map((item) => `${item.tagName}.${item.className} ${item.innerText.slice(0, 30)} ${height(item)}`);
}"""


@pytest.mark.parametrize("visit", [{"viewport": _PHONE, "has_touch": True}], indirect=True, ids=["phone"])
def test_what_a_finger_has_to_meet_is_high_enough_on_a_phone(visit: Visit) -> None:
    small = {name: page.evaluate(_SMALL) for name, page in visit.each()}

    assert {name: found for name, found in small.items() if found} == {}


@pytest.mark.parametrize("visit", [{"viewport": _PHONE}], indirect=True, ids=["phone"])
def test_the_header_takes_two_rows_on_a_phone(visit: Visit) -> None:
    for name, page in visit.each():
        for header in page.locator("header.frame").all():
            box = header.bounding_box()
            assert box, name
            assert box["height"] <= 96, name


@pytest.mark.parametrize("visit", [{"viewport": _LAPTOP}], indirect=True, ids=["laptop"])
def test_tabs_stand_at_the_same_place_on_every_page(visit: Visit) -> None:
    places = {
        name: page.locator("header.frame nav a").evaluate_all("tabs => tabs.map(tab => tab.getBoundingClientRect().x)")
        for name, page in visit.each()
        if page.locator("header.frame").count()
    }

    first = next(iter(places.values()))
    assert {name: found for name, found in places.items() if found != first} == {}


@pytest.mark.parametrize("visit", [{"viewport": _PHONE}], indirect=True, ids=["phone"])
def test_a_number_and_its_percent_sign_stay_on_one_line_and_each_column_has_a_name(visit: Visit) -> None:
    faults = {
        name: (
            page.evaluate(r"() => document.querySelector('main').innerText.match(/\d(%| %(?! interval))/g) ?? []"),
            page.evaluate(
                "() => [...document.querySelectorAll('thead th')].filter(head => !head.textContent.trim()).length"
            ),
        )
        for name, page in visit.each()
    }

    assert {name: found for name, found in faults.items() if found != ([], 0)} == {}


@pytest.mark.parametrize("visit", [{"viewport": _LAPTOP}], indirect=True, ids=["laptop"])
def test_nothing_to_press_is_printed(visit: Visit) -> None:
    printed = {}
    for name, page in visit.each():
        page.emulate_media(media="print")
        printed[name] = page.locator("button:visible, .button:visible, summary.button:visible").all_inner_texts()
        page.emulate_media(media="screen")

    assert {name: found for name, found in printed.items() if found} == {}
