"""Automatic runs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from tests.support.corrections import correct
from tests.support.models import add_project

from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.worker.due_runs import start_due_runs
from captionloop.model.active_learning.project_settings import ProjectSettings
from captionloop.model.database import Database, Project, RunKind
from captionloop.settings import Settings


@pytest.fixture
def context(database: Database, home: Home, redis_url: str) -> Iterator[Context]:
    opened = Context.open(Settings(home=home.root, redis_url=redis_url, server="local"))
    yield opened
    opened.close()


@pytest.fixture
def due(database: Database) -> Project:
    """A project with three corrections, in which three are a reason to train."""
    project = add_project(database)
    with database.session() as session:
        session.get_one(Project, project.id).settings = ProjectSettings(train_after=3).to_dict()
    for _ in range(3):
        correct(database, project, version="v1")
    return project


def test_a_run_that_is_due_is_asked_for_with_its_reason(context: Context, due: Project, redis_url: str) -> None:
    start_due_runs(context)

    (run,) = context.queue.runs.unfinished(due.id)
    assert (run.kind, run.asked_by) == (RunKind.FINETUNE, "itself: 3 corrections")
    with Redis.from_url(redis_url) as client:
        assert client.llen("rq:queue:captionloop") == 1


def test_looking_again_asks_for_nothing_more(context: Context, due: Project) -> None:
    for _ in range(3):
        start_due_runs(context)

    assert len(context.queue.runs.unfinished(due.id)) == 1


def test_no_second_run_is_asked_for_while_one_goes_on(context: Context, due: Project, database: Database) -> None:
    run = context.queue.request(due.id, RunKind.FINETUNE, asked_by="somebody").run
    context.queue.runs.start(run.id)
    for _ in range(3):
        correct(database, due, version="v1")

    start_due_runs(context)

    assert [waiting.id for waiting in context.queue.runs.unfinished(due.id)] == [run.id]


def test_several_workers_that_look_at_once_ask_once(context: Context, due: Project) -> None:
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda _: start_due_runs(context), range(8)))

    assert len(context.queue.runs.unfinished(due.id)) == 1


def test_settings_that_cannot_be_used_keep_no_other_project_waiting(
    context: Context, due: Project, database: Database
) -> None:
    broken = add_project(database, 2)
    with database.session() as session:
        session.get_one(Project, broken.id).settings = {"train_after": "often"}

    start_due_runs(context)

    assert len(context.queue.runs.unfinished(due.id)) == 1
