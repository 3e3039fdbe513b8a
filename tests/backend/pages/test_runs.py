"""The page Runs: what goes on, what became of the others, why, and a form with every setting."""

import html
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page, expect
from tests.support.live_room import press, sign_in
from tests.support.room import post
from tests.support.runs import attempt_at
from tests.support.versions import FinishedRun

from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.runs import PAGE_SIZE, read_runs
from captionloop.errors import RunLost
from captionloop.model.database import Database, Run, RunKind, RunState, utc_now
from captionloop.model.training import named_settings
from captionloop.model.training.settings import FinetuneSettings

PAGE = "/projects/1/runs"
FAILED = "Label Studio does not answer. Start it, and try again."


def keep(database: Database, project_id: int, run_id: str, state: RunState, **values: object) -> None:
    number = int(run_id) if run_id.isdigit() else 0
    asked = utc_now() - timedelta(hours=100 - number)
    facts = {"started_at": asked, "finished_at": asked + timedelta(seconds=30)} if state.is_over else {}
    with database.session() as session:
        session.add(
            Run(
                id=run_id, project_id=project_id, kind=RunKind.FINETUNE, state=state, created_at=asked,
                **{**facts, **values},
            )
        )  # fmt: skip


@pytest.fixture
def failed(database: Database, finished: FinishedRun) -> str:
    keep(database, finished.project.id, "1", RunState.FAILED, message=FAILED, settings={"steps": 7})
    return "1"


@pytest.fixture
def running(database: Database, finished: FinishedRun, room: Room) -> str:
    detail = {"stage": "training", "step": 2, "steps": 10, "loss": 2.5, "seconds_left": 8}
    keep(
        database, finished.project.id, "9", RunState.RUNNING, progress=0.3, detail=detail, started_at=utc_now(),
        heartbeat_at=utc_now(),
    )  # fmt: skip
    files = room.home.attempt("9", 0) / "version"
    files.mkdir(parents=True)
    header = "step,loss,learning_rate,gradient_norm,images_per_second,memory_mib"
    (files / "training_log.csv").write_text(f"{header}\n1,3.0,0.1,1,1,1\n2,2.5,0.1,1,1,1\n3,2.")
    return "9"


def text(client: FlaskClient, path: str = PAGE) -> str:
    return client.get(path).get_data(as_text=True)


def test_before_any_run_the_page_says_what_a_run_does(lead: FlaskClient) -> None:
    assert "A run fine-tunes the champion" in text(lead)


def test_the_newest_comes_first_and_older_ones_are_on_further_pages(
    lead: FlaskClient, database: Database, finished: FinishedRun
) -> None:
    for number in range(PAGE_SIZE + 1):
        keep(database, finished.project.id, str(number), RunState.FINISHED, message=f"outcome {number}.")

    first, second = text(lead), text(lead, f"{PAGE}?page=2")

    assert first.index(f"outcome {PAGE_SIZE}.") < first.index("outcome 1.")
    assert ("outcome 0." in first, "outcome 0." in second) == (False, True)


def test_a_failed_run_says_what_happened_and_has_the_workers_lines(lead: FlaskClient, room: Room, failed: str) -> None:
    run = room.runs.get(failed)
    assert run
    assert run.started_at
    room.home.logs.mkdir()
    moment = run.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S,000")
    (room.home.logs / "worker.log").write_text(f"{moment} ERROR jobs: <no answer>\n")

    shown = text(lead)

    assert FAILED in shown
    assert "ERROR jobs: &lt;no answer&gt;" in shown


def test_without_a_log_the_page_says_where_it_would_be(lead: FlaskClient, room: Room, failed: str) -> None:
    assert f"There is no {room.home.logs / 'worker.log'}" in text(lead, f"{PAGE}/{failed}")


def test_the_running_one_shows_progress_and_the_loss_so_far(lead: FlaskClient, running: str) -> None:
    shown = text(lead)

    assert "step 2 of 10" in shown
    assert "Loss, 3.000 at first, 2.500 at step 2" in shown


def test_the_part_of_a_run_is_sent_live_until_it_is_over(lead: FlaskClient, room: Room, running: str) -> None:
    events = iter(lead.get(f"{PAGE}/live?runs={running}").response)
    next(events)
    assert b"event: run" in next(events)

    attempt_at(room.runs, running).finish(RunState.FINISHED, message="done.")

    assert b"event: over" in next(events)


def test_trying_again_starts_a_run_with_the_same_settings(lead: FlaskClient, room: Room, failed: str) -> None:
    answer = post(lead, f"{PAGE}/{failed}/retry", page=PAGE)

    [run] = room.runs.unfinished(1)
    assert (run.settings, run.state, run.asked_by) == ({"steps": 7}, RunState.QUEUED, "lead")
    assert "The run is queued" in answer.get_data(as_text=True)


def test_a_run_that_goes_on_is_not_tried_again(lead: FlaskClient, running: str) -> None:
    assert post(lead, f"{PAGE}/{running}/retry", page=PAGE).status_code == 400


def test_cancelling_says_first_what_will_happen(lead: FlaskClient, room: Room, running: str) -> None:
    assert "What was trained so far is thrown away" in text(lead)

    post(lead, f"{PAGE}/{running}/cancel", page=PAGE, back=PAGE)

    run = room.runs.get(running)
    assert run
    assert run.cancel_requested


def test_the_form_has_every_setting(lead: FlaskClient) -> None:
    shown = text(lead, f"{PAGE}/new")
    assert [item.name for item in fields(FinetuneSettings) if f'name="{item.name}"' not in shown] == []


def test_the_form_starts_a_run_with_what_was_filled_in_alone(lead: FlaskClient, room: Room) -> None:
    post(lead, f"{PAGE}/new", page=f"{PAGE}/new", way="lora", steps="40", learning_rate="", augment="false")

    [run] = room.runs.unfinished(1)
    assert run.settings == {"way": "lora", "steps": 40, "augment": False}


@pytest.fixture
def careful(database: Database, finished: FinishedRun) -> str:
    """Settings that a sweep has left, by their name."""
    with database.session() as session:
        named_settings.save(session, finished.project.id, "careful", {"steps": 77, "way": "lora"}, origin="a sweep")
    return "careful"


def test_settings_of_a_name_stand_where_the_defaults_would(lead: FlaskClient, careful: str) -> None:
    shown = text(lead, f"{PAGE}/new?settings={careful}")

    for expected in (
        'placeholder="77"',
        '<option value="">small matrices beside the attention (LoRA) (careful)</option>',
        "careful: a sweep.",
    ):
        assert expected in shown


def test_a_run_takes_settings_by_their_name_and_what_was_filled_in_beside_them(
    lead: FlaskClient, room: Room, careful: str
) -> None:
    post(lead, f"{PAGE}/new", page=f"{PAGE}/new", settings=careful, steps="40")

    [run] = room.runs.unfinished(1)
    assert run.settings == {"settings": "careful", "steps": 40}
    assert "Those of the name <strong>careful</strong>" in text(lead, f"{PAGE}/{run.id}")


def test_a_run_that_had_settings_by_their_name_has_them_again(
    lead: FlaskClient, room: Room, database: Database, finished: FinishedRun, careful: str
) -> None:
    keep(database, finished.project.id, "5", RunState.FAILED, settings={"settings": careful, "seed": 2})

    post(lead, f"{PAGE}/5/retry", page=PAGE)

    [run] = room.runs.unfinished(1)
    assert run.settings == {"settings": "careful", "seed": 2}


def test_settings_that_are_not_there_are_named_with_those_that_are(lead: FlaskClient, careful: str) -> None:
    answer = lead.get(f"{PAGE}/new?settings=bold")

    assert answer.status_code == 404
    assert "It knows: careful." in answer.get_data(as_text=True)


def test_a_wrong_value_is_answered_beside_its_field_and_all_values_stay(lead: FlaskClient, room: Room) -> None:
    answer = post(lead, f"{PAGE}/new", page=f"{PAGE}/new", steps="many", seed="3")

    shown = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "steps is &#39;many&#39;; expected a whole number above 0" in shown
    assert ('value="many"' in shown, 'value="3"' in shown) == (True, True)
    assert room.runs.unfinished(1) == []


def test_the_page_of_a_run_has_settings_figures_samples_and_its_version(
    lead: FlaskClient, database: Database, finished: FinishedRun
) -> None:
    name = finished.version.version
    keep(database, finished.project.id, "5", RunState.FINISHED, version=name, settings={"steps": 40}, message="made.")

    shown = text(lead, f"{PAGE}/5")

    for expected in ("learning_rate", "asked for", "CIDEr-D", "&lt;i&gt;step 40&lt;/i&gt;", f"versions/{name}/report"):
        assert expected in shown
    assert "Loss, 4.000 at first" in shown


def test_a_run_of_another_project_is_not_found(lead: FlaskClient) -> None:
    assert lead.get(f"{PAGE}/nothing").status_code == 404


def test_a_reader_sees_runs_and_has_no_buttons(reader: FlaskClient, failed: str) -> None:
    shown = text(reader)
    assert (FAILED in shown, "Try again" in shown, "Start a run" in shown) == (True, False, False)


def test_the_list_can_be_taken_away_with_its_filter(lead: FlaskClient, failed: str, running: str) -> None:
    rows = json.loads(text(lead, f"{PAGE}?state=failed&format=json"))
    assert [(row["id"], row["state"], row["settings"]) for row in rows] == [("1", "failed", {"steps": 7})]
    assert text(lead, f"{PAGE}?state=cancelled&format=csv").count("\n") == 1


def test_an_unknown_filter_is_named(lead: FlaskClient) -> None:
    answer = lead.get(f"{PAGE}?state=broken")
    assert (answer.status_code, "finished, failed, cancelled" in answer.get_data(as_text=True)) == (400, True)


def test_a_run_that_ends_while_the_page_is_gathered_is_still_on_it(
    room: Room, finished: FinishedRun, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_it_ends(look: Callable[..., Sequence[Run]]) -> Callable[..., Sequence[Run]]:
        def looked(*arguments: Any, **options: Any) -> Sequence[Run]:
            found = look(*arguments, **options)
            with suppress(RunLost):  # the second time
                attempt_at(room.runs, running).finish(RunState.FINISHED, message="v9 was made.")
            return found

        return looked

    for name in ("unfinished", "over"):
        monkeypatch.setattr(room.runs, name, then_it_ends(getattr(room.runs, name)))

    shown = read_runs(room, finished.project)

    assert running in {run.id for run in [*shown.unfinished, *shown.over]}


def test_the_loss_curve_moves_and_a_run_is_started_by_keys(
    page: Page, served: str, room: Room, running: str, failed: str
) -> None:
    sign_in(page, served)
    page.goto(f"{served}{PAGE}")
    expect(page.locator(".loss svg")).to_have_attribute("aria-label", "Loss, 3.000 at first, 2.500 at step 2")

    with (room.home.attempt(running, 0) / "version" / "training_log.csv").open("a") as log:
        log.write("0,0.1,1,1,1\n")
    attempt_at(room.runs, running).report(0.4, stage="training", step=3, steps=10, loss=2.0)

    expect(page.locator(".loss svg")).to_have_attribute("aria-label", "Loss, 3.000 at first, 2.000 at step 3")
    expect(page.get_by_text("step 3 of 10")).to_be_visible()
    press(page, "n")
    page.get_by_label("Training steps", exact=True).fill("40")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The run waits until the one before it is over.")).to_be_visible()
    [_, waiting] = room.runs.unfinished(1)
    room.runs.cancel(waiting.id)
    attempt_at(room.runs, running).finish(RunState.FINISHED, message="v9 was made.")
    expect(page.get_by_text("v9 was made.")).to_be_visible()  # and no stream is left for the server to wait for


def test_shares_are_percent_with_the_difference_from_the_champion(
    lead: FlaskClient, database: Database, finished: FinishedRun
) -> None:
    made = finished.version
    keep(database, finished.project.id, "5", RunState.FINISHED, version=made.version, message="made.")

    shown = html.unescape(lead.get(f"{PAGE}/5").get_data(as_text=True))

    share = re.search(r"<dt>Exactly right</dt><dd>.*?>(100\u00a0%)<.*?</dd>", shown)
    assert share
    assert f"+100\u00a0% from 0\u00a0% with {made.parent}" in share[0]


def test_a_run_is_started_with_three_settings_in_words_and_the_button_in_sight(page: Page, served: str) -> None:
    sign_in(page, served)
    page.goto(f"{served}{PAGE}/new")

    expect(page.locator("form .setting:visible label")).to_have_text(
        ["What is trained", "Learning rate", "Training steps"], use_inner_text=True
    )
    expect(page.get_by_role("button", name="Start the run")).to_be_in_viewport(ratio=1)
    page.get_by_text("Expert settings").click()
    names = page.locator("form .setting:visible label").all_inner_texts()
    assert len(names) > 15
    assert not [name for name in names if "_" in name or name[0].islower()]
    expect(page.get_by_role("button", name="Start the run")).to_be_in_viewport(ratio=1)


def test_a_bad_expert_setting_is_shown_in_place(lead: FlaskClient) -> None:
    shown = post(lead, f"{PAGE}/new", page=f"{PAGE}/new", seed="many").get_data(as_text=True)

    assert '<details class="expert" open>' in shown
