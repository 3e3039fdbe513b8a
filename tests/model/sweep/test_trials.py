"""The trials of a sweep in our own database, through the real Optuna."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.models import add_project
from tests.support.sweeps import DEFAULT, SPACE, do_trial, kill_workers

from captionloop.errors import RunLost, TrialPruned
from captionloop.model.database import Database, Project
from captionloop.model.sweep.trials import MOST_RETRIES, Trials, TrialState, best_of, create_trials

COUNT = 6


@pytest.fixture
def trials(database: Database) -> Iterator[Trials]:
    create_trials(database, "sweep", COUNT, first=[DEFAULT])
    with Trials.opened(database, "sweep") as opened:
        yield opened


def states(trials: Trials) -> Counter[TrialState]:
    return Counter(trial.state for trial in trials.all())


def test_all_trials_wait_at_first(trials: Trials) -> None:
    assert states(trials) == {TrialState.WAITING: COUNT}


def test_the_first_trial_tries_what_it_was_given(trials: Trials) -> None:
    ongoing = trials.take(0, SPACE)

    assert ongoing is not None
    assert ongoing.choice == DEFAULT


def test_the_others_choose_within_the_space(trials: Trials) -> None:
    for number in range(1, COUNT):
        ongoing = trials.take(number, SPACE)
        assert ongoing is not None
        SPACE.settings(ongoing.choice)
        assert SPACE.rates[0] <= ongoing.choice["learning_rate"] <= SPACE.rates[1]


def test_the_result_of_a_trial_is_kept(trials: Trials) -> None:
    do_trial(trials, 0, 3.5, standard_error=0.25)

    done = trials.all()[0]
    assert (done.state, done.score, done.standard_error, done.interval) == (TrialState.FINISHED, 3.5, 0.25, (3.0, 4.0))
    assert (dict(done.validations), dict(done.choice)) == ({20: 3.5, 50: 3.5, 60: 3.5}, DEFAULT)


def test_the_best_is_the_highest_of_those_that_finished(trials: Trials) -> None:
    do_trial(trials, 0, 3.5)
    do_trial(trials, 1, 4.5)
    failing = trials.take(2, SPACE)
    assert failing is not None
    failing.report(20, 9.0)
    failing.fail("The loss is nan.")

    best = best_of(trials.all())

    assert best is not None
    assert best.number == 1


@pytest.mark.faults
def test_each_trial_is_taken_once_however_many_workers_want_it(database: Database, trials: Trials) -> None:
    """While another thread writes to our own tables in the same file, as runs and syncs do."""
    taken: list[int] = []
    stop = threading.Event()

    def work() -> None:
        with Trials.opened(database, "sweep") as opened:
            for number in range(COUNT):
                if (ongoing := opened.take(number, SPACE)) is not None:
                    taken.append(number)
                    ongoing.report(50, float(number))

    def write() -> None:
        project = add_project(database)
        while not stop.is_set():
            with database.session() as session:
                session.get_one(Project, project.id).title += "."

    with ThreadPoolExecutor(5) as pool:
        writer = pool.submit(write)
        workers = [pool.submit(work) for _ in range(4)]
        try:
            for worker in workers:
                worker.result()
        finally:
            stop.set()
        writer.result()

    assert sorted(taken) == list(range(COUNT))


def test_a_trial_that_falls_behind_the_others_is_pruned(trials: Trials) -> None:
    for number in range(4):
        do_trial(trials, number, 4.0)
    ongoing = trials.take(4, SPACE)
    assert ongoing is not None

    ongoing.report(20, 1.0)  # too early to tell
    with pytest.raises(TrialPruned, match="Trial 4 falls behind the others after 60 %"):
        ongoing.report(60, 1.0)


def test_nothing_is_pruned_before_there_are_others_to_compare_with(trials: Trials) -> None:
    do_trial(trials, 0, 4.0)
    ongoing = trials.take(1, SPACE)

    assert ongoing is not None
    ongoing.report(60, 1.0)


@pytest.mark.faults
def test_a_trial_of_a_killed_worker_is_tried_again(database: Database, trials: Trials) -> None:
    ongoing = trials.take(1, SPACE)
    assert ongoing is not None
    ongoing.report(20, 1.0)
    kill_workers(database)

    trials.fail_dead()

    killed, again = trials.all()[1], trials.all()[-1]
    assert (killed.state, killed.is_repeated, "killed" in killed.reason) == (TrialState.FAILED, True, True)
    assert (again.state, again.first) == (TrialState.WAITING, 1)
    repeated = trials.take(again.number, SPACE)
    assert repeated is not None
    assert repeated.choice == killed.choice


def test_looks_from_before_the_kill_count(database: Database, trials: Trials) -> None:
    ongoing = trials.take(1, SPACE)
    assert ongoing is not None
    ongoing.report(20, 1.0)
    kill_workers(database)
    trials.fail_dead()

    repeated = trials.take(COUNT, SPACE)
    assert repeated is not None
    repeated.report(20, 1.0)  # Optuna warns of a value that is there already

    assert dict(trials.all()[-1].validations) == {20: 1.0}


@pytest.mark.faults
def test_a_trial_that_kills_its_workers_is_given_up(database: Database, trials: Trials) -> None:
    number = 1
    for attempt in range(MOST_RETRIES + 1):
        assert trials.take(number, SPACE) is not None
        kill_workers(database)
        trials.fail_dead()
        number = COUNT + attempt

    assert states(trials) == {TrialState.FAILED: MOST_RETRIES + 1, TrialState.WAITING: COUNT - 1}


def test_a_trial_that_gives_signs_of_life_is_left_alone(database: Database, trials: Trials) -> None:
    ongoing = trials.take(0, SPACE)
    assert ongoing is not None
    kill_workers(database)
    ongoing.sign_of_life()

    trials.fail_dead()

    assert trials.all()[0].state is TrialState.RUNNING


def test_giving_up_ends_what_waits_and_what_runs(trials: Trials) -> None:
    do_trial(trials, 0, 4.0)
    running = trials.take(1, SPACE)
    assert running is not None

    trials.give_up("The sweep was cancelled.")

    assert states(trials) == {TrialState.FINISHED: 1, TrialState.FAILED: COUNT - 1}
    with pytest.raises(RunLost):
        running.report(20, 1.0)


def test_a_trial_that_was_given_up_stays_as_it_is(trials: Trials) -> None:
    running = trials.take(1, SPACE)
    assert running is not None
    trials.give_up("The sweep was cancelled.")

    with pytest.raises(RunLost, match="Trial 1 was given up"):
        running.fail("something else")

    assert trials.all()[1].reason == "The sweep was cancelled."
