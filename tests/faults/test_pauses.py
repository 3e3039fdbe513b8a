"""What is taken for dead and is not: a process that stood still for long (SIGSTOP), and then goes on."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import select, text
from tests.support.agreement import broken_versions, disagreements
from tests.support.loop import Loop, opened_loop
from tests.support.pauses import stopped
from tests.support.processes import alive
from tests.support.servers import LabelStudioServer, OwnRedis, descendants

from captionloop.home import Home
from captionloop.jobs.queue.runs import DEAD_AFTER_S
from captionloop.model.database import Database, Promotion, Run, RunKind, RunState

pytestmark = [pytest.mark.faults, pytest.mark.slow]

_ANNOTATIONS = 40
_STEPS = 100
_LONGER_THAN_A_HEARTBEAT_S = 45  # RQ's worker gives one every 30 s, and waits 5 s for Redis


@pytest.fixture
def loop(
    label_studio_server: LabelStudioServer, database: Database, home: Home, redis_url: str, tmp_path: Path
) -> Iterator[Loop]:
    with opened_loop(label_studio_server, home, redis_url, tmp_path) as opened:
        opened.add_annotations(_ANNOTATIONS)
        yield opened


def some_steps_are_done(loop: Loop, run: str) -> bool:
    return int(loop.run(run).detail.get("step", 0)) > 8


def is_in(stage: str) -> Callable[[Loop, str], bool]:
    return lambda loop, run: loop.run(run).detail.get("stage") == stage


def is_given_up(loop: Loop, run: str) -> bool:
    return loop.run(run).state is not RunState.RUNNING


def made_one_version_and_promoted_it(loop: Loop, ended: Run) -> None:
    base, *made = [info.version for info in loop.context.versions.all_of(loop.project.id)]
    with loop.context.database.reading() as session:
        promoted = session.scalars(select(Promotion.version).where(Promotion.project_id == loop.project.id)).all()
    assert (ended.state, ended.message.partition(" ")[0]) == (RunState.FINISHED, ended.version), loop.log()
    assert made == [ended.version]
    assert promoted == [base, ended.version]
    assert broken_versions(loop.context, loop.project) == []
    assert disagreements(loop.context, loop.project) == []
    loop.wait(lambda: list(loop.context.home.runs.iterdir()) == [], within_s=30)


# Nobody else takes it over --------------------------------------------------------------------------------------------


def test_a_run_whose_job_stood_still_goes_on_where_nobody_else_took_it(loop: Loop) -> None:
    run = loop.request_training(steps=_STEPS)
    with loop.worker():
        loop.wait(lambda: some_steps_are_done(loop, run))
        with stopped(loop.jobs, database=loop.context.database.url):
            loop.age(run)
            loop.wait(lambda: is_given_up(loop, run), within_s=60, every_s=0.5)
        ended = loop.until_over(run)

    assert ended.attempts == 1
    made_one_version_and_promoted_it(loop, ended)


@pytest.mark.heavy
def test_a_run_goes_on_when_everything_stood_still(loop: Loop) -> None:
    run = loop.request_training(steps=_STEPS)
    with loop.worker() as worker:
        loop.wait(lambda: some_steps_are_done(loop, run))
        with stopped(lambda: [worker.pid, *loop.jobs()], database=loop.context.database.url):
            loop.age(run)
            loop.context.queue.keep_moving()  # as another process does, such as a backend that went on first
            assert is_given_up(loop, run)
        ended = loop.until_over(run)

    made_one_version_and_promoted_it(loop, ended)


@pytest.mark.heavy
def test_a_run_goes_on_while_its_worker_stands_still_and_that_takes_the_next_one_then(loop: Loop) -> None:
    run = loop.request_training(steps=_STEPS)
    with loop.worker() as worker:
        loop.wait(lambda: some_steps_are_done(loop, run))
        with stopped(lambda: [worker.pid]):
            ended = loop.until_over(run)
        made_one_version_and_promoted_it(loop, ended)
        following = loop.until_over(loop.request_training(steps=20))

    assert (ended.attempts, following.state) == (1, RunState.FINISHED)


# Another worker takes it over -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(is_in("reading corrections"), id="sync", marks=pytest.mark.heavy),
        pytest.param(some_steps_are_done, id="training"),
        pytest.param(is_in("comparing"), id="evaluation", marks=pytest.mark.heavy),
        pytest.param(is_in("deciding"), id="deciding", marks=pytest.mark.heavy),
    ],
)
def test_a_worker_that_stood_still_until_another_took_its_run_over_leaves_it_alone(
    loop: Loop, moment: Callable[[Loop, str], bool]
) -> None:
    the_one_that_took_it_over_ends_it(loop, moment)


@pytest.mark.heavy
def test_a_worker_that_stood_still_leaves_its_run_alone_on_postgresql(
    label_studio_server: LabelStudioServer, postgres_url: str, home: Home, redis_url: str, tmp_path: Path
) -> None:
    with opened_loop(
        label_studio_server, home, redis_url, tmp_path, CAPTIONLOOP_DATABASE_URL=postgres_url
    ) as on_postgresql:
        on_postgresql.add_annotations(_ANNOTATIONS)
        the_one_that_took_it_over_ends_it(on_postgresql, some_steps_are_done)


def the_one_that_took_it_over_ends_it(loop: Loop, moment: Callable[[Loop, str], bool]) -> None:
    run = loop.request_training(steps=_STEPS)
    with ExitStack() as stack:
        first = stack.enter_context(loop.worker())
        loop.wait(lambda: moment(loop, run))
        jobs = descendants(first.pid)
        with stopped(lambda: [first.pid, *jobs], database=loop.context.database.url):
            loop.age(run)
            stack.enter_context(loop.worker())
            loop.wait(lambda: loop.run(run).attempts == 2, within_s=120, every_s=0.1)
            loop.wait(lambda: loop.run(run).progress > 0, every_s=0.1)
        loop.wait(lambda: not alive(jobs), within_s=60)
        told: list[float] = []
        while not (ended := loop.run(run)).state.is_over:
            told.append(ended.progress)
            time.sleep(0.2)

    assert told == sorted(told)
    assert ended.attempts == 2
    made_one_version_and_promoted_it(loop, ended)


@pytest.mark.heavy
def test_a_captioning_run_that_another_worker_took_over_is_left_alone(loop: Loop) -> None:
    loop.add_tasks(300)
    run = loop.context.queue.request(loop.project.id, RunKind.ANNOTATE, asked_by="test").run.id
    with ExitStack() as stack:
        first = stack.enter_context(loop.worker())
        loop.wait(lambda: loop.run(run).progress > 0.3)
        jobs = descendants(first.pid)
        with stopped(lambda: [first.pid, *jobs], database=loop.context.database.url):
            loop.age(run)
            stack.enter_context(loop.worker())
            loop.wait(lambda: loop.run(run).attempts == 2, within_s=120, every_s=0.1)
        loop.wait(lambda: not alive(jobs), within_s=60)
        ended = loop.until_over(run)
        # What the first was just pushing when it stood still may be there twice until the run that it requests is over.
        loop.wait(lambda: not loop.context.queue.runs.unfinished(loop.project.id), within_s=60)

    assert (ended.state, ended.attempts) == (RunState.FINISHED, 2)
    studio = loop.context.label_studio
    tasks = list(studio.unlabelled_tasks_with_results(loop.project.label_studio_id))
    assert Counter(len(task["predictions"]) for task in tasks) == {1: 300}


# The services ---------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_run_goes_on_while_redis_stands_still_and_no_second_job_is_begun_beside_it(
    label_studio_server: LabelStudioServer, database: Database, home: Home, tmp_path: Path
) -> None:
    with OwnRedis.running() as redis, opened_loop(label_studio_server, home, redis.url, tmp_path) as loop:
        loop.add_annotations(_ANNOTATIONS)
        run = loop.request_training(steps=100_000)
        with loop.worker():
            loop.wait(lambda: some_steps_are_done(loop, run))
            loop.context.queue.request_sync(loop.project.id)  # which waits for the worker
            with stopped(lambda: redis.pids):
                time.sleep(_LONGER_THAN_A_HEARTBEAT_S)
            step, jobs = loop.run(run).detail["step"], set()
            for _ in range(100):
                jobs.add(len(loop.jobs()))
                time.sleep(0.2)
            later = loop.run(run)
            loop.context.queue.runs.cancel(run)
            loop.until_over(run)

        assert jobs == {1}, loop.log()
        assert (later.state, later.attempts) == (RunState.RUNNING, 1)
        assert later.detail["step"] > step


@pytest.mark.heavy
def test_a_run_goes_on_when_postgresql_stood_still(
    label_studio_server: LabelStudioServer, postgres_url: str, home: Home, redis_url: str, tmp_path: Path
) -> None:
    with opened_loop(label_studio_server, home, redis_url, tmp_path, CAPTIONLOOP_DATABASE_URL=postgres_url) as loop:
        loop.add_annotations(_ANNOTATIONS)
        run = loop.request_training(steps=_STEPS)
        with loop.worker(), loop.worker():  # the second one is free to take the run over
            loop.wait(lambda: some_steps_are_done(loop, run))
            postmaster = postmaster_of(loop.context.database)
            with stopped(lambda: [postmaster, *descendants(postmaster)]):
                time.sleep(DEAD_AFTER_S + 5)
            ended = loop.until_over(run)

        made_one_version_and_promoted_it(loop, ended)


def postmaster_of(database: Database) -> int:
    with database.reading() as session:
        directory = session.execute(text("SHOW data_directory")).scalar_one()
    return int(Path(directory, "postmaster.pid").read_text().split()[0])
