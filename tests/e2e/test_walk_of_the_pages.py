"""The review room as the lead of the sample project walks it in a browser, one page after the other.

What it needs and the stories before did not leave it makes for itself, so it can be walked alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.support.backend import Backend
from tests.support.label_studio_pages import log_in_to_label_studio
from tests.support.person import Person
from tests.support.studio import annotate, newest, tasks_of, wait_for

# The first story's time is also that of Label Studio's start, a run and two renewals of all suggestions.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2700)]

_WITHIN_S = 120
_TRAINED_WITHIN_S = 900
_STEPS = 60
_REVIEW_KEYS = ("1", "2", "3", "5", "6", "a", "1", "5", "x", "2")

# Each value that the first progress bar takes from now on.
_REMEMBER_PROGRESS = """() => {
  window.seen = [];
  const look = () => window.seen.push(document.querySelector("progress")?.value ?? 1);
  new MutationObserver(look).observe(document.querySelector("[data-live]"), { childList: true });
}"""


@dataclass(frozen=True)
class Lead:
    """Somebody who leads the sample project, signed in to the pages.

    Args:
        backend: the project's JSON API, to see what the pages have done.
    """

    page: Page
    here: str
    backend: Backend

    def opens(self, path: str) -> None:
        self.page.goto(f"{self.here}{path}")

    def presses(self, key: str) -> None:
        """A key, and what the page says then."""
        said = self.page.locator(".said span, .said-now")
        before = self.page.url
        self.page.keyboard.press(key)
        self.page.wait_for_function("([url]) => location.href !== url", arg=[before])
        expect(said.first).to_be_visible()

    def told(self, path: str) -> Any:
        return self.backend.told(path)


@pytest.fixture
def lead(person: Person, studio: dict[str, Any], backend: Backend, page: Page) -> Lead:
    found = person.asks("status")["backend"]
    page.goto(f"{found['url']}/login")
    page.get_by_label("User").fill(found["user"])
    page.get_by_label("Password").fill(found["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/login" not in url)
    return Lead(page, f"{found['url']}/projects/{studio['project_id']}", backend)


@pytest.fixture(scope="module")
def project(studio: dict[str, Any]) -> list[str]:
    """What names the sample project to a command; other stories have connected another one."""
    return ["--project", str(studio["project_id"])]


@pytest.fixture(scope="module")
def made(person: Person, studio: dict[str, Any], api: httpx.Client, backend: Backend, project: list[str]) -> str:
    """A version that does not serve and was made from another: one that a story has left, else that of a short run."""
    backend.waits_until_idle(within_s=_TRAINED_WITHIN_S)
    champion = backend.champion()
    if not _others(backend, champion):
        for task in _untouched(api, studio, 40):
            annotate(api, studio["project_id"], task, f"Picture of {_suggestion(task)}")
        run = person.asks("finetune", *project, "--set", f"steps={_STEPS}", "--wait")
        assert run["state"] == "finished", run
        if backend.champion() != champion:
            person.does("rollback", *project)
        backend.waits_until_idle(within_s=_TRAINED_WITHIN_S)
    return _others(backend, champion)[0]


def _others(backend: Backend, champion: str) -> list[str]:
    """The newest first."""
    kept = [row for row in backend.told("/versions") if not row["deleted_at"]]
    return [row["version"] for row in kept if row["parent"] and row["version"] != champion]


@pytest.fixture(scope="module")
def miscounted(studio: dict[str, Any], api: httpx.Client, backend: Backend, made: str) -> list[int]:
    """Twelve more corrections, three of which change how many there are; the tasks of those three."""
    before = backend.corrections()
    chosen = _untouched(api, studio, 12)
    for number, task in enumerate(chosen):
        words = _suggestion(task).split()
        caption = " ".join(["three", *words[1:]] if number < 3 else [*words, "at night"])
        annotate(api, studio["project_id"], task, caption)
    wait_for(lambda: backend.corrections() == before + 12, within_s=_WITHIN_S)
    return [task["id"] for task in chosen[:3]]


def _untouched(api: httpx.Client, studio: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Tasks without an annotation, with the predictions they have now: an annotate job replaces them."""
    tasks = tasks_of(api, studio["project_id"])
    return list(islice((task for task in tasks if not task["annotations"]), count))


def _suggestion(task: dict[str, Any]) -> str:
    return str(newest(task)["result"][0]["value"]["text"][0])


def test_ten_captions_are_reviewed_by_keyboard_alone(lead: Lead, miscounted: list[int]) -> None:
    before = lead.told("/corrections?reviewed=yes")["total"]
    lead.opens("/review?words=corrected&reviewed=no&sort=newest")

    for key in _REVIEW_KEYS:
        lead.presses(key)

    assert lead.told("/corrections?reviewed=yes")["total"] == before + 10
    assert lead.told("/corrections?left_out=yes")["total"] == 1


def test_captions_whose_number_was_wrong_are_found_and_one_is_left_out_of_training(
    lead: Lead, miscounted: list[int]
) -> None:
    teaching = lead.told("/overview")["figures"]["corrections"]
    lead.opens("/review")
    lead.page.get_by_label("Category").select_option("number")
    lead.page.wait_for_url(re.compile("category=number"))

    found = lead.told("/corrections?category=number")
    expect(lead.page.locator(".rows li")).to_have_count(found["total"])
    assert {row["task_id"] for row in found["corrections"]} <= set(miscounted)
    lead.presses("x")

    assert lead.told("/overview")["figures"]["corrections"] == teaching - 1
    lead.presses("z")
    assert lead.told("/overview")["figures"]["corrections"] == teaching


def test_the_task_of_a_row_opens_in_label_studio(lead: Lead, studio: dict[str, Any], miscounted: list[int]) -> None:
    other = lead.page.context.new_page()
    log_in_to_label_studio(other, studio)
    other.close()
    lead.opens("/review?sort=newest")
    task = lead.told("/corrections?sort=newest")["corrections"][0]["task_id"]

    with lead.page.context.expect_page() as opened:
        lead.page.keyboard.press("o")

    expect(opened.value).to_have_url(re.compile(rf"/projects/{studio['project_id']}/data.*task={task}\b"))
    expect(opened.value.get_by_test_id("htx-textbox-content").first).to_be_visible()


def test_two_versions_are_compared_without_knowing_whose_captions_they_are(lead: Lead, made: str) -> None:
    versions = {row["version"] for row in lead.told("/versions")}
    lead.opens("/compare")
    lead.page.keyboard.press("b")
    expect(lead.page.get_by_role("heading", level=1)).to_have_text("Which caption is better?")
    lead.page.wait_for_load_state()  # of the first picture's page; the others are exchanged in it
    pictures = int(lead.page.get_by_role("progressbar").get_attribute("max") or 0)
    judged = lead.page.locator(".blind").inner_text()
    assert not [version for version in versions if version in judged]

    for number in range(pictures):
        expect(lead.page.get_by_text(f"{number} of {pictures} judged")).to_be_visible()
        lead.page.keyboard.press(("ArrowLeft", "ArrowRight", "ArrowDown")[number % 3])

    expect(lead.page.get_by_role("heading", level=1)).to_have_text(f"All {pictures} pictures are judged.")
    expect(lead.page.get_by_text("of the decided pictures").first).to_be_visible()


def test_a_version_is_promoted_and_rolled_back(lead: Lead, made: str) -> None:
    before = lead.backend.champion()
    lead.opens("/versions")
    row = lead.page.get_by_role("row").filter(has=lead.page.get_by_role("link", name=made, exact=True))

    row.get_by_text("Promote", exact=True).click()
    expect(row.locator("form p").first).to_contain_text("unlabelled tasks")  # what it will do is said before
    row.get_by_role("button", name=f"Promote {made}").click()

    expect(lead.page.get_by_role("heading", level=1)).to_have_text(f"{made} is the champion.")
    assert lead.backend.champion() == made
    lead.page.get_by_text(f"Roll back to {before}", exact=True).click()
    lead.page.get_by_role("button", name="Roll back", exact=True).click()

    expect(lead.page.get_by_role("heading", level=1)).to_have_text(f"{before} is the champion.")
    assert lead.backend.champion() == before
    lead.backend.waits_until_idle(within_s=_TRAINED_WITHIN_S)


def test_a_run_is_started_and_its_progress_moves_without_reloading(lead: Lead, miscounted: list[int]) -> None:
    lead.opens("/runs")
    lead.page.keyboard.press("n")
    lead.page.get_by_label("Training steps", exact=True).fill(str(_STEPS))
    lead.page.get_by_role("button", name="Start the run").click()
    expect(lead.page.locator("[data-live] [data-state]").first).to_be_visible()
    lead.page.evaluate(_REMEMBER_PROGRESS)

    (run,) = (run for run in lead.told("/runs")["unfinished"] if run["kind"] == "finetune")
    ended = lead.page.locator(".runs li").filter(has=lead.page.locator(f"a[href$='/runs/{run['id']}']"))
    expect(ended).to_contain_text(re.compile(r"v\d+-\w+ (was made|is)"), timeout=_TRAINED_WITHIN_S * 1000)
    seen = lead.page.evaluate("window.seen")  # gone, had the page been loaded anew
    assert seen == sorted(seen)
    assert len({round(value, 2) for value in seen}) > 3
    lead.backend.waits_until_idle(within_s=_TRAINED_WITHIN_S)
