"""A run waits for Label Studio until nothing has got through for half an hour; here that is a part of a second."""

import time

import pytest
from tests.support.models import add_project
from tests.support.runs import begun

from captionloop.errors import LabelStudioError, RunCancelled
from captionloop.jobs.processes import patience
from captionloop.jobs.processes.patience import WAITING, Patience
from captionloop.jobs.queue.attempt import Attempt
from captionloop.jobs.queue.runs import Runs
from captionloop.model.database import Database, RunKind

HALF_AN_HOUR_S = 0.4
AWAY = LabelStudioError("It is away.")


@pytest.fixture(autouse=True)
def quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_DELAYS_S", (0.05,))
    monkeypatch.setattr(patience, "_GIVE_UP_AFTER_S", HALF_AN_HOUR_S)


@pytest.fixture
def runs(database: Database) -> Runs:
    return Runs(database)


@pytest.fixture
def attempt(database: Database, runs: Runs) -> Attempt:
    return begun(runs, add_project(database).id, RunKind.FINETUNE)


def fail() -> None:
    raise AWAY


def test_the_result_of_the_try_that_succeeds_is_given_back(attempt: Attempt) -> None:
    answers = iter([AWAY, AWAY])

    def work() -> str:
        if (error := next(answers, None)) is not None:
            raise error
        return "done"

    assert Patience(attempt).until_done(work) == "done"


def test_waiting_ends_with_the_reason_and_not_before_its_time(attempt: Attempt) -> None:
    begun = time.monotonic()
    with pytest.raises(LabelStudioError, match="It is away"):
        Patience(attempt).until_done(fail)

    assert time.monotonic() - begun > HALF_AN_HOUR_S


def test_an_error_that_waiting_does_not_help_against_is_raised_at_once(attempt: Attempt) -> None:
    refused: list[LabelStudioError] = []

    def work() -> None:
        refused.append(LabelStudioError("The token is wrong.", status=401))
        raise refused[-1]

    with pytest.raises(LabelStudioError, match="The token is wrong"):
        Patience(attempt).until_done(work)

    assert len(refused) == 1


def test_a_long_work_of_which_parts_get_through_may_fail_for_longer_than_that(attempt: Attempt) -> None:
    patient, begun = Patience(attempt), time.monotonic()

    def work() -> str:
        if time.monotonic() - begun > 3 * HALF_AN_HOUR_S:
            return "done"
        patient.got_through()
        raise AWAY

    assert patient.until_done(work) == "done"


def test_the_run_says_what_it_waits_for_and_stays_where_it_was(runs: Runs, attempt: Attempt) -> None:
    attempt.report(0.25, stage="captioning")
    with pytest.raises(LabelStudioError):
        Patience(attempt).until_done(fail)

    said = runs.get(attempt.run.id)
    assert said is not None
    assert (said.progress, said.detail["stage"]) == (0.25, WAITING)


def test_a_run_that_is_cancelled_waits_no_longer(runs: Runs, attempt: Attempt) -> None:
    runs.cancel(attempt.run.id)

    with pytest.raises(RunCancelled):
        Patience(attempt).until_done(fail)
