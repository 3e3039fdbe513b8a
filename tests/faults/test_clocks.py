"""Hosts whose clocks differ: real workers on one PostgreSQL and one Redis, one 90 s slow and one 90 s fast."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from tests.support.clocks import clock_off_by
from tests.support.loop import Loop
from tests.support.pictures import picture
from tests.support.processes import COMMAND
from tests.support.scripted_studio import TOKEN, scripted_studio

from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.database import Project, RunKind, RunState
from captionloop.settings import Settings

pytestmark = [pytest.mark.faults, pytest.mark.slow]

_OFF_BY_S = 90  # more than the time after which a silent run is taken for dead
_ANNOTATIONS = 24


@pytest.fixture
def loop(home: Home, redis_url: str, postgres_url: str, tmp_path: Path) -> Iterator[Loop]:
    with ExitStack() as opened:
        studio = opened.enter_context(scripted_studio())
        variables = {
            "CAPTIONLOOP_HOME": str(home.root), "CAPTIONLOOP_GATE": "always",
            "CAPTIONLOOP_DATABASE_URL": postgres_url, "REDIS_URL": redis_url,
            "LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": TOKEN, "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        for number in range(_ANNOTATIONS):
            studio.annotate(studio.add_task({"image": picture(f"#{number * 9:02x}40a0")}), "a red square on a table")
        context = opened.enter_context(closing(Context.open(Settings.read(variables))))
        server = context.settings.server_name
        with context.database.session() as session:
            project = Project(server=server, label_studio_id=1, webhook_secret="x", is_connected=True)
            session.add(project)
        context.versions.ensure_champion(project.id, context.base)
        yield Loop(context, project, variables, tmp_path)


@contextmanager
def worker_off_by(loop: Loop, seconds: int) -> Iterator[None]:
    """A process with an interpreter of its own, into which the library is loaded."""
    environment = os.environ | loop.variables | clock_off_by(seconds)
    with (loop.directory / "worker.log").open("ab") as log:
        process = subprocess.Popen([*COMMAND, "worker"], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("first", [-_OFF_BY_S, _OFF_BY_S], ids=["slow, then fast", "fast, then slow"])
def test_that_differ_do_not_end_a_run(loop: Loop, first: int) -> None:
    run = loop.request_training(steps=300)
    queue = loop.context.queue
    with worker_off_by(loop, first):
        loop.wait(lambda: loop.run(run).detail.get("step", 0) > 3, every_s=0.2)
        with worker_off_by(loop, -first):
            # It has looked for dead runs before it registers, and once more every 15 s.
            loop.wait(lambda: len(queue.workers()) == 2, every_s=0.2)
            assert loop.run(run).state is RunState.RUNNING
            ended = loop.until_over(run)
            loop.wait(lambda: not queue.runs.active())  # the captioning run after the promotion

    assert (ended.state, ended.attempts, ended.fence) == (RunState.FINISHED, 1, 1), loop.log()
    assert loop.context.versions.champion(loop.project.id).version == ended.version
    (annotated,) = queue.runs.latest(loop.project.id, RunKind.ANNOTATE, count=5)
    assert (annotated.state, annotated.attempts) == (RunState.FINISHED, 1)
