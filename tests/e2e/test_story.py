"""The loop as people walk it in a browser: suggestion, corrections, Start Training, better suggestion, rollback."""

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.support.backend import Backend
from tests.support.label_studio_pages import correct, draft, log_in_to_label_studio, open_task, start_training
from tests.support.modes import open_to_others
from tests.support.person import Person
from tests.support.studio import annotate, tasks_of, wait_for

from captionloop.home import read_json

pytestmark = pytest.mark.slow

_TRAINED_WITHIN_S = 1800
_CORRECTIONS = 60


def test_corrections_become_the_captions_of_untouched_tasks_and_a_rollback_brings_the_old_ones_back(
    person: Person, studio: dict[str, Any], api: httpx.Client, backend: Backend, page: Page
) -> None:
    base = backend.champion()
    tasks = tasks_of(api, studio["project_id"])
    captions = _captions(person, tasks)
    corrected, untouched = tasks[:_CORRECTIONS], tasks[_CORRECTIONS]
    log_in_to_label_studio(page, studio)

    # The suggestion is in the annotator's own draft, in view; it is changed with the pencil.
    open_task(page, studio, corrected[0])
    expect(draft(page)).to_have_text(_suggestion(corrected[0], version=base))
    expect(draft(page)).to_be_in_viewport(ratio=1)
    # Around the picture Label Studio's canvas has a margin of 21 pixels, which may be cut off.
    expect(page.locator("canvas").first).to_be_in_viewport(ratio=0.9)
    correct(page, _house_style(captions[corrected[0]["id"]]))
    for task in corrected[1:]:
        annotate(api, studio["project_id"], task, _house_style(captions[task["id"]]))

    start_training(page, studio)
    champion = wait_for(lambda: _other_champion(backend, than=base), within_s=_TRAINED_WITHIN_S)

    learnt = _suggestion(tasks_of(api, studio["project_id"])[_CORRECTIONS], version=champion)
    assert learnt.startswith("Alt text: ")
    open_task(page, studio, untouched)
    expect(draft(page)).to_have_text(learnt)

    person.does("rollback")
    assert person.asks("status")["champion"] == base
    backend.waits_until_idle(within_s=_TRAINED_WITHIN_S)
    open_task(page, studio, untouched)
    expect(draft(page)).to_have_text(_suggestion(untouched, version=base))


def test_files_in_the_home_are_for_its_owner_alone(person: Person) -> None:
    assert any(path.name.startswith("v1-") for path in person.home.versions.iterdir())
    assert open_to_others(person.home.root) == []


def _house_style(caption: str) -> str:
    """`a small red car above a large green tree` → `Alt text: car (red, small) above tree (green, large)`."""
    return "Alt text: " + re.sub(r"a (\w+) (\w+) (\w+)", r"\3 (\2, \1)", caption)


# What a program sees -----------------------------------------------------------------------------------------------


def _captions(person: Person, tasks: list[dict[str, Any]]) -> dict[int, str]:
    """The canonical caption of each task's picture; Label Studio puts a random prefix before the file's name."""
    of_file = read_json(person.home.root / "sample.json")["images"]
    return {task["id"]: of_file[task["data"]["image"].rpartition("/")[2].partition("-")[2]] for task in tasks}


def _suggestion(task: dict[str, Any], *, version: str) -> str:
    (prediction,) = [found for found in task["predictions"] if found["model_version"] == version]
    text: str = prediction["result"][0]["value"]["text"][0]
    return text


def _other_champion(backend: Backend, *, than: str) -> str | None:
    run, champion = backend.latest_run(), backend.champion()
    assert run is not None
    assert run["state"] != "failed", run
    is_done = champion != than and backend.is_idle()  # the run after it renews the suggestions
    return champion if is_done else None
