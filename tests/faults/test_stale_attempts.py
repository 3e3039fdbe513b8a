"""What an attempt at a run may still write that was taken for dead, and whose run another worker has by now."""

from contextlib import closing
from pathlib import Path

import pytest
from tests.support.models import add_project, tiny_base
from tests.support.runs import begun
from tests.support.versions import FinishedRun

from captionloop.errors import RunLost
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.learning.finetune_run import run_finetune
from captionloop.jobs.queue.attempt import Attempt
from captionloop.jobs.queue.runs import Runs
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Database, Project, Run, RunKind, RunState, VersionState
from captionloop.model.versions.manifest import Lineage
from captionloop.model.versions.store import VersionStore
from captionloop.settings import Settings

pytestmark = pytest.mark.faults


@pytest.fixture
def project(either_database: Database) -> Project:
    return add_project(either_database)


@pytest.fixture
def store(either_database: Database, tmp_path: Path, project: Project) -> VersionStore:
    made = VersionStore(either_database, tmp_path / "versions")
    made.ensure_champion(project.id, tiny_base(tmp_path / "base"))
    return made


@pytest.fixture
def attempt(either_database: Database, project: Project) -> Attempt:
    return begun(Runs(either_database), project.id, RunKind.FINETUNE)


def taken_over(attempt: Attempt) -> Attempt:
    """The attempt of another worker."""
    with attempt.database.session() as session:
        session.get_one(Run, attempt.run.id).state = RunState.QUEUED
    later = Runs(attempt.database).start(attempt.run.id)
    assert later is not None
    return later


def make_version(store: VersionStore, project: Project, attempt: Attempt) -> str:
    lineage = Lineage(
        parent=store.champion(project.id).version, snapshot="abc", corrections=3, settings={}, metrics={}, reason="",
        state=VersionState.CANDIDATE,
    )  # fmt: skip
    return store.create(
        project.id,
        lambda directory: (directory / "model.safetensors").touch(),
        lineage=lineage,
        generation=GenerationSettings(),
        also=attempt.made,
    )


def test_a_version_is_named_by_its_run_from_the_moment_at_which_there_is_one(
    store: VersionStore, project: Project, attempt: Attempt
) -> None:
    name = make_version(store, project, attempt)

    assert taken_over(attempt).run.version == name


def test_a_stale_attempt_makes_no_version(
    store: VersionStore, project: Project, attempt: Attempt, tmp_path: Path
) -> None:
    later = taken_over(attempt)
    base = store.champion(project.id).version

    with pytest.raises(RunLost):
        make_version(store, project, attempt)

    assert [info.version for info in store.all_of(project.id)] == [base]
    assert [path.name for path in (tmp_path / "versions").glob("[!.]*")] == [base]
    assert make_version(store, project, later)


def test_a_stale_attempt_promotes_nothing(store: VersionStore, project: Project, attempt: Attempt) -> None:
    base, name = store.champion(project.id).version, make_version(store, project, attempt)
    later = taken_over(attempt)

    with pytest.raises(RunLost):
        store.promote(project.id, name, reason="better", also=attempt.hold)

    assert store.champion(project.id).version == base
    assert store.promote(project.id, name, reason="better", also=later.hold)


def test_a_run_whose_version_stands_makes_no_second_one(finished: FinishedRun, home: Home, redis_url: str) -> None:
    finished.store.promote(finished.project.id, finished.version.version, reason="better")
    with closing(Context.open(Settings(home=home.root, redis_url=redis_url))) as context:
        before = [info.version for info in context.versions.all_of(finished.project.id)]
        first = begun(context.queue.runs, finished.project.id, RunKind.FINETUNE)
        with context.database.session() as session:
            first.made(session, finished.version.version)

        said = run_finetune(context, taken_over(first))

        assert said.startswith(f"{finished.version.version} is the champion now")
        assert [info.version for info in context.versions.all_of(finished.project.id)] == before
