"""A worker is killed at each stage of a run, by SIGKILL, which no code of ours hears of."""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select
from tests.support.agreement import broken_versions, disagreements
from tests.support.loop import Loop, opened_loop
from tests.support.servers import LabelStudioServer

from captionloop.home import Home
from captionloop.model.database import Correction, Database, Promotion, RunState, Version

pytestmark = [pytest.mark.faults, pytest.mark.slow]

_ANNOTATIONS = 60


@pytest.fixture
def loop(
    label_studio_server: LabelStudioServer, database: Database, home: Home, redis_url: str, tmp_path: Path
) -> Iterator[Loop]:
    with opened_loop(label_studio_server, home, redis_url, tmp_path) as opened:
        opened.add_annotations(_ANNOTATIONS)
        yield opened


def stage(name: str) -> Callable[[Loop, str], bool]:
    return lambda loop, run: loop.run(run).detail.get("stage") == name


def some_corrections_are_here(loop: Loop, run: str) -> bool:
    with loop.context.database.reading() as session:
        return 0 < (session.scalar(select(func.count()).select_from(Correction)) or 0) < _ANNOTATIONS


def the_snapshot_is_written(loop: Loop, run: str) -> bool:
    return any(loop.context.home.datasets.glob("*"))


def some_steps_are_done(loop: Loop, run: str) -> bool:
    return int(loop.run(run).detail.get("step", 0)) > 20


def a_version_is_being_written(loop: Loop, run: str) -> bool:
    return any(loop.context.home.versions.glob(".unfinished-*/*"))


def the_version_has_its_row(loop: Loop, run: str) -> bool:
    with loop.context.database.reading() as session:
        return session.scalar(select(Version.name).where(Version.project_id == loop.project.id)) is not None


def the_version_is_champion(loop: Loop, run: str) -> bool:
    return len(promotions(loop)) > 1


def promotions(loop: Loop) -> list[str]:
    with loop.context.database.reading() as session:
        return list(session.scalars(select(Promotion.version).where(Promotion.project_id == loop.project.id)))


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(some_corrections_are_here, id="sync", marks=pytest.mark.heavy),
        pytest.param(the_snapshot_is_written, id="snapshot", marks=pytest.mark.heavy),
        pytest.param(stage("reading images"), id="images", marks=pytest.mark.heavy),
        pytest.param(some_steps_are_done, id="training"),
        pytest.param(stage("comparing"), id="evaluation", marks=pytest.mark.heavy),
        pytest.param(a_version_is_being_written, id="writing", marks=pytest.mark.heavy),
        pytest.param(the_version_has_its_row, id="written", marks=pytest.mark.heavy),
        pytest.param(the_version_is_champion, id="promoted", marks=pytest.mark.heavy),
    ],
)
def test_a_run_whose_worker_is_killed_goes_on_and_ends_as_if_nothing_had_been(
    loop: Loop, moment: Callable[[Loop, str], bool]
) -> None:
    goes_on_as_if_nothing_had_been(loop, moment)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(some_corrections_are_here, id="sync"),
        pytest.param(some_steps_are_done, id="training"),
        pytest.param(the_version_is_champion, id="promoted"),
    ],
)
def test_a_killed_run_goes_on_to_the_same_end_on_postgresql(
    label_studio_server: LabelStudioServer,
    postgres_url: str,
    home: Home,
    redis_url: str,
    tmp_path: Path,
    moment: Callable[[Loop, str], bool],
) -> None:
    with opened_loop(
        label_studio_server, home, redis_url, tmp_path, CAPTIONLOOP_DATABASE_URL=postgres_url
    ) as on_postgresql:
        on_postgresql.add_annotations(_ANNOTATIONS)
        goes_on_as_if_nothing_had_been(on_postgresql, moment)


def goes_on_as_if_nothing_had_been(loop: Loop, moment: Callable[[Loop, str], bool]) -> None:
    """A run whose worker is killed at that moment."""
    base = loop.context.versions.champion(loop.project.id).version
    run = loop.request_training()
    with loop.worker():
        loop.wait(lambda: moment(loop, run))
    killed = loop.run(run)
    assert broken_versions(loop.context, loop.project) == []
    loop.age(run)
    with loop.worker():
        ended = loop.until_over(run)

    assert (killed.state, ended.state, ended.attempts) == (RunState.RUNNING, RunState.FINISHED, 2)
    assert disagreements(loop.context, loop.project) == []
    assert broken_versions(loop.context, loop.project) == []
    assert promotions(loop) == [base, ended.version]
    assert [info.version for info in loop.context.versions.all_of(loop.project.id)] == [base, ended.version]
    assert list(loop.context.home.runs.iterdir()) == []


@pytest.mark.heavy
def test_a_run_whose_worker_is_killed_is_taken_up_within_two_minutes_by_another_that_was_there_already(
    loop: Loop,
) -> None:
    run = loop.request_training()
    with loop.worker(), loop.worker():
        loop.wait(lambda: some_steps_are_done(loop, run))
        (job,) = loop.jobs()
        psutil.Process(job).parent().kill()  # one of the two; the other one knows nothing of it
        begun = time.monotonic()
        loop.wait(lambda: loop.run(run).attempts == 2, within_s=120, every_s=0.5)
        taken_up_s = time.monotonic() - begun
        ended = loop.until_over(run)

    assert taken_up_s < 120
    assert (ended.state, ended.attempts) == (RunState.FINISHED, 2)
    assert broken_versions(loop.context, loop.project) == []


@pytest.mark.heavy
def test_a_job_that_is_killed_alone_is_taken_up_by_its_own_worker(loop: Loop) -> None:
    run = loop.request_training()
    with loop.worker():
        loop.wait(lambda: some_steps_are_done(loop, run))
        (job,) = loop.jobs()
        os.kill(job, signal.SIGKILL)
        loop.age(run)
        ended = loop.until_over(run)

    assert (ended.state, ended.attempts) == (RunState.FINISHED, 2)


def test_a_run_for_which_memory_runs_out_fails_and_says_so(loop: Loop) -> None:
    run = loop.request_training(batch_size=54, micro_batch_size=54)
    with loop.worker():
        loop.wait(lambda: loop.jobs() and loop.run(run).detail.get("stage") in {"reading images", "training"})
        (job,) = loop.jobs()
        resource.prlimit(job, resource.RLIMIT_AS, (psutil.Process(job).memory_info().vms + (8 << 20),) * 2)
        ended = loop.until_over(run)

    assert ended.state is RunState.FAILED
    assert ended.message.startswith("Memory ran out")
    assert broken_versions(loop.context, loop.project) == []
