"""A worker is killed at each stage of a run, by SIGKILL, which no code of ours hears of."""

from collections.abc import Callable, Iterator
from pathlib import Path

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
        some_corrections_are_here,
        the_snapshot_is_written,
        stage("reading images"),
        some_steps_are_done,
        stage("comparing"),
        a_version_is_being_written,
        the_version_has_its_row,
        the_version_is_champion,
    ],
    ids=["sync", "snapshot", "images", "training", "evaluation", "writing", "written", "promoted"],
)
def test_a_run_whose_worker_is_killed_goes_on_and_ends_as_if_nothing_had_been(
    loop: Loop, moment: Callable[[Loop, str], bool]
) -> None:
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
    assert list(loop.context.home.versions.glob(".unfinished-*")) == []
    assert list(loop.context.home.runs.iterdir()) == []
