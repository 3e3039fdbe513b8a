"""A captioning run with a Label Studio that answers badly: what passes costs time, the rest ends it with a reason."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.captioning import take_four_tasks_at_a_time
from tests.support.models import add_project
from tests.support.pictures import picture
from tests.support.runs import begun
from tests.support.scripted_studio import PASSES, STAYS, ScriptedStudio, opened_context, scripted_studio

from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.errors import CaptionloopError, LabelConfigError, LabelStudioError
from captionloop.home import Home
from captionloop.jobs.captioning.annotate_run import run_annotate
from captionloop.jobs.context import Context
from captionloop.jobs.processes import patience
from captionloop.model.database import Database, Project, RunKind, RunState

TASKS = 12


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedStudio]:
    take_four_tasks_at_a_time(monkeypatch)
    monkeypatch.setattr(patience, "_DELAYS_S", (0.01,))
    with scripted_studio() as running:
        for number in range(TASKS):
            running.add_task({"image": picture(f"#{number * 20:02x}40a0")})
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
def annotate(context: Context, project: Project) -> Callable[[], str]:
    def run() -> str:
        attempt = begun(context.queue.runs, project.id, RunKind.ANNOTATE)
        try:
            said = run_annotate(context, attempt)
        except CaptionloopError as error:
            attempt.finish(RunState.FAILED, message=str(error))
            raise
        attempt.finish(RunState.FINISHED, message=said)
        return said

    return run


def suggestions(studio: ScriptedStudio) -> list[int]:
    """How many each task has."""
    return [len(task["predictions"]) for task in studio.tasks.values()]


@pytest.mark.parametrize("answer", PASSES)
def test_a_failure_that_passes_costs_only_time(
    studio: ScriptedStudio, annotate: Callable[[], str], answer: str
) -> None:
    chance = random.Random(0)
    studio.decide = lambda method, path: PASSES[answer] if chance.random() < 0.4 else None

    said = annotate()

    assert said.startswith(f"{TASKS} unlabelled tasks have suggestions")
    assert suggestions(studio) == [1] * TASKS


@pytest.mark.parametrize("answer", STAYS)
@pytest.mark.parametrize("after", [pytest.param(0, marks=pytest.mark.slow), 4])
def test_a_failure_that_stays_ends_the_run_with_its_reason_and_another_run_goes_on(
    studio: ScriptedStudio, annotate: Callable[[], str], answer: str, after: int
) -> None:
    reply, said = STAYS[answer]
    count = iter(range(10**6))
    studio.decide = lambda method, path: reply if next(count) >= after else None

    with pytest.raises(LabelStudioError, match=said):
        annotate()
    studio.decide = lambda method, path: None
    annotate()

    assert suggestions(studio) == [1] * TASKS


@pytest.mark.parametrize("place", [4, *(pytest.param(place, marks=pytest.mark.slow) for place in (2, 3, 5, 6, 7, 8))])
def test_a_task_that_vanishes_at_any_moment_harms_no_other(
    studio: ScriptedStudio, annotate: Callable[[], str], place: int
) -> None:
    count = iter(range(10**6))

    def decide(method: str, path: str) -> None:
        if next(count) == place:
            studio.delete_task(6)

    studio.decide = decide

    annotate()

    assert suggestions(studio) == [1] * (TASKS - 1)


def test_another_label_config_in_the_middle_counts_from_the_next_run_on(
    studio: ScriptedStudio, annotate: Callable[[], str], context: Context
) -> None:
    count = iter(range(10**6))

    def decide(method: str, path: str) -> None:
        if next(count) == 5:
            studio.project["label_config"] = SAMPLE_LABEL_CONFIG.replace('"caption"', '"words"')

    studio.decide = decide
    annotate()
    new = studio.add_task()

    annotate()

    assert studio.tasks[new]["predictions"][0]["result"][0]["from_name"] == "words"


def test_a_label_config_that_lost_its_place_for_captions_ends_the_run_with_that(
    studio: ScriptedStudio, annotate: Callable[[], str]
) -> None:
    studio.project["label_config"] = "<View/>"

    with pytest.raises(LabelConfigError, match="no Image"):
        annotate()

    assert suggestions(studio) == [0] * TASKS


@pytest.mark.parametrize("data", [{"image": None}, {"image": "\x00"}, {"image": {"a": 1}}, {}, {"\x00": "\ud800"}])
def test_a_task_of_odd_data_is_named_and_stops_nothing(
    studio: ScriptedStudio, annotate: Callable[[], str], data: Any
) -> None:
    odd = studio.add_task(data)

    said = annotate()

    assert f"1 could not be captioned. Task {odd}: " in said
    assert suggestions(studio) == [1] * TASKS + [0]
