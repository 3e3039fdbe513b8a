"""The overview: a sentence that answers the lead's question, the figures behind it, and what can be done now."""

import csv
import html
import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.corrections import correct
from tests.support.label_configs import label_config
from tests.support.live_room import sign_in
from tests.support.models import add_project
from tests.support.processes import until
from tests.support.room import post
from tests.support.runs import attempt_at
from tests.support.styles import serve_styles
from tests.support.versions import FinishedRun

from captionloop.backend.health import checkups, doctor
from captionloop.backend.health.doctor import NOT_LOOKED_AT, Check
from captionloop.backend.label_studio.controls import take_label_config
from captionloop.backend.page_data.overview import FEW_CORRECTIONS, Outcome, outcome_of
from captionloop.backend.page_data.room import Room
from captionloop.backend.pages import live
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Database, Project, Run, RunKind, RunState, Suggestion, utc_now
from captionloop.model.training import named_settings
from captionloop.model.versions.store import VersionInfo

if TYPE_CHECKING:
    from playwright.sync_api import Page

_PAGE = "/projects/1/"


def text_of(client: FlaskClient, path: str = _PAGE) -> str:
    """What a person reads on a page, without tags."""
    page = client.get(path).get_data(as_text=True)
    main = re.search(r"<main.*</main>", page, re.DOTALL)
    assert main, page
    return " ".join(re.sub(r"<[^>]+>", " ", main[0]).split())


def run_of(room: Room, project: Project, kind: RunKind = RunKind.FINETUNE) -> Run:
    """A run that waits for a worker."""
    return room.context.queue.request(project.id, kind, asked_by="somebody").run


def started(room: Room, project: Project) -> Run:
    attempt = room.runs.start(run_of(room, project).id)
    assert attempt is not None
    return attempt.run


@pytest.fixture
def champion(finished: FinishedRun) -> str:
    return finished.store.champion(finished.project.id).version


def test_one_style_is_not_spoken_of(lead: FlaskClient) -> None:
    assert "style" not in text_of(lead)


def test_a_style_that_the_champion_was_not_taught_is_said_to_wait_for_a_run(
    lead: FlaskClient, room: Room, finished: FinishedRun, database: Database, champion: str
) -> None:
    room.begin_style(finished.project, "British")
    correct(database, finished.project, version=champion, at=utc_now())
    assert (
        f"{champion} was not taught the style British , so suggestions are in the style without a name until a run on "
        "its corrections, 1 so far."
    ) in text_of(lead)


def test_the_style_that_suggestions_are_in_is_named(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    serve_styles(finished.store, finished.project, finished.base.source)
    assert "Suggestions are in the style without a name." in text_of(lead)
    room.begin_style(finished.project, "shouted")
    assert "Suggestions are in the style shouted ." in text_of(lead)


# The sentence ------------------------------------------------------------------------------------------------------


def test_the_champion_is_named_with_the_share_that_people_keep(
    lead: FlaskClient, database: Database, finished: FinishedRun, champion: str
) -> None:
    for caption in ("a red square", "a red square", "a red square", "a blue square"):
        correct(database, finished.project, version=champion, caption=caption)

    page = text_of(lead)

    assert page.startswith(f"{champion} serves since")
    assert "People keep 75 %" in page
    assert f"4 submitted suggestions of {champion} in which no word was changed; 95 % interval 30 % to 95 %" in page


def test_the_share_is_compared_with_the_version_before(
    lead: FlaskClient, database: Database, finished: FinishedRun, champion: str, room: Room
) -> None:
    correct(database, finished.project, version=champion, caption="a blue square")
    correct(database, finished.project, version=finished.version.version)
    room.promote(finished.project, finished.version.version, by="somebody")

    page = text_of(lead)

    assert re.search(rf"People keep 100 % .* of its captions, 0 % .* with {champion}", page)


def test_the_page_says_what_more_corrections_would_bring_or_that_nobody_can_tell(lead: FlaskClient) -> None:
    assert "What another 50 corrections will bring cannot be told yet: it takes 3 versions" in text_of(lead)


def test_without_corrections_the_page_says_where_to_make_some(
    lead: FlaskClient, database: Database, finished: FinishedRun
) -> None:
    empty = add_project(database, 2)
    finished.store.ensure_champion(empty.id, finished.base)

    page = text_of(lead, "/projects/2/")
    assert "No suggestions yet. Caption the project" in page
    assert "Train now" not in page

    with database.session() as session:
        session.add(
            Suggestion(
                project_id=empty.id,
                task_id=1,
                model_version=finished.base.name,
                caption="a",
                score=0.5,
                created_at=utc_now(),
            )
        )
    assert "No corrections yet. Open the project in Label Studio" in text_of(lead, "/projects/2/")


def test_a_few_new_corrections_are_counted_and_no_run_is_proposed(
    lead: FlaskClient, database: Database, finished: FinishedRun, champion: str
) -> None:
    correct(database, finished.project, version=champion)

    page = lead.get(_PAGE).get_data(as_text=True)

    assert "1 new correction<" in page
    assert "20 or more are worth a run" in page
    assert 'class="button" data-key="t">Train now' in page


def test_enough_new_corrections_make_training_the_thing_to_do(
    lead: FlaskClient, database: Database, finished: FinishedRun, champion: str
) -> None:
    for _ in range(FEW_CORRECTIONS):
        correct(database, finished.project, version=champion)

    page = lead.get(_PAGE).get_data(as_text=True)

    assert "20 new corrections<" in page
    assert "enough to train again" in page
    assert 'class="button primary" data-key="t">Train now' in page


def test_while_a_run_goes_on_it_can_be_cancelled_and_none_be_started(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    run = started(room, finished.project)
    attempt_at(room.runs, run.id).report(0.5, stage="training", step=20, steps=40, loss=1.25, seconds_left=12.4)

    page = text_of(lead)

    assert "A run is going on" in page
    assert "Training step 20 of 40 loss 1.250 12 s left" in page
    assert "Cancel the training" in page
    assert "Train now" not in page


def test_a_failed_run_says_what_went_wrong(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    run = started(room, finished.project)
    attempt_at(room.runs, run.id).finish(RunState.FAILED, message="There are 3 corrections; a run needs 10.")

    assert "The last run failed. There are 3 corrections; a run needs 10." in text_of(lead)


# What can be done --------------------------------------------------------------------------------------------------


def test_a_run_takes_the_settings_of_the_form_and_defaults_for_empty_fields(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    answer = post(lead, "/projects/1/train", page=_PAGE, way="lora", steps="30", learning_rate="")

    run = room.runs.current(finished.project.id)
    assert run is not None
    assert (run.settings, run.state, run.asked_by) == ({"way": "lora", "steps": 30}, RunState.QUEUED, "lead")
    assert "The run is queued and begins" in answer.get_data(as_text=True)


def test_a_second_request_is_folded_into_the_run_that_has_not_begun(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    first = run_of(room, finished.project)

    answer = post(lead, "/projects/1/train", page=_PAGE, steps="30")

    assert "takes this request, with these settings" in answer.get_data(as_text=True)
    run = room.runs.current(finished.project.id)
    assert run is not None
    assert (run.id, run.settings) == (first.id, {"steps": 30})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("steps", "none", "steps is &#39;none&#39;; expected a whole number above 0"),
        ("learning_rate", "0,001", "learning_rate is &#39;0,001&#39;; expected a number above 0"),
        ("way", "sideways", "expected one of decoder, lora, full"),
        ("speed", "3", "Unknown fine-tuning setting speed"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_a_sentence_and_nothing_runs(
    lead: FlaskClient, room: Room, finished: FinishedRun, field: str, value: str, said: str
) -> None:
    answer = post(lead, "/projects/1/train", page=_PAGE, **{field: value})

    assert (answer.status_code, said in answer.get_data(as_text=True)) == (400, True)
    assert room.runs.current(finished.project.id) is None


def test_a_sync_is_handed_to_the_worker(lead: FlaskClient, room: Room) -> None:
    answer = post(lead, "/projects/1/sync", page=_PAGE)

    assert "being fetched from Label Studio" in answer.get_data(as_text=True)
    assert room.context.queue.request_sync(1) is False  # one is asked for already


def test_a_rollback_brings_the_version_before_back_and_renews_suggestions(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    before = finished.store.ensure_champion(finished.project.id, room.context.base)
    room.promote(finished.project, finished.version.version, by="somebody")
    assert "Roll back" in text_of(lead)

    answer = post(lead, "/projects/1/rollback", page=_PAGE)

    assert f"{before} is the champion again" in answer.get_data(as_text=True)
    assert finished.store.champion(finished.project.id).version == before
    renewal = room.runs.current(finished.project.id)
    assert renewal is not None
    assert renewal.kind is RunKind.ANNOTATE


def test_a_champion_that_was_never_trained_offers_no_way_back(lead: FlaskClient) -> None:
    assert "Roll back" not in text_of(lead)
    assert "no earlier version" in post(lead, "/projects/1/rollback", page=_PAGE).get_data(as_text=True)


def test_a_run_that_has_not_begun_is_cancelled_at_once(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    run = run_of(room, finished.project)

    post(lead, f"/projects/1/runs/{run.id}/cancel", page=_PAGE)

    after = room.runs.get(run.id)
    assert after is not None
    assert after.state is RunState.CANCELLED


def test_a_run_takes_settings_by_their_name(
    lead: FlaskClient, room: Room, database: Database, finished: FinishedRun
) -> None:
    with database.session() as session:
        named_settings.save(session, finished.project.id, "careful", {"steps": 77}, origin="a sweep")
    assert "<option>careful</option>" in lead.get(_PAGE).get_data(as_text=True)

    post(lead, "/projects/1/train", page=_PAGE, settings="careful", way="")

    [run] = room.runs.unfinished(finished.project.id)
    assert run.settings == {"settings": "careful"}


def test_a_run_that_goes_on_stops_soon_and_what_stays_of_it_is_said(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    run = room.runs.request(finished.project.id, RunKind.ANNOTATE, asked_by="test").run
    room.runs.start(run.id)

    said = post(lead, f"/projects/1/runs/{run.id}/cancel", page=_PAGE).get_data(as_text=True)

    assert "stops at its next step; suggestions that are renewed already stay." in said


def test_a_run_of_another_project_is_not_there(lead: FlaskClient, room: Room, database: Database) -> None:
    other = run_of(room, add_project(database, 2))

    assert post(lead, f"/projects/1/runs/{other.id}/cancel", page=_PAGE).status_code == 404
    assert room.runs.get(other.id).state is RunState.QUEUED  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("back", "leads_to"),
    [
        ("/projects/1/?x=a%20b", "/projects/1/?x=a%20b"),
        ("https://example.org/", _PAGE),
        ("//example.org/", _PAGE),
        ("/\\example.org", _PAGE),
        ("/\t/example.org", _PAGE),
        ("javascript:alert(1)", _PAGE),
        ("", _PAGE),
    ],
)
def test_a_form_leads_back_to_its_page_and_never_to_another_site(
    lead: FlaskClient, room: Room, finished: FinishedRun, back: str, leads_to: str
) -> None:
    token = re.search(r'name="csrf_token" value="([^"]+)"', lead.get(_PAGE).get_data(as_text=True))
    assert token

    answer = lead.post("/projects/1/train", data={"csrf_token": token[1], "back": back})

    assert answer.headers["Location"] == leads_to


# The run as it goes ------------------------------------------------------------------------------------------------


def events_of(client: FlaskClient) -> Iterator[str]:
    """The names of the events that the page's stream brings, as they come."""
    answer = client.get("/projects/1/live", buffered=False)
    assert answer.mimetype == "text/event-stream"
    for chunk in answer.iter_encoded():
        if name := re.match(rb"event: (\w+)", chunk):
            yield name[1].decode()
    answer.close()


def test_the_stream_tells_each_change_and_ends_when_the_run_is_over(
    lead: FlaskClient, room: Room, finished: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_POLL_INTERVAL_S", 0.01)
    run = started(room, finished.project)
    stream = events_of(lead)

    assert next(stream) == "run"
    attempt_at(room.runs, run.id).report(0.5, stage="training", step=20, steps=40)
    assert next(stream) == "run"
    attempt_at(room.runs, run.id).finish(RunState.FINISHED, message="Done.")
    assert list(stream) == ["over"]


def test_without_a_run_the_stream_is_over_at_once(lead: FlaskClient) -> None:
    assert list(events_of(lead)) == ["over"]


def test_browsers_beyond_four_get_one_message_and_ask_again(
    app: Flask, lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    started(room, finished.project)
    streams = [lead.get("/projects/1/live", buffered=False) for _ in range(4)]

    fifth = lead.get("/projects/1/live")

    assert fifth.get_data(as_text=True).startswith("retry: 2000\n")
    assert fifth.get_data(as_text=True).count("event: run") == 1
    for stream in reversed(streams):  # as Flask keeps their contexts on a stack in this one thread
        stream.close()


def test_a_stream_that_nobody_reads_takes_no_place(
    lead: FlaskClient, room: Room, finished: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_POLL_INTERVAL_S", 0.01)
    run = started(room, finished.project)
    for _ in range(9):
        lead.head("/projects/1/live")
        lead.get("/projects/1/live", buffered=False).close()

    stream = events_of(lead)
    assert next(stream) == "run"
    attempt_at(room.runs, run.id).finish(RunState.FINISHED, message="Done.")
    assert list(stream) == ["over"]


# Figures to take away, charts, health ------------------------------------------------------------------------------


def test_the_figures_of_the_charts_can_be_downloaded(
    lead: FlaskClient, database: Database, finished: FinishedRun, champion: str
) -> None:
    correct(database, finished.project, version=champion)

    table = lead.get(_PAGE, query_string={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(table.get_data(as_text=True))))

    assert table.headers["Content-Disposition"] == 'attachment; filename="versions-of-project-1.csv"'
    assert [(row["version"], row["corrected"], row["kept"]) for row in rows] == [(champion, "1", "1.0")]
    assert lead.get(_PAGE, query_string={"format": "json"}).get_json()[0]["version"] == champion


def test_before_any_correction_the_charts_say_what_will_be_there(lead: FlaskClient) -> None:
    assert "Here you will see whether people keep more captions" in text_of(lead)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The projects that doctor was asked to look at, instead of parts that are not there."""
    asked: list[int] = []

    class Examination:
        def __init__(self, _settings: object, *, label_studio_id: int) -> None:
            asked.append(label_studio_id)

        def carry_out(self) -> list[Check]:
            return [
                Check("database", True, "answers"),
                Check("Label Studio", False, "does not answer", "Start it."),
                Check("token", False, NOT_LOOKED_AT, "First: Label Studio."),
            ]

    monkeypatch.setattr(checkups, "Examination", Examination)
    return asked


@pytest.mark.usefixtures("looks")
def test_health_names_what_is_broken_with_its_remedy_and_not_what_lies_behind_it(lead: FlaskClient) -> None:
    page = text_of(lead, "/projects/1/health")

    assert "Label Studio : does not answer Start it." in page
    assert "token" not in page
    assert "database" not in page


def test_without_script_a_link_leads_to_the_health_of_the_parts(lead: FlaskClient) -> None:
    assert '<noscript><p><a href="/projects/1/health">' in lead.get(_PAGE).get_data(as_text=True)


@pytest.mark.usefixtures("looks")
def test_htmx_gets_the_part_alone(lead: FlaskClient) -> None:
    part = lead.get("/projects/1/health", headers={"HX-Request": "true"}).get_data(as_text=True)

    assert "<html" not in part
    assert "does not answer" in part


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """The champion does not answer before it is set, as while its model loads."""
    loaded = Event()

    def champion(self: object) -> str:
        loaded.wait(60)
        return "v1 serves"

    monkeypatch.setattr(doctor._Patient, "_backend", lambda self: "answers")
    monkeypatch.setattr(doctor._Patient, "_backend_password", lambda self: "accepted")
    monkeypatch.setattr(doctor._Patient, "_champion", champion)
    yield loaded
    loaded.set()


def test_a_part_that_takes_long_is_named_beside_the_answers_of_the_others(lead: FlaskClient, loading: Event) -> None:
    def part() -> str:
        begun = time.monotonic()
        answer = lead.get("/projects/1/health", headers={"HX-Request": "true"}).get_data(as_text=True)
        assert time.monotonic() - begun < 10
        return answer

    until(lambda: "Waiting for an answer about champion…" in part(), within_s=30)  # the other parts have answered
    waiting = part()
    loading.set()
    until(lambda: "Looked at" in part(), within_s=30)

    assert 'hx-trigger="load delay:1s"' in waiting
    assert "Label Studio</span>: " in waiting
    assert "hx-get" not in part()


def test_in_a_browser_it_says_what_it_waits_for_and_fills_in_by_itself(
    page: "Page", served: str, loading: Event
) -> None:
    from playwright.sync_api import expect

    health = page.locator(".health")
    sign_in(page, served)
    page.goto(f"{served}{_PAGE}")

    expect(health).to_contain_text("Waiting for an answer about champion…")
    expect(health).to_contain_text("Label Studio:")
    loading.set()
    expect(health).to_contain_text("Looked at")
    expect(health).not_to_contain_text("Waiting")


def test_a_part_that_takes_long_delays_no_other_project(lead: FlaskClient, loading: Event, database: Database) -> None:
    add_project(database, 2)
    first = Thread(target=lead.get, args=("/projects/1/health",))
    first.start()
    time.sleep(0.2)
    begun = time.monotonic()

    lead.get("/projects/2/health", headers={"HX-Request": "true"})

    assert time.monotonic() - begun < 5
    first.join()


def test_many_visitors_within_a_minute_are_one_look(lead: FlaskClient, reader: FlaskClient, looks: list[int]) -> None:
    for client in (lead, reader, lead):
        client.get("/projects/1/health")

    assert looks == [1]


class TestTheTextBoxThatCaptionsGoInto:
    @pytest.fixture
    def boxes(self, finished: FinishedRun, database: Database) -> Callable[..., None]:
        """Changes the label config of a project whose captions are in `caption`."""

        def change(*tags: str) -> None:
            with database.session() as session:
                take_label_config(session, session.get_one(Project, finished.project.id), label_config(*tags))

        change("caption", "remarks")
        return change

    def test_a_text_box_that_is_there_is_not_mentioned(self, lead: FlaskClient, boxes: Callable[..., None]) -> None:
        assert "Where do captions go?" not in text_of(lead)

    def test_a_renamed_text_box_is_confirmed_by_a_button(
        self, lead: FlaskClient, room: Room, boxes: Callable[..., None]
    ) -> None:
        boxes("description", "remarks")
        page = text_of(lead)
        assert "'caption', which captions went into, is gone from the label config" in html.unescape(page)
        assert "description is right" in page

        post(lead, "/projects/1/control", control="description")

        assert room.project(1).control == "description"
        assert "Where do captions go?" not in text_of(lead)

    def test_a_text_box_in_the_place_of_one_that_is_gone_is_chosen(
        self, lead: FlaskClient, room: Room, boxes: Callable[..., None]
    ) -> None:
        boxes("remarks")
        assert "nothing is suggested" in text_of(lead)

        page = post(lead, "/projects/1/control", control="remarks").get_data(as_text=True)

        assert "Captions go into the text box remarks." in page
        assert room.project(1).control == "remarks"

    def test_a_text_box_that_does_not_exist_is_refused_in_a_sentence(
        self, lead: FlaskClient, room: Room, boxes: Callable[..., None]
    ) -> None:
        boxes("remarks")
        answer = post(lead, "/projects/1/control", control="subject")
        assert (answer.status_code, "has no text box" in answer.get_data(as_text=True)) == (400, True)
        assert room.project(1).control == "caption"

    def test_is_a_question_to_the_lead_alone(self, reader: FlaskClient, boxes: Callable[..., None]) -> None:
        boxes("remarks")
        page = text_of(reader)
        assert "Only the lead decides this." in page
        assert "Use it" not in page

    def test_without_any_box_says_what_to_put_back(self, lead: FlaskClient, boxes: Callable[..., None]) -> None:
        boxes('<Choices name="kind" toName="image"><Choice value="a"/></Choices>')
        assert "Put it back" in text_of(lead)


def test_a_button_has_the_whole_project_captioned(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    page = post(lead, "/projects/1/annotate").get_data(as_text=True)

    (run,) = room.runs.unfinished(finished.project.id)
    assert (run.kind, run.asked_by) == (RunKind.ANNOTATE, "lead")
    assert "The run is queued" in page


# What the newest training brought ----------------------------------------------------------------------------------


def test_after_a_promotion_the_first_sentence_says_what_it_brought(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    made, images = finished.version.version, len(finished.held_out)
    room.versions.promote(finished.project.id, made, reason="test")
    run_of(room, finished.project, RunKind.ANNOTATE)

    page = text_of(lead)

    of_all = f"{images} of {images} held-out captions"
    assert re.match(rf"{made} is (probably )?better: {of_all} .* exactly right, 0 before\.", page)
    assert f"{made} serves since" in page
    assert "Renewing suggestions" in page


def test_the_outcome_of_a_training_stands_beside_the_renewal_that_follows_it(
    lead: FlaskClient, room: Room, finished: FinishedRun
) -> None:
    run = started(room, finished.project)
    attempt_at(room.runs, run.id).finish(RunState.FINISHED, message="v2 is the champion now.")
    run_of(room, finished.project, RunKind.ANNOTATE)

    assert "Training: v2 is the champion now." in text_of(lead)


def outcome_of_gate(**changed: Any) -> Outcome | None:
    gate: dict[str, Any] = {
        "promote": True,
        "probability": 0.99,
        "champion": {"images": 11, "exact_match": 5 / 11, "word_edit_rate": 0.3},
        "candidate": {"images": 11, "exact_match": 7 / 11, "word_edit_rate": 0.2},
    }
    base = VersionInfo(
        version="base", parent=None, state="retired", created_at=utc_now(), corrections=0, metrics={}, path=Path(),
        reason="", generation=GenerationSettings(), snapshot=None, pinned=False, deleted_at=None,
    )  # fmt: skip
    champion = changed.pop("champion_is", "v2")
    made = replace(base, version="v2", parent="base", metrics={"gate": gate | changed})
    return outcome_of([base, made], {"base": base, "v2": made}[champion])


def test_the_outcome_is_told_while_it_is_what_serves() -> None:
    better, worse = outcome_of_gate(), outcome_of_gate(promote=False, champion_is="base")

    assert better is not None
    assert (better.version, better.verdict, better.right, better.right_before) == ("v2", "better", 7, 5)
    assert worse is not None
    assert worse.verdict == "not better"
    assert outcome_of_gate(champion_is="base") is None  # rolled back since


@pytest.mark.parametrize(
    ("probability", "promote", "said"),
    [
        (0.99, True, "better"),
        (0.9, True, "probably better"),
        (0.6, True, "on balance a little better"),
        (0.4, False, "on balance not better"),
        (0.1, False, "probably not better"),
        (0.01, False, "not better"),
    ],
)
def test_the_outcome_is_as_sure_as_the_gates_reason(probability: float, promote: bool, said: str) -> None:
    outcome = outcome_of_gate(probability=probability, promote=promote, champion_is="v2" if promote else "base")

    assert outcome is not None
    assert outcome.verdict == said


def test_what_a_run_would_train_on_is_counted_and_the_others_are_named(
    lead: FlaskClient, database: Database, finished: FinishedRun, champion: str
) -> None:
    image = next(example.image for example in finished.snapshot.examples if example.image not in finished.held_out)
    for _ in range(2):
        correct(database, finished.project, version=champion, caption="abcdefghij" * 101, image_sha256=image)

    said = lead.get("/projects/1/training-data").get_data(as_text=True)

    trained = 12 - len(finished.held_out)
    assert said.startswith(f"Fine-tunes {champion} on {trained} corrections; {len(finished.held_out)} are held out")
    assert "2 cannot be written" in said
    page = text_of(lead, "/projects/1/dataset")
    assert re.match(rf"{trained} \(active .* 14 in all\) corrections teach the model;", page)
    assert re.search(r"and 2 \(captions with words .*\) cannot be written", page)


def test_of_a_new_project_the_first_thing_to_do_is_to_have_it_captioned(
    lead: FlaskClient, database: Database, finished: FinishedRun, champion: str
) -> None:
    def first_button() -> str:
        page = lead.get(_PAGE).get_data(as_text=True)
        found = re.search(r'<div class="actions">.*?class="button([^"]*)"[^>]*>([^<]+)<', page, re.DOTALL)
        assert found
        return " ".join(found.groups()).strip()

    assert first_button() == "primary Caption the project"
    correct(database, finished.project, version=champion)
    assert "Caption the project" not in first_button()


def test_cancelling_a_run_says_first_what_becomes_of_it(lead: FlaskClient, room: Room, finished: FinishedRun) -> None:
    run = started(room, finished.project)

    page = text_of(lead)

    assert "Cancel the training What was trained so far is thrown away" in page
    attempt_at(room.runs, run.id).report(0.4, stage="training", step=1, steps=4)
    assert "Training training" not in text_of(lead)
