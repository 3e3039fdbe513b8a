from datetime import timedelta

import pytest
from tests.support.models import add_project

from captionloop.errors import NotFoundError, RunCancelled
from captionloop.jobs.queue import runs as runs_module
from captionloop.jobs.queue.runs import DEAD_AFTER_S, MAX_ATTEMPTS, Runs
from captionloop.model.database import Database, Project, Run, RunKind, RunState, utc_now


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def runs(database: Database) -> Runs:
    return Runs(database)


def request(runs: Runs, project: Project) -> runs_module.Requested:
    return runs.request(project.id, RunKind.FINETUNE, asked_by="test")


def kill(database: Database, run_id: str) -> None:
    """Let the worker of a run have been silent for long."""
    with database.session() as session:
        session.get_one(Run, run_id).heartbeat_at = utc_now() - timedelta(seconds=DEAD_AFTER_S + 1)


def test_the_first_request_is_queued(runs: Runs, project: Project) -> None:
    requested = request(runs, project)

    assert requested.must_be_sent
    assert requested.run.state is RunState.QUEUED


def test_a_request_before_the_run_began_folds_into_it(runs: Runs, project: Project) -> None:
    first = request(runs, project)

    second = request(runs, project)

    assert (second.run.id, second.is_new) == (first.run.id, False)


def test_a_request_during_a_run_waits_behind_it(runs: Runs, project: Project) -> None:
    runs.start(request(runs, project).run.id)

    second = request(runs, project)

    assert second.run.state is RunState.WAITING
    assert not second.must_be_sent


def test_only_one_request_waits_however_many_come(runs: Runs, project: Project) -> None:
    runs.start(request(runs, project).run.id)
    waiting = {request(runs, project).run.id for _ in range(20)}

    assert len(waiting) == 1


def test_a_folded_request_brings_its_newer_settings(runs: Runs, project: Project) -> None:
    request(runs, project)

    folded = runs.request(project.id, RunKind.FINETUNE, asked_by="test", settings={"steps": 7})

    assert folded.run.settings == {"steps": 7}


def test_projects_do_not_wait_for_each_other(runs: Runs, project: Project, database: Database) -> None:
    runs.start(request(runs, project).run.id)

    other = request(runs, add_project(database, 2))

    assert other.run.state is RunState.QUEUED


def test_a_run_is_started_only_once(runs: Runs, project: Project) -> None:
    run_id = request(runs, project).run.id
    runs.start(run_id)

    assert runs.start(run_id) is None


def test_a_waiting_run_is_queued_when_the_one_before_it_is_over(runs: Runs, project: Project) -> None:
    first = request(runs, project).run.id
    runs.start(first)
    waiting = request(runs, project).run.id
    runs.finish(first, RunState.FINISHED, message="done")

    to_send = runs.advance()

    assert [run.id for run in to_send] == [waiting]


@pytest.mark.faults
def test_a_run_whose_worker_was_killed_is_queued_once_more(runs: Runs, project: Project, database: Database) -> None:
    run_id = request(runs, project).run.id
    runs.start(run_id)
    kill(database, run_id)

    to_send = runs.advance()

    assert [run.id for run in to_send] == [run_id]


def test_a_run_that_lives_is_left_alone(runs: Runs, project: Project) -> None:
    run_id = request(runs, project).run.id
    runs.start(run_id)
    runs.sign_of_life(run_id)

    runs.advance()

    run = runs.get(run_id)
    assert run is not None
    assert run.state is RunState.RUNNING


@pytest.mark.faults
def test_a_run_that_kills_its_workers_fails_in_the_end(runs: Runs, project: Project, database: Database) -> None:
    run_id = request(runs, project).run.id
    for _ in range(MAX_ATTEMPTS):
        runs.start(run_id)
        kill(database, run_id)
        runs.advance()

    run = runs.get(run_id)
    assert run is not None
    assert (run.state, "killed 3 times" in run.message) == (RunState.FAILED, True)


def test_cancelling_before_the_start_is_at_once(runs: Runs, project: Project) -> None:
    run_id = request(runs, project).run.id

    assert runs.cancel(run_id).state is RunState.CANCELLED
    assert runs.start(run_id) is None


def test_a_running_run_learns_of_its_cancel_when_it_reports(runs: Runs, project: Project) -> None:
    run_id = request(runs, project).run.id
    runs.start(run_id)
    runs.cancel(run_id)

    with pytest.raises(RunCancelled):
        runs.report(run_id, 0.5, stage="training")


def test_a_run_that_is_over_keeps_its_first_end(runs: Runs, project: Project) -> None:
    run_id = request(runs, project).run.id
    runs.start(run_id)
    runs.finish(run_id, RunState.FAILED, message="first")

    runs.finish(run_id, RunState.FINISHED, message="second")

    run = runs.get(run_id)
    assert run is not None
    assert (run.state, run.message) == (RunState.FAILED, "first")


def test_the_running_run_is_the_one_to_show(runs: Runs, project: Project) -> None:
    running = request(runs, project).run.id
    runs.start(running)
    request(runs, project)

    current = runs.current(project.id)

    assert current is not None
    assert current.id == running


def test_a_run_for_an_unknown_project_is_refused(runs: Runs) -> None:
    with pytest.raises(NotFoundError, match="number 99"):
        runs.request(99, RunKind.FINETUNE, asked_by="test")


def test_cancelling_an_unknown_run_is_refused(runs: Runs) -> None:
    with pytest.raises(NotFoundError, match="nonsense"):
        runs.cancel("nonsense")


def test_a_comparison_asked_for_while_another_waits_is_made_as_well(runs: Runs, project: Project) -> None:
    for pairs in ([["v1", "v2"]], [["v2", "v3"]], [["v1", "v2"]]):
        requested = runs.request(project.id, RunKind.COMPARE, asked_by="test", settings={"pairs": pairs})

    started = runs.start(requested.run.id)

    assert started is not None
    assert started.settings == {"pairs": [["v1", "v2"], ["v2", "v3"]]}


def test_the_latest_runs_of_a_kind_come_newest_first(runs: Runs, project: Project) -> None:
    older = runs.request(project.id, RunKind.COMPARE, asked_by="test", settings={"pairs": []}).run
    runs.start(older.id)
    newer = runs.request(project.id, RunKind.COMPARE, asked_by="test", settings={"pairs": []}).run
    runs.request(project.id, RunKind.ANNOTATE, asked_by="test")

    assert [run.id for run in runs.latest(project.id, RunKind.COMPARE, count=5)] == [newer.id, older.id]


def test_captioning_runs_that_are_folded_do_what_is_enough_for_both(runs: Runs, project: Project) -> None:
    def ask(**settings: object) -> dict[str, object]:
        return runs.request(project.id, RunKind.ANNOTATE, asked_by="test", settings=settings).run.settings

    ask(only_missing=True, limit=5)
    assert ask(only_missing=True, limit=9) == {"only_missing": True, "limit": 9}
    assert ask() == {"only_missing": False, "limit": None}
    assert ask(only_missing=True, limit=5) == {"only_missing": False, "limit": None}


@pytest.mark.parametrize("begun", [False, True])
def test_who_asks_only_if_nothing_goes_on_is_refused_when_something_does(
    runs: Runs, project: Project, begun: bool
) -> None:
    run = runs.request_if_idle(project.id, RunKind.FINETUNE, asked_by="test")
    assert run is not None
    if begun:
        runs.start(run.id)

    assert runs.request_if_idle(project.id, RunKind.FINETUNE, asked_by="test") is None


def test_a_run_that_its_worker_left_is_queued_again_and_that_is_no_attempt(runs: Runs, project: Project) -> None:
    run = request(runs, project).run
    runs.start(run.id)

    left = runs.hand_back(run.id)

    assert left is not None
    assert (left.state, left.attempts) == (RunState.QUEUED, 0)


def test_a_run_that_was_to_be_cancelled_is_cancelled_when_it_is_left(runs: Runs, project: Project) -> None:
    run = request(runs, project).run
    runs.start(run.id)
    runs.cancel(run.id)

    assert runs.hand_back(run.id) is None
    ended = runs.get(run.id)
    assert ended is not None
    assert ended.state is RunState.CANCELLED


def test_a_run_that_is_over_is_not_handed_back(runs: Runs, project: Project) -> None:
    run = request(runs, project).run
    runs.start(run.id)
    runs.finish(run.id, RunState.FINISHED, message="done")

    assert runs.hand_back(run.id) is None
