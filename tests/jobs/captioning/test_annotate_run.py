"""Captioning a whole project on a real Label Studio, with a small real model."""

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.asking import expected, expected_in_turns, served, served_in_turns
from tests.support.captioning import Studio, opening_studio, take_four_tasks_at_a_time
from tests.support.faults import Fault, faulty_proxy
from tests.support.people import another_annotator
from tests.support.servers import LabelStudioServer
from tests.support.studio import annotate
from tests.support.styles import serve_styles
from tests.support.versions import FinishedRun

from captionloop.backend.label_studio.client import IMPORTED_VERSION
from captionloop.backend.label_studio.transport import Transport
from captionloop.errors import LabelStudioError, RunCancelled, RunLost
from captionloop.home import Home
from captionloop.jobs.captioning import annotate_run as annotating
from captionloop.jobs.captioning.asking_order import VIEW_TITLE, AskingOrder
from captionloop.jobs.processes import patience
from captionloop.jobs.project import change_styles
from captionloop.jobs.project.change_settings import change_settings
from captionloop.jobs.project.promotion import promote
from captionloop.jobs.queue.attempt import Attempt
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.database import Database, RunKind, RunState, Suggestion
from captionloop.model.dataset.suggestion_log import SuggestionLog


@pytest.fixture
def open_studio(
    label_studio_server: LabelStudioServer, finished: FinishedRun, database: Database, home: Home, redis_url: str
) -> Iterator[Callable[[str], Studio]]:
    with opening_studio(label_studio_server, finished, database, home, redis_url) as open_at:
        yield open_at


@pytest.fixture
def studio(open_studio: Callable[[str], Studio], label_studio_server: LabelStudioServer) -> Studio:
    return open_studio(label_studio_server.url)


# Which tasks, and what becomes of their suggestions -----------------------------------------------------------------


def test_each_unlabelled_task_gets_one_suggestion_of_the_champion(studio: Studio) -> None:
    tasks = studio.add_tasks(40)

    said = studio.annotate()

    assert said == f"40 unlabelled tasks have suggestions of {studio.champion}."
    assert {task: studio.versions(task) for task in tasks} == {task: [studio.champion] for task in tasks}
    shown = studio.predictions(tasks[0])[0]
    log = SuggestionLog(studio.context.database).scores(studio.project.id, studio.champion, tasks)
    assert shown["result"][0]["value"]["text"][0]
    assert shown["score"] == pytest.approx(log[tasks[0]])


def test_a_labelled_task_is_left_alone(studio: Studio) -> None:
    labelled, unlabelled = studio.add_tasks(2)
    studio.suggest(labelled, "v0")
    studio.label(labelled)

    studio.annotate()

    assert (studio.versions(labelled), studio.versions(unlabelled)) == (["v0"], [studio.champion])


def test_a_second_run_finds_nothing_to_do(studio: Studio) -> None:
    (task,) = studio.add_tasks(1)
    studio.annotate()
    before = studio.predictions(task)

    studio.annotate()

    assert studio.predictions(task) == before


def test_the_last_earlier_suggestion_stays_since_somebody_may_have_it_on_the_screen(studio: Studio) -> None:
    (task,) = studio.add_tasks(1)
    for version in ("v1", "v2", "v3"):
        studio.suggest(task, version)

    studio.annotate()

    assert studio.versions(task) == ["v3", studio.champion]


def test_a_suggestion_on_somebodys_screen_during_a_run_can_be_submitted_after_it(studio: Studio) -> None:
    (task,) = studio.add_tasks(1)
    studio.suggest(task, "v1")
    on_screen = studio.task(task)

    studio.annotate()
    annotate(studio.api, studio.number, on_screen, "by a person")

    assert studio.task(task)["annotations"][0]["parent_prediction"] == on_screen["predictions"][0]["id"]


@pytest.mark.parametrize(("kept", "left"), [(0, []), (2, ["v2", "v3"])])
def test_how_many_earlier_suggestions_stay_is_a_setting(studio: Studio, kept: int, left: list[str]) -> None:
    studio.set(earlier_suggestions=kept)
    (task,) = studio.add_tasks(1)
    for version in ("v1", "v2", "v3"):
        studio.suggest(task, version)

    studio.annotate()

    assert studio.versions(task) == [*left, studio.champion]


def texts_of(studio: Studio, task: int) -> list[str]:
    return [prediction["result"][0]["value"]["text"][0] for prediction in studio.predictions(task)]


def renew(studio: Studio) -> None:
    """Do what the run does that was asked for; no worker is here."""
    (wanted,) = studio.context.queue.runs.latest(studio.project.id, RunKind.ANNOTATE, count=1)
    assert wanted.asked_by == "another style"
    attempt = studio.context.queue.runs.start(wanted.id)
    assert attempt is not None
    studio.carry_out(attempt)


def test_another_current_style_renews_suggestions_and_keeps_the_one_that_may_be_on_a_screen(studio: Studio) -> None:
    tasks, versions = studio.add_tasks(3), studio.context.versions
    serve_styles(versions, studio.project, studio.finished.base.source)
    studio.annotate()
    plain = {task: texts_of(studio, task) for task in tasks}

    change_styles.begin_style(studio.context, studio.project, "shouted")
    renew(studio)
    for task in tasks:
        (before, now) = texts_of(studio, task)
        assert [before] == plain[task]
        assert before != now == now.upper()
    again = {task: studio.predictions(task) for task in tasks}
    studio.annotate()
    assert {task: studio.predictions(task) for task in tasks} == again

    change_styles.end_style(studio.context, studio.project, "shouted")
    renew(studio)
    assert {task: texts_of(studio, task)[-1:] for task in tasks} == plain


def test_after_a_rollback_the_champions_older_suggestion_is_made_again(studio: Studio) -> None:
    (task,) = studio.add_tasks(1)
    older = studio.suggest(task, studio.champion)
    studio.suggest(task, "v2")

    studio.annotate()

    assert studio.versions(task) == ["v2", studio.champion]
    assert studio.predictions(task)[-1]["id"] > older


def test_a_suggestion_that_is_there_twice_is_there_once_afterwards(studio: Studio) -> None:
    (task,) = studio.add_tasks(1)
    for _ in range(3):
        newest = studio.suggest(task, studio.champion)

    studio.annotate()

    assert [prediction["id"] for prediction in studio.predictions(task)] == [newest]


def test_only_what_has_no_suggestion_is_captioned_on_request(studio: Studio) -> None:
    missing, outdated = studio.add_tasks(2)
    studio.suggest(outdated, "v1")

    studio.annotate(only_missing=True)

    assert (studio.versions(missing), studio.versions(outdated)) == ([studio.champion], ["v1"])


def test_captions_that_were_there_before_the_project_show_until_suggestions_are_renewed(studio: Studio) -> None:
    (task, missing) = studio.add_tasks(2)
    studio.suggest(task, IMPORTED_VERSION)
    studio.context.label_studio.update_project(studio.number, model_version=IMPORTED_VERSION)

    studio.annotate(only_missing=True)
    assert (studio.versions(task), studio.versions(missing)) == ([IMPORTED_VERSION], [studio.champion])
    assert studio.found()["model_version"] == IMPORTED_VERSION

    studio.annotate()
    assert studio.versions(task) == [IMPORTED_VERSION, studio.champion]
    assert studio.found()["model_version"] == ""


def test_with_a_limit_the_least_sure_suggestions_are_renewed_first(studio: Studio) -> None:
    tasks = studio.add_tasks(3)
    for task, score in zip(tasks, (0.9, 0.1, 0.5), strict=True):
        studio.suggest(task, "v1", score)

    said = studio.annotate(limit=2)

    assert [studio.versions(task)[-1] for task in tasks] == ["v1", studio.champion, studio.champion]
    assert said.endswith("1 more has none of it yet.")


def test_a_task_without_a_usable_image_is_named_with_its_reason_and_stops_nothing(
    studio: Studio, database: Database
) -> None:
    (good,) = studio.add_tasks(1)
    (bad,) = studio.context.label_studio.import_tasks(
        studio.number, [{"data": {"image": "data:image/png;base64,AAAA"}}]
    )

    said = studio.annotate()

    assert studio.versions(good) == [studio.champion]
    assert f"1 could not be captioned. Task {bad}: " in said
    with database.reading() as session:
        (row,) = session.query(Suggestion).filter(Suggestion.task_id == bad).all()
    assert row.reason
    assert row.reason in said


def test_a_task_that_is_imported_meanwhile_is_found(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.add_tasks(1)
    caption = annotating._Annotation._caption
    later: list[int] = []

    def with_an_import(self: Any, *arguments: Any) -> Any:
        if not later:
            later.extend(studio.add_tasks(2))
        return caption(self, *arguments)

    monkeypatch.setattr(annotating._Annotation, "_caption", with_an_import)
    studio.annotate()

    assert [studio.versions(task) for task in later] == [[studio.champion]] * 2


def test_a_task_that_is_deleted_meanwhile_stops_nothing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, stays = studio.add_tasks(2)
    caption = annotating._Annotation._caption

    def with_a_deletion(self: Any, *arguments: Any) -> Any:
        made = caption(self, *arguments)
        studio.api.delete(f"/api/tasks/{gone}/")
        return made

    monkeypatch.setattr(annotating._Annotation, "_caption", with_a_deletion)
    said = studio.annotate()

    assert studio.versions(stays) == [studio.champion]
    assert said == f"1 unlabelled task has a suggestion of {studio.champion}."


# What goes wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["_caption", "_push", "keep"])
@pytest.mark.faults
def test_a_run_that_ends_anywhere_goes_on_without_captioning_anything_twice(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    take_four_tasks_at_a_time(monkeypatch)
    tasks = studio.add_tasks(12)
    owner = SuggestionLog if where == "keep" else annotating._Annotation
    do, calls = getattr(owner, where), itertools.count()

    def killed_the_second_time(*arguments: Any, **options: Any) -> Any:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return do(*arguments, **options)

    run = studio.begin()
    with monkeypatch.context() as patched:
        patched.setattr(owner, where, killed_the_second_time)
        with pytest.raises(KeyboardInterrupt):
            studio.carry_out(run)
    studio.carry_out(run)

    assert Counter(len(studio.versions(task)) for task in tasks) == {1: 12}


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({"POST": Fault.CUT_OFF}, id="the answer to a push never arrives"),
        pytest.param({"POST": Fault.DONE_BUT_500}, id="a push that was done is said to have failed"),
        pytest.param({"POST": Fault.BROKEN, "GET": Fault.BROKEN}, id="the server fails"),
        pytest.param({"POST": Fault.TOO_MANY, "GET": Fault.TOO_MANY}, id="the server refuses"),
        pytest.param({"POST": Fault.SLOW, "GET": Fault.SLOW}, id="the server is slow"),
    ],
)
@pytest.mark.faults
def test_a_label_studio_in_trouble_costs_only_time(
    open_studio: Callable[[str], Studio],
    label_studio_server: LabelStudioServer,
    monkeypatch: pytest.MonkeyPatch,
    faults: dict[str, str],
) -> None:
    take_four_tasks_at_a_time(monkeypatch)
    monkeypatch.setattr(patience, "_DELAYS_S", (0.05,))
    chance = random.Random(0)

    def decide(method: str, path: str) -> str | None:
        return faults.get(method) if chance.random() < 0.3 else None

    quiet = open_studio(label_studio_server.url)
    tasks = quiet.add_tasks(16)
    with faulty_proxy(label_studio_server.url, decide, slow_s=0.5) as url:
        studio = open_studio(url)
        studio.context.label_studio._transport._retry_delays_s = (0.01,)
        studio.annotate()

    assert {task: quiet.versions(task) for task in tasks} == {task: [quiet.champion] for task in tasks}


_SHORT_PATIENCE_S = 3.0  # still more than a busy machine takes to give the answers of a captioning run


def lose_patience_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Called once all is prepared: an import of tasks may take longer."""
    monkeypatch.setattr("captionloop.backend.label_studio.client._LONG_TIMEOUT_S", _SHORT_PATIENCE_S)
    monkeypatch.setitem(Transport.send.__kwdefaults__ or {}, "timeout_s", _SHORT_PATIENCE_S)
    monkeypatch.setattr(patience, "_DELAYS_S", (0.05,))


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["GET", "POST"])
@pytest.mark.faults
def test_an_answer_that_comes_too_late_costs_only_time(
    open_studio: Callable[[str], Studio],
    label_studio_server: LabelStudioServer,
    monkeypatch: pytest.MonkeyPatch,
    slow: str,
) -> None:
    take_four_tasks_at_a_time(monkeypatch)
    asked: list[str] = []

    def decide(method: str, path: str) -> str | None:
        asked.append(method)
        return Fault.SLOW if method == slow and asked.count(slow) % 3 == 2 else None

    quiet = open_studio(label_studio_server.url)
    tasks = quiet.add_tasks(12)
    lose_patience_sooner(monkeypatch)
    with faulty_proxy(label_studio_server.url, decide, slow_s=2 * _SHORT_PATIENCE_S) as url:
        open_studio(url).annotate()

    assert asked.count(slow) >= 2
    assert {task: quiet.versions(task) for task in tasks} == {task: [quiet.champion] for task in tasks}


def test_a_run_says_how_far_it_is_while_label_studio_is_slow(
    open_studio: Callable[[str], Studio], label_studio_server: LabelStudioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_four_tasks_at_a_time(monkeypatch)
    said: list[tuple[Any, Any]] = []
    report = Attempt.report

    def noting(self: Attempt, progress: float, **detail: Any) -> None:
        said.append((detail["stage"], detail["step"]))
        report(self, progress, **detail)

    monkeypatch.setattr(Attempt, "report", noting)
    open_studio(label_studio_server.url).add_tasks(12)
    with faulty_proxy(label_studio_server.url, lambda *_: Fault.SLOW, slow_s=0.2) as url:
        open_studio(url).annotate()

    assert said == [("captioning", 0), ("captioning", 4), ("captioning", 8), ("captioning", 12)]


@pytest.mark.slow
def test_a_run_that_waits_for_a_slow_label_studio_says_so_and_can_be_cancelled(
    open_studio: Callable[[str], Studio], label_studio_server: LabelStudioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_patience_sooner(monkeypatch)
    with (
        faulty_proxy(label_studio_server.url, lambda *_: Fault.SLOW, slow_s=2 * _SHORT_PATIENCE_S) as url,
        ThreadPoolExecutor(1) as at_work,
    ):
        studio = open_studio(url)
        runs, attempt = studio.context.queue.runs, studio.begin()
        run, job = attempt.run, at_work.submit(studio.carry_out, attempt)
        while (found := runs.get(run.id)) and found.detail.get("stage") != "waiting for Label Studio":
            assert not job.done()
            time.sleep(0.05)
        runs.cancel(run.id)
        cancelled_at = time.monotonic()
        with pytest.raises(RunCancelled):
            job.result()

    # The try that is under way ends first; all of them take several times as long.
    assert time.monotonic() - cancelled_at < 3 * _SHORT_PATIENCE_S


def test_a_failure_that_waiting_does_not_help_against_ends_the_run_at_once(studio: Studio) -> None:
    studio.add_tasks(1)
    studio.api.delete(f"/api/projects/{studio.number}/")

    with pytest.raises(LabelStudioError, match="has no project"):
        studio.annotate()


def test_a_cancelled_run_ends_between_two_batches_and_what_it_pushed_stays(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_four_tasks_at_a_time(monkeypatch)
    tasks = studio.add_tasks(8)
    run = (attempt := studio.begin()).run
    push = annotating._Annotation._push

    def then_cancel(self: Any, *arguments: Any) -> Any:
        refused = push(self, *arguments)
        studio.context.queue.runs.cancel(run.id)
        return refused

    monkeypatch.setattr(annotating._Annotation, "_push", then_cancel)
    with pytest.raises(RunCancelled):
        studio.carry_out(attempt)

    assert sum(bool(studio.versions(task)) for task in tasks) == 4


def test_a_cancelled_run_does_not_wait_for_a_label_studio_that_is_away(studio: Studio) -> None:
    attempt = studio.begin()
    studio.context.label_studio.url = "http://localhost:9"
    studio.context.label_studio._transport._retry_delays_s = ()
    studio.context.queue.runs.cancel(attempt.run.id)

    with pytest.raises(RunCancelled):
        studio.carry_out(attempt)


# Another champion ---------------------------------------------------------------------------------------------------


def test_a_promotion_refreshes_unlabelled_tasks_and_leaves_labelled_ones_alone(studio: Studio) -> None:
    labelled, unlabelled = studio.add_tasks(2)
    before = studio.champion
    studio.annotate()
    studio.label(labelled)

    promote(studio.context, studio.project, studio.finished.version.version, reason="test")
    (asked,) = studio.context.queue.runs.unfinished(studio.project.id)
    attempt = studio.context.queue.runs.start(asked.id)
    assert attempt is not None
    studio.carry_out(attempt)

    assert studio.versions(labelled) == [before]
    assert studio.versions(unlabelled) == [before, studio.finished.version.version]


def test_pictures_that_are_known_do_not_go_through_the_encoder_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = studio.add_tasks(1)
    studio.annotate()
    promote(studio.context, studio.project, studio.finished.version.version, reason="test")
    encoded: list[int] = []
    monkeypatch.setattr(Captioner, "_run_encoder", lambda self, images: encoded.append(len(images)))

    studio.annotate()

    assert (studio.versions(task)[-1], encoded) == (studio.finished.version.version, [])


def test_a_run_makes_way_when_another_version_becomes_champion(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    take_four_tasks_at_a_time(monkeypatch)
    tasks = studio.add_tasks(8)
    newer = studio.finished.version.version
    push = annotating._Annotation._push

    def then_promote(self: Any, *arguments: Any) -> Any:
        promote(studio.context, studio.project, newer, reason="test")
        return push(self, *arguments)

    monkeypatch.setattr(annotating._Annotation, "_push", then_promote)
    said = studio.annotate()

    assert said == f"{newer} has become champion meanwhile; the run that follows renews the suggestions."
    assert not any(studio.versions(task) for task in tasks)  # not even those that were captioned before


# The order in which people are asked --------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["uncertainty", "diversity", "uncertainty_diversity"])
def test_label_studio_serves_the_tasks_in_the_order_of_the_strategy(studio: Studio, strategy: str) -> None:
    studio.set(order="sampling", strategy=strategy, random_share=0.2)
    studio.add_tasks(60)

    studio.annotate()

    assert (studio.found()["model_version"], studio.found()["sampling"]) == (studio.champion, "Uncertainty sampling")
    wanted = expected(studio.context, studio.project, 20)
    assert served(studio.api, studio.number, 20) == wanted


def test_label_studio_serves_two_annotators_in_that_order_too_and_never_the_same_task(studio: Studio) -> None:
    studio.set(order="sampling", strategy="uncertainty", random_share=0.2)
    studio.add_tasks(40)
    studio.annotate()
    wanted = expected_in_turns(studio.context, studio.project, people=2, count=20)

    with another_annotator(studio.server, "in-turns@localhost") as second:
        assert served_in_turns([studio.api, second], studio.number, 20) == wanted
        open_for = [api.get(f"/api/projects/{studio.number}/next").json()["id"] for api in (studio.api, second)]

    assert open_for[0] != open_for[1]


def test_a_tab_gives_two_annotators_who_ask_at_the_same_time_the_same_task(studio: Studio) -> None:
    studio.set(order="view", strategy="uncertainty")
    studio.add_tasks(12)
    studio.annotate()
    (view,) = [view for view in studio.context.label_studio.views(studio.number) if view["data"]["title"] == VIEW_TITLE]
    asks = {"id": "next_task", "project": studio.number, "tabID": view["id"]}
    displayed = {name: view["data"][name] for name in ("ordering", "filters")}

    with another_annotator(studio.server, "same-task@localhost") as second:
        first, again = (
            api.post("/api/dm/actions/", params=asks, json=displayed).raise_for_status().json()["id"]
            for api in (studio.api, second)
        )

    assert first == again


def test_scores_and_clusters_are_written_to_the_suggestions(studio: Studio) -> None:
    studio.set(order="sampling", strategy="uncertainty_diversity", random_share=0.1)
    tasks = studio.add_tasks(30)

    studio.annotate()

    log = SuggestionLog(studio.context.database).scores(studio.project.id, studio.champion, tasks)
    shown = {task: studio.predictions(task)[0] for task in tasks}
    assert {task: prediction["score"] for task, prediction in shown.items()} == pytest.approx(log)
    clusters = Counter(prediction["cluster"] for prediction in shown.values())
    assert clusters[0] == 5  # a tenth of the next fifty
    assert set(clusters) <= set(range(10))


def test_a_task_keeps_its_cluster_when_others_come(studio: Studio) -> None:
    studio.set(order="sampling", strategy="uncertainty_diversity")
    tasks = studio.add_tasks(40)
    studio.annotate()
    before = {task: studio.predictions(task)[0]["cluster"] for task in tasks}

    studio.add_tasks(20)
    studio.annotate()

    after = {task: studio.predictions(task)[0]["cluster"] for task in tasks}
    moved = {task for task in tasks if 0 not in (before[task], after[task]) and before[task] != after[task]}
    assert moved == set()


def test_a_task_that_was_opened_before_the_run_gets_its_place_too(studio: Studio) -> None:
    studio.set(order="sampling")
    studio.add_tasks(5)
    (opened,) = studio.add_tasks(1)
    studio.suggest(opened, studio.champion)  # what /predict answers has no cluster

    studio.annotate()

    assert studio.predictions(opened)[0]["cluster"] is not None


def test_a_version_in_the_project_goes_with_the_next_champion_and_comes_back_when_all_is_captioned(
    studio: Studio,
) -> None:
    studio.set(order="sampling")
    studio.add_tasks(5)
    studio.annotate()
    assert studio.found()["model_version"] == studio.champion

    promote(studio.context, studio.project, studio.finished.version.version, reason="test")
    between = studio.found()["model_version"]
    studio.annotate()

    assert between == ""  # no backend is attached here; else it is the backend's title
    assert studio.found()["model_version"] == studio.finished.version.version


def test_the_project_is_given_back_as_it_was(studio: Studio) -> None:
    before = studio.found()
    studio.set(order="sampling")
    studio.add_tasks(5)
    studio.annotate()

    change_settings(studio.context, studio.project, ["order=off"], by="test")

    after = studio.found()
    assert (after["sampling"], after["model_version"]) == (before["sampling"], "")
    assert studio.context.queue.runs.unfinished(studio.project.id) == []


def test_an_order_that_is_turned_off_during_a_run_is_not_turned_on_by_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.set(order="sampling")
    studio.add_tasks(3)
    before = studio.found()["sampling"]
    write = AskingOrder.write

    def then_turn_off(self: Any, change: Any) -> None:
        write(self, change)
        change_settings(studio.context, studio.project, ["order=off"], by="test")

    monkeypatch.setattr(AskingOrder, "write", then_turn_off)
    studio.annotate()

    assert studio.found()["sampling"] == before


def test_another_order_is_written_by_a_run(studio: Studio) -> None:
    change_settings(studio.context, studio.project, ["order=sampling", "strategy=uncertainty"], by="somebody")

    (run,) = studio.context.queue.runs.unfinished(studio.project.id)
    assert (run.kind, run.asked_by) == (RunKind.ANNOTATE, "somebody: another order")


def test_random_choice_is_label_studios_own_and_needs_no_version_in_the_project(studio: Studio) -> None:
    studio.set(order="sampling", strategy="random")
    studio.add_tasks(3)
    before = studio.found()["model_version"]

    studio.annotate()

    assert (studio.found()["sampling"], studio.found()["model_version"]) == ("Uniform sampling", before)


def test_a_tab_sorted_by_score_is_the_other_way(studio: Studio) -> None:
    studio.set(order="view", strategy="uncertainty", random_share=0.1)
    tasks = studio.add_tasks(30)
    before = studio.found()["sampling"]

    studio.annotate()
    studio.annotate()

    (view,) = [view for view in studio.context.label_studio.views(studio.number) if view["data"]["title"] == VIEW_TITLE]
    listed = studio.api.get("/api/tasks/", params={"view": view["id"], "project": studio.number}).json()["tasks"]
    shown = {task: studio.predictions(task)[0] for task in tasks}
    assert [task["id"] for task in listed] == sorted(tasks, key=lambda task: float(shown[task]["score"]))
    # Of the 25 others every nine are followed by a random pick, which is marked by its cluster.
    assert [place for place, task in enumerate(listed[:25]) if shown[task["id"]]["cluster"] == 0] == [9, 19]
    assert (studio.found()["sampling"], studio.found()["model_version"]) == (before, studio.champion)

    change_settings(studio.context, studio.project, ["order=off"], by="test")
    assert studio.found()["model_version"] == ""
    assert [view["data"]["title"] for view in studio.context.label_studio.views(studio.number)].count(VIEW_TITLE) == 0


def test_with_an_order_a_run_of_the_missing_ones_hides_no_earlier_suggestions(studio: Studio) -> None:
    studio.set(order="sampling")
    outdated, _ = studio.add_tasks(2)
    studio.suggest(outdated, "v1")

    studio.annotate(only_missing=True)

    assert studio.found()["sampling"] != "Uncertainty sampling"


# Another worker takes the run over -----------------------------------------------------------------------------------


def arrives_late(studio: Studio, monkeypatch: pytest.MonkeyPatch, *, meanwhile: Callable[[Attempt], object]) -> Attempt:
    """An attempt whose first push reaches Label Studio only when another attempt has done what `meanwhile` does."""
    first, label_studio = studio.begin(), studio.context.label_studio
    push = label_studio.import_predictions

    def late(*pushed: Any) -> Any:
        monkeypatch.setattr(label_studio, "import_predictions", push)
        studio.context.queue.runs.hand_back(first.run.id, first.number)
        second = studio.context.queue.runs.start(first.run.id)
        assert second is not None
        meanwhile(second)
        return push(*pushed)

    monkeypatch.setattr(label_studio, "import_predictions", late)
    with pytest.raises(RunLost):
        studio.carry_out(first)
    return first


def carry_out_what_was_requested(studio: Studio) -> str:
    (requested,) = studio.context.queue.runs.advance()
    attempt = studio.context.queue.runs.start(requested.id)
    assert attempt is not None
    return studio.carry_out(attempt)


def test_what_a_worker_pushed_too_late_is_deleted_again(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = studio.add_tasks(4)

    arrives_late(studio, monkeypatch, meanwhile=studio.carry_out)
    twice = {task: studio.versions(task) for task in tasks}
    carry_out_what_was_requested(studio)

    assert twice == {task: [studio.champion] * 2 for task in tasks}
    assert {task: studio.versions(task) for task in tasks} == {task: [studio.champion] for task in tasks}


def test_what_it_pushed_too_late_of_a_former_champion_does_not_stay_in_view(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, before = studio.add_tasks(4), studio.champion

    def promote_and_caption(second: Attempt) -> None:
        promote(studio.context, studio.project, studio.finished.version.version, reason="test")
        studio.carry_out(second)
        carry_out_what_was_requested(studio)  # by the promotion

    arrives_late(studio, monkeypatch, meanwhile=promote_and_caption)
    carry_out_what_was_requested(studio)

    assert studio.champion != before
    assert {studio.versions(task)[-1] for task in tasks} == {studio.champion}


def test_a_run_that_was_cancelled_meanwhile_captions_nothing_more(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_four_tasks_at_a_time(monkeypatch)
    tasks = studio.add_tasks(16)

    def cancel(second: Attempt) -> None:
        studio.context.queue.runs.cancel(second.run.id)
        with pytest.raises(RunCancelled):
            studio.carry_out(second)
        second.finish(RunState.CANCELLED, message="Cancelled.")

    arrives_late(studio, monkeypatch, meanwhile=cancel)
    said = carry_out_what_was_requested(studio)

    assert sum(len(studio.versions(task)) for task in tasks) < len(tasks)
    assert "more have none of it yet" in said
