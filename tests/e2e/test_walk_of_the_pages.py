"""The review room as the lead of the sample project walks it in a browser, one page after the other.

What the stories before left is there: a base that serves, a version that was made from it, sixty corrections.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.support.person import Person
from tests.support.studio import annotate, newest, tasks_of, wait_for

pytestmark = pytest.mark.slow

_WITHIN_S = 120
_TRAINED_WITHIN_S = 900
_REVIEW_KEYS = ("1", "2", "3", "5", "6", "a", "1", "5", "x", "2")


@dataclass(frozen=True)
class Lead:
    """Somebody who leads the sample project, signed in to the pages.

    Args:
        facts: the JSON API of the project, to see what the pages have done.
    """

    page: Page
    here: str
    facts: httpx.Client

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
        return self.facts.get(path).raise_for_status().json()


@pytest.fixture
def lead(person: Person, studio: dict[str, Any], page: Page) -> Iterator[Lead]:
    backend, project = person.asks("status")["backend"], studio["project_id"]
    page.goto(f"{backend['url']}/login")
    page.get_by_label("User").fill(backend["user"])
    page.get_by_label("Password").fill(backend["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/login" not in url)
    facts = httpx.Client(
        base_url=f"{backend['url']}/api/v1/projects/{project}", auth=(backend["user"], backend["password"])
    )
    yield Lead(page, f"{backend['url']}/projects/{project}", facts)
    facts.close()


@pytest.fixture(scope="module")
def miscounted(person: Person, studio: dict[str, Any], api: httpx.Client) -> list[int]:
    """Twelve more corrections, three of which change how many there are; the tasks of those three."""
    wait_for(lambda: person.asks("status")["job"] is None, within_s=_TRAINED_WITHIN_S)
    unlabelled = (task for task in tasks_of(api, studio["project_id"]) if not task["annotations"])
    chosen = list(islice(unlabelled, 12))
    for number, task in enumerate(chosen):
        suggestion = newest(task)["result"][0]["value"]["text"][0]
        words = suggestion.split()
        caption = " ".join(["three", *words[1:]]) if number < 3 else f"{suggestion} at night"
        annotate(api, studio["project_id"], task, caption)
    return [task["id"] for task in chosen[:3]]


def test_ten_captions_are_reviewed_by_keyboard_alone(lead: Lead, miscounted: list[int]) -> None:
    wait_for(lambda: lead.told("/overview")["figures"]["corrections"] >= 72, within_s=_WITHIN_S)
    before = lead.told("/corrections?reviewed=yes")["total"]
    lead.opens("/review?words=changed&reviewed=no&sort=newest")

    for key in _REVIEW_KEYS:
        lead.presses(key)

    assert lead.told("/corrections?reviewed=yes")["total"] == before + 10
    assert lead.told("/corrections?left_out=yes")["total"] == 1


def test_those_whose_number_was_wrong_are_found_and_one_is_left_out_of_training(
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
    _sign_in_to_label_studio(lead.page.context.new_page(), studio)
    lead.opens("/review?sort=newest")
    task = lead.told("/corrections?sort=newest")["corrections"][0]["task_id"]

    with lead.page.context.expect_page() as opened:
        lead.page.keyboard.press("o")

    expect(opened.value).to_have_url(re.compile(rf"/projects/{studio['project_id']}/data.*task={task}\b"))
    expect(opened.value.get_by_test_id("htx-textbox-content").first).to_be_visible()


def test_a_version_is_promoted_and_rolled_back(lead: Lead, person: Person) -> None:
    before = person.asks("status")["champion"]
    made = next(row for row in lead.told("/versions") if row["parent"] and row["version"] != before)["version"]
    lead.opens("/versions")
    row = lead.page.get_by_role("row").filter(has=lead.page.get_by_role("link", name=made, exact=True))

    row.get_by_text("Promote", exact=True).click()
    expect(row.locator("form p").first).to_contain_text("unlabelled tasks")  # what it will do is said before
    row.get_by_role("button", name=f"Promote {made}").click()

    expect(lead.page.get_by_role("heading", level=1)).to_have_text(f"{made} is the champion.")
    assert person.asks("status")["champion"] == made
    lead.page.get_by_text(f"Roll back to {before}", exact=True).click()
    lead.page.get_by_role("button", name="Roll back", exact=True).click()

    expect(lead.page.get_by_role("heading", level=1)).to_have_text(f"{before} is the champion.")
    assert person.asks("status")["champion"] == before
    wait_for(lambda: person.asks("status")["job"] is None, within_s=_TRAINED_WITHIN_S)


def _sign_in_to_label_studio(page: Page, studio: dict[str, Any]) -> None:
    page.goto(f"{studio['url']}/user/login/")
    page.fill("input[name=email]", studio["email"])
    page.fill("input[name=password]", studio["password"])
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/user/login" not in url)
    page.close()
