"""A project in two languages, as people walk it in a browser: from ten corrections in each to suggestions."""

import base64
import re
from collections.abc import Callable
from itertools import islice
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.support.backend import Backend
from tests.support.label_studio_pages import correct, draft, log_in_to_label_studio, open_task, start_training
from tests.support.person import Person
from tests.support.studio import newest, tasks_of, wait_for

from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.local.sample import pictures, scenes
from captionloop.model.starter.languages import arabic, chinese

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

_OF_EACH, _UNTOUCHED = 10, 4
_CAPTIONED_WITHIN_S, _TRAINED_WITHIN_S = 600, 1200
_CHINESE, _ARABIC = r"[\u4e00-\u9fff]", r"[\u0600-\u06ff]"


@pytest.fixture
def project(person: Person, studio: dict[str, Any], api: httpx.Client) -> dict[str, Any]:
    """A connected project with a picture of each scene; as `studio` is of the sample project."""
    body = {"title": "图片 · صور", "label_config": SAMPLE_LABEL_CONFIG}
    number = int(api.post("/api/projects/", json=body).raise_for_status().json()["id"])
    drawn = islice(pictures(), 2 * _OF_EACH + _UNTOUCHED)
    tasks = [{"image": f"data:image/png;base64,{base64.b64encode(png).decode()}"} for _, _, png in drawn]
    api.post(f"/api/projects/{number}/import", json=tasks).raise_for_status()
    person.does("connect", "--project", str(number))
    return studio | {"project_id": number}


def test_ten_chinese_and_ten_arabic_corrections_become_suggestions_in_their_scripts_that_can_be_reviewed(
    person: Person, project: dict[str, Any], api: httpx.Client, backend_of: Callable[[int], Backend], page: Page
) -> None:
    number = project["project_id"]
    backend = backend_of(number)
    base = backend.champion()
    tasks = wait_for(lambda: _captioned(api, number), within_s=_CAPTIONED_WITHIN_S)  # connecting has them captioned
    written = _written()
    log_in_to_label_studio(page, project)
    for task, caption in zip(tasks, written, strict=False):
        open_task(page, project, task)
        expect(draft(page)).to_have_text(_suggestion(task))
        correct(page, caption)
    wait_for(lambda: backend.corrections() == len(written), within_s=_CAPTIONED_WITHIN_S)

    start_training(page, project)
    run = wait_for(lambda: _trained(backend), within_s=_TRAINED_WITHIN_S)
    assert run["state"] == "finished", run
    if backend.champion() == base:  # a dozen held-out pictures would be needed for a verdict that is sure
        person.does("promote", run["version"], "--project", str(number))
        backend.waits_until_idle(within_s=_CAPTIONED_WITHIN_S)

    learnt = [newest(task) for task in tasks_of(api, number)[len(written) :]]
    assert {found["model_version"] for found in learnt} == {run["version"]}
    texts = [found["result"][0]["value"]["text"][0] for found in learnt]
    assert all(re.search(f"{_CHINESE}|{_ARABIC}", text) for text in texts), texts
    open_task(page, project, tasks_of(api, number)[-1])
    expect(draft(page)).to_have_text(texts[-1])

    _sign_in(page, person)
    room = f"{person.asks('status')['backend']['url']}/projects/{number}"
    for caption in (written[0], written[-1]):
        page.goto(f"{room}/review?text={caption}")
        expect(page.locator(".sentences dd", has_text=caption).first).to_be_visible()
        direction = page.locator(".merged").evaluate("item => getComputedStyle(item).direction")
        assert direction == ("rtl" if re.search(_ARABIC, caption) else "ltr")
    page.goto(f"{room}/versions/{run['version']}/report")
    expect(page.locator("h1")).to_have_text(run["version"])
    shown = page.locator(".said .text").all_inner_texts()
    assert any(re.search(_CHINESE, text) for text in shown)
    assert any(re.search(_ARABIC, text) for text in shown)


def _written() -> list[str]:
    """What the two annotators write, in the order of the tasks."""
    drawn = list(islice(scenes().values(), 2 * _OF_EACH))
    return [*map(chinese, drawn[:_OF_EACH]), *map(arabic, drawn[_OF_EACH:])]


def _captioned(api: httpx.Client, number: int) -> list[dict[str, Any]]:
    """All tasks, once each has a suggestion."""
    found = tasks_of(api, number)
    return found if all(task["predictions"] for task in found) else []


def _suggestion(task: dict[str, Any]) -> str:
    return str(newest(task)["result"][0]["value"]["text"][0])


def _trained(backend: Backend) -> dict[str, Any] | None:
    """The fine-tuning run, once it and the renewal of suggestions after it are over."""
    runs = [run for run in backend.told("/runs")["over"] if run["kind"] == "finetune"]
    return runs[0] if runs and backend.is_idle() else None


def _sign_in(page: Page, person: Person) -> None:
    found = person.asks("status")["backend"]
    page.goto(f"{found['url']}/login")
    page.get_by_label("User").fill(found["user"])
    page.get_by_label("Password").fill(found["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/login" not in url)
