"""A fine-tuning run whose Label Studio answers badly: what passes costs time, the rest ends it with a reason."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support.models import add_project
from tests.support.pictures import picture
from tests.support.processes import until
from tests.support.runs import begun
from tests.support.scripted_studio import HANG_UP, PASSES, STAYS, ScriptedStudio, opened_context, scripted_studio

from captionloop.errors import LabelStudioError, RunCancelled
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.learning.finetune_run import run_finetune
from captionloop.jobs.processes import patience
from captionloop.jobs.project import sync as syncing
from captionloop.jobs.queue.attempt import Attempt
from captionloop.model.database import Correction, Database, Project, RunKind

pytestmark = pytest.mark.faults

ANNOTATIONS = 12
_WITHIN_S = 120


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedStudio]:
    monkeypatch.setattr(syncing, "_TASKS_PER_BATCH", 4)
    monkeypatch.setattr(patience, "_DELAYS_S", (0.05,))
    with scripted_studio() as running:
        for number in range(ANNOTATIONS):
            running.annotate(running.add_task({"image": picture(f"#{number * 20:02x}40a0")}), f"colour {number}")
        yield running


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def context(
    studio: ScriptedStudio, database: Database, home: Home, redis_url: str, tmp_path: Path
) -> Iterator[Context]:
    with opened_context(studio, home, redis_url, tmp_path / "base") as opened:
        yield opened


@pytest.fixture
def attempt(context: Context, project: Project) -> Attempt:
    return begun(context.queue.runs, project.id, RunKind.FINETUNE, settings={"steps": 2, "batch_size": 4})


def learnt(context: Context) -> list[str]:
    with context.database.reading() as session:
        return sorted(text for row in session.scalars(select(Correction)) for text in row.captions)


ALL = sorted(f"colour {number}" for number in range(ANNOTATIONS))


def stage(context: Context, attempt: Attempt) -> object:
    found = context.queue.runs.get(attempt.run.id)
    return found.detail.get("stage") if found else None


def going_away(studio: ScriptedStudio, *, at: int) -> Callable[[], None]:
    """From the request of this number on nobody answers, until what is given back is called."""
    is_back = threading.Event()

    def decide(method: str, path: str) -> object:
        return None if is_back.is_set() or len(studio.asked) < at else HANG_UP

    studio.decide = decide  # type: ignore[assignment]
    return is_back.set


@pytest.mark.parametrize("answer", PASSES)
def test_a_failure_that_passes_costs_only_time(
    studio: ScriptedStudio, context: Context, attempt: Attempt, answer: str
) -> None:
    chance = random.Random(0)
    studio.decide = lambda method, path: PASSES[answer] if chance.random() < 0.4 else None

    run_finetune(context, attempt)

    made = context.queue.runs.get(attempt.run.id)
    assert made is not None
    assert context.versions.get(made.project_id, made.version or "").corrections > 0
    assert learnt(context) == ALL


@pytest.mark.parametrize("request_number", [1, 3, 5, 8])
def test_a_label_studio_that_is_away_is_waited_for_and_the_run_says_so(
    studio: ScriptedStudio, context: Context, attempt: Attempt, request_number: int
) -> None:
    come_back = going_away(studio, at=request_number)
    with ThreadPoolExecutor(1) as at_work:
        job = at_work.submit(run_finetune, context, attempt)
        until(lambda: job.done() or stage(context, attempt) == "waiting for Label Studio")
        waited = not job.done()
        come_back()
        job.result(_WITHIN_S)

    assert waited
    assert learnt(context) == ALL


def test_a_run_gives_signs_of_life_while_it_waits(studio: ScriptedStudio, context: Context, attempt: Attempt) -> None:
    come_back = going_away(studio, at=3)

    def last_sign() -> object:
        found = context.queue.runs.get(attempt.run.id)
        return found.heartbeat_at if found and found.detail.get("stage") == "waiting for Label Studio" else None

    with ThreadPoolExecutor(1) as at_work:
        job = at_work.submit(run_finetune, context, attempt)
        until(lambda: last_sign() is not None)
        first = last_sign()
        until(lambda: last_sign() not in {None, first})
        come_back()
        job.result(_WITHIN_S)


def test_a_run_can_be_cancelled_while_it_waits(studio: ScriptedStudio, context: Context, attempt: Attempt) -> None:
    going_away(studio, at=3)
    with ThreadPoolExecutor(1) as at_work:
        job = at_work.submit(run_finetune, context, attempt)
        until(lambda: stage(context, attempt) == "waiting for Label Studio")
        context.queue.runs.cancel(attempt.run.id)
        with pytest.raises(RunCancelled):
            job.result(_WITHIN_S)

    assert list(context.home.runs.glob("*")) == []


def test_a_label_studio_that_stays_away_ends_the_run_with_its_reason_and_the_next_run_misses_nothing(
    studio: ScriptedStudio, context: Context, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_GIVE_UP_AFTER_S", 0.3)
    come_back = going_away(studio, at=5)
    with pytest.raises(LabelStudioError, match="cannot be reached"):
        run_finetune(context, attempt)
    come_back()

    run_finetune(context, attempt)

    assert learnt(context) == ALL


@pytest.mark.parametrize("answer", STAYS)
def test_a_failure_that_stays_ends_the_run_at_once_with_its_reason(
    studio: ScriptedStudio, context: Context, attempt: Attempt, answer: str
) -> None:
    reply, said = STAYS[answer]
    studio.decide = lambda method, path: reply if len(studio.asked) == 4 else None

    with pytest.raises(LabelStudioError, match=said):
        run_finetune(context, attempt)

    assert len(studio.asked) == 4
