from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session
from tests.support.models import add_project
from tests.support.runs import attempt_at, begun

from captionloop.errors import NotFoundError, RunCancelled, RunLost
from captionloop.jobs.queue import attempt as attempt_module
from captionloop.jobs.queue import runs as runs_module
from captionloop.jobs.queue.attempt import Attempt
from captionloop.jobs.queue.runs import DEAD_AFTER_S, MAX_ATTEMPTS, Runs
from captionloop.model.database import Database, Project, Run, RunKind, RunState, utc_now


class Clock:
    """The database's, put on by hand."""

    def __init__(self) -> None:
        self._now = utc_now()

    def __call__(self, session: Session) -> datetime:
        return self._now

    def go_on(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


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
    attempt_at(runs, first).finish(RunState.FINISHED, message="done")

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
    attempt_at(runs, run_id).sign_of_life()

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
        attempt_at(runs, run_id).report(0.5, stage="training")


def test_a_run_that_is_over_keeps_its_first_end(runs: Runs, project: Project) -> None:
    run_id = request(runs, project).run.id
    runs.start(run_id)
    attempt_at(runs, run_id).finish(RunState.FAILED, message="first")

    with pytest.raises(RunLost, match="over already"):
        attempt_at(runs, run_id).finish(RunState.FINISHED, message="second")

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
    assert started.run.settings == {"pairs": [["v1", "v2"], ["v2", "v3"]]}


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

    left = runs.hand_back(run.id, 1)

    assert left is not None
    assert (left.state, left.attempts) == (RunState.QUEUED, 0)


def test_a_run_that_was_to_be_cancelled_is_cancelled_when_it_is_left(runs: Runs, project: Project) -> None:
    run = request(runs, project).run
    runs.start(run.id)
    runs.cancel(run.id)

    assert runs.hand_back(run.id, 1) is None
    ended = runs.get(run.id)
    assert ended is not None
    assert ended.state is RunState.CANCELLED


def test_a_run_that_is_over_is_not_handed_back(runs: Runs, project: Project) -> None:
    run = request(runs, project).run
    runs.start(run.id)
    attempt_at(runs, run.id).finish(RunState.FINISHED, message="done")

    assert runs.hand_back(run.id, 1) is None


class TestAnAttemptThatStoodStill:
    """It was taken for dead, and then goes on."""

    @pytest.fixture
    def stale(self, runs: Runs, project: Project, database: Database) -> Attempt:
        """One that has just been given up."""
        attempt = begun(runs, project.id, RunKind.FINETUNE, settings={"steps": 7})
        kill(database, attempt.run.id)
        runs.advance()
        return attempt

    @pytest.fixture
    def taken_over(self, runs: Runs, stale: Attempt) -> Attempt:
        later = runs.start(stale.run.id)
        assert later is not None
        return later

    @pytest.mark.parametrize(
        "say",
        [
            pytest.param(Attempt.sign_of_life, id="sign of life"),
            pytest.param(lambda attempt: attempt.report(0.5, stage="training"), id="report"),
        ],
    )
    def test_takes_its_run_back_where_nobody_else_has_it(
        self, runs: Runs, stale: Attempt, say: Callable[[Attempt], None]
    ) -> None:
        stale.check()
        say(stale)

        assert (found(runs, stale).state, found(runs, stale).attempts) == (RunState.RUNNING, 1)
        assert runs.start(stale.run.id) is None

    def test_may_end_its_run_where_nobody_else_has_it(self, runs: Runs, stale: Attempt) -> None:
        stale.finish(RunState.FINISHED, message="done")

        assert (found(runs, stale).state, runs.advance()) == (RunState.FINISHED, [])

    def test_does_not_take_back_what_was_asked_for_anew(self, runs: Runs, project: Project, stale: Attempt) -> None:
        runs.request(project.id, RunKind.FINETUNE, asked_by="test", settings={"steps": 9})

        with pytest.raises(RunLost, match="asked for anew"):
            stale.sign_of_life()

        assert found(runs, stale).state is RunState.QUEUED

    def test_hears_of_a_cancel(self, runs: Runs, project: Project) -> None:
        attempt = begun(runs, project.id, RunKind.FINETUNE)
        runs.cancel(attempt.run.id)

        with pytest.raises(RunCancelled):
            attempt.check()

    @pytest.mark.parametrize(
        "write",
        [
            pytest.param(Attempt.sign_of_life, id="sign of life"),
            pytest.param(Attempt.check, id="check"),
            pytest.param(lambda attempt: attempt.report(0.9, stage="training"), id="report"),
            pytest.param(lambda attempt: attempt.finish(RunState.CANCELLED, message="Cancelled."), id="finish"),
            pytest.param(lambda attempt: write_beside(attempt), id="what is written beside"),
        ],
    )
    def test_writes_nothing_once_another_has_its_run(
        self, runs: Runs, taken_over: Attempt, stale: Attempt, write: Callable[[Attempt], None]
    ) -> None:
        before = found(runs, stale)

        with pytest.raises(RunLost, match="Another worker has taken over the run"):
            write(stale)

        after = found(runs, stale)
        assert (after.state, after.progress, after.heartbeat_at, after.asked_by) == (
            RunState.RUNNING, 0.0, before.heartbeat_at, "test",
        )  # fmt: skip
        taken_over.finish(RunState.FINISHED, message="done")

    def test_hands_nothing_back_once_another_has_its_run(self, runs: Runs, taken_over: Attempt, stale: Attempt) -> None:
        assert runs.hand_back(stale.run.id, stale.number) is None

        assert found(runs, stale).state is RunState.RUNNING

    def test_is_told_from_one_of_the_same_count_after_the_run_was_handed_back(
        self, runs: Runs, taken_over: Attempt, stale: Attempt
    ) -> None:
        runs.hand_back(taken_over.run.id, taken_over.number)
        later = runs.start(stale.run.id)

        assert later is not None
        assert (later.run.attempts, later.number) == (2, 3)
        with pytest.raises(RunLost):
            taken_over.report(0.5)


def write_beside(attempt: Attempt) -> None:
    """As a new version and its promotion are written."""
    with attempt.database.session() as session:
        session.get_one(Run, attempt.run.id).asked_by = "a stale attempt"
        session.flush()
        attempt.hold(session)


def found(runs: Runs, attempt: Attempt) -> Run:
    run = runs.get(attempt.run.id)
    assert run is not None
    return run


class TestWhoLooksAfterTheRuns:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        clock = Clock()
        for module in (runs_module, attempt_module):
            monkeypatch.setattr(module, "database_time", clock)
        return clock

    @pytest.mark.faults
    def test_gives_up_a_run_that_was_silent_while_they_looked(self, runs: Runs, project: Project, clock: Clock) -> None:
        begun(runs, project.id, RunKind.FINETUNE)
        for _ in range(4):
            assert runs.advance() == []
            clock.go_on(15)
        clock.go_on(1)

        assert len(runs.advance()) == 1

    @pytest.mark.faults
    def test_gives_the_others_time_after_they_stood_still_themselves(
        self, runs: Runs, project: Project, clock: Clock
    ) -> None:
        """As on a machine that was suspended, or while the database stood still."""
        attempt = begun(runs, project.id, RunKind.FINETUNE)
        runs.advance()
        clock.go_on(3600)

        assert runs.advance() == []
        attempt.sign_of_life()
        clock.go_on(15)
        assert runs.advance() == []

    @pytest.mark.faults
    def test_gives_up_a_run_that_stays_silent_after_that(self, runs: Runs, project: Project, clock: Clock) -> None:
        begun(runs, project.id, RunKind.FINETUNE)
        runs.advance()
        clock.go_on(3600)
        runs.advance()
        clock.go_on(15)

        assert len(runs.advance()) == 1


class TestTheClock:
    @pytest.mark.faults
    @pytest.mark.parametrize("ahead_s", [-7200, 7200])
    def test_of_a_worker_does_not_matter(
        self, either_database: Database, monkeypatch: pytest.MonkeyPatch, ahead_s: int
    ) -> None:
        monkeypatch.setattr(attempt_module, "utc_now", lambda: utc_now() + timedelta(seconds=ahead_s))
        runs, project = Runs(either_database), add_project(either_database)
        attempt = begun(runs, project.id, RunKind.FINETUNE)
        attempt.sign_of_life()

        assert runs.advance() == []
        heartbeat = found(runs, attempt).heartbeat_at
        assert heartbeat is not None
        assert abs((utc_now() - heartbeat).total_seconds()) < 5
