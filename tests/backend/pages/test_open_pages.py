"""Pages that somebody has left open, while something happens elsewhere."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page, expect
from tests.support.corrections import correct
from tests.support.live_room import sign_in
from tests.support.runs import attempt_at
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.model.database import Database, RunState

_LOOKS_EVERY_MS = 10_000


@pytest.fixture
def left_open(page: Page, served: str) -> Callable[[str], None]:
    """Opens a page of the project; `looks_again` then lets its ten seconds pass."""

    def open_page(path: str) -> None:
        page.clock.install()
        sign_in(page, served)
        page.goto(f"{served}/projects/1/{path}")
        page.wait_for_load_state("load")

    return open_page


def looks_again(page: Page) -> None:
    page.clock.fast_forward(_LOOKS_EVERY_MS + 500)


@pytest.mark.parametrize("path", ["", "runs"])
def test_a_run_that_began_elsewhere_is_noticed_and_followed(
    page: Page, left_open: Callable[[str], None], room: Room, finished: FinishedRun, path: str
) -> None:
    left_open(path)
    expect(page.locator("[data-live]")).to_have_count(0)
    run = room.start_run(finished.project, {}, by="Label Studio").run
    room.runs.start(run.id)

    looks_again(page)

    expect(page.locator("[data-live] progress")).to_be_visible()
    attempt_at(room.runs, run.id).report(0.4, stage="training", step=16, steps=40)
    expect(page.get_by_text("step 16 of 40")).to_be_visible()
    attempt_at(room.runs, run.id).finish(RunState.FINISHED, message="v9 was made.")
    expect(page.get_by_text("v9 was made.")).to_be_visible()


@pytest.mark.parametrize(("path", "said"), [("", "serves since"), ("versions", "is the champion")])
def test_a_promotion_elsewhere_is_noticed(
    page: Page, left_open: Callable[[str], None], room: Room, finished: FinishedRun, path: str, said: str
) -> None:
    left_open(path)
    before = finished.store.champion(finished.project.id).version
    expect(page.locator(".lead")).to_contain_text(before)

    room.versions.promote(finished.project.id, finished.version.version, reason="test")
    looks_again(page)

    expect(page.locator(".lead")).to_contain_text(f"{finished.version.version} {said}")


@pytest.mark.parametrize(("path", "said"), [("", "serves since"), ("versions", "is the champion")])
def test_a_rollback_elsewhere_is_noticed(
    page: Page, left_open: Callable[[str], None], room: Room, finished: FinishedRun, path: str, said: str
) -> None:
    before = finished.store.ensure_champion(finished.project.id, room.context.base)
    room.promote(finished.project, finished.version.version, by="test")
    left_open(path)
    expect(page.locator(".lead")).to_contain_text(f"{finished.version.version} {said}")

    room.rollback(finished.project)
    looks_again(page)

    expect(page.locator(".lead")).to_contain_text(f"{before} {said}")


def test_corrections_of_a_sync_are_noticed_and_counted_on_the_tab_as_well(
    page: Page, left_open: Callable[[str], None], database: Database, finished: FinishedRun
) -> None:
    left_open("")
    expect(page.locator("#waiting")).to_have_text("12 to review")
    correct(database, finished.project, version=finished.version.version, caption="a blue square")

    looks_again(page)

    expect(page.locator("#waiting")).to_have_text("13 to review")


def test_nobody_is_disturbed_who_reads_what_a_button_will_do(
    page: Page, left_open: Callable[[str], None], database: Database, finished: FinishedRun
) -> None:
    left_open("")
    page.get_by_text("Train now").click()
    correct(database, finished.project, version=finished.version.version, caption="a blue square")

    looks_again(page)
    page.wait_for_timeout(500)
    expect(page.get_by_role("button", name="Start the run")).to_be_visible()
    expect(page.locator("#waiting")).to_have_text("12 to review")

    page.keyboard.press("Escape")
    looks_again(page)
    expect(page.locator("#waiting")).to_have_text("13 to review")


def test_that_a_run_is_queued_is_no_longer_said_when_it_goes_on(
    page: Page, left_open: Callable[[str], None], room: Room
) -> None:
    left_open("")
    page.get_by_text("Train now").click()
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_text("The run is queued")).to_be_visible()
    (run,) = room.runs.unfinished(1)
    expect(page.get_by_text("waits for the worker")).to_be_visible()

    room.runs.start(run.id)

    expect(page.get_by_text("The run is queued")).to_have_count(0)
    attempt_at(room.runs, run.id).finish(RunState.FINISHED, message="v9 was made.")
    expect(page.get_by_text("v9 was made.")).to_be_visible()


def test_what_is_no_longer_true_is_not_said_although_the_run_had_begun_before_the_page_was_followed(
    page: Page, left_open: Callable[[str], None], room: Room
) -> None:
    left_open("")
    page.route("**/live*", lambda route: (room.runs.start(room.runs.unfinished(1)[0].id), route.continue_()))
    page.get_by_text("Train now").click()
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("[data-live] [data-state=running]")).to_be_visible()
    expect(page.get_by_text("The run is queued")).to_have_count(0)


def test_the_pulse_changes_with_each_of_them_and_not_by_itself(
    lead: FlaskClient, room: Room, database: Database, finished: FinishedRun
) -> None:
    def pulse() -> str:
        return lead.get("/projects/1/pulse").get_data(as_text=True)

    seen = [pulse()]
    assert pulse() == seen[0]
    run = room.start_run(finished.project, {}, by="lead").run
    seen.append(pulse())
    room.runs.start(run.id)
    attempt_at(room.runs, run.id).report(0.4, stage="training", step=16, steps=40)
    assert pulse() == seen[-1]  # its progress has a stream of its own
    attempt_at(room.runs, run.id).finish(RunState.FINISHED, message="Done.")
    seen.append(pulse())
    room.versions.promote(finished.project.id, finished.version.version, reason="test")
    seen.append(pulse())
    correct(database, finished.project, version=finished.version.version, caption="a blue square")
    seen.append(pulse())
    assert len(set(seen)) == len(seen)
