"""Two backends and two workers, as the processes that they are, on one PostgreSQL, one Redis and one home directory."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from tests.support.damage import damage
from tests.support.forked import forked_command
from tests.support.models import tiny_base
from tests.support.pictures import picture
from tests.support.scripted_studio import TOKEN, ScriptedStudio, scripted_studio
from tests.support.service import AUTH
from tests.support.versions import add_copy

from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.local.ports import free_port
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.database import Correction, Project, Run, RunKind, RunState
from captionloop.settings import Settings

pytestmark = pytest.mark.slow

TASKS = 40
SECRET = {"X-Captionloop-Secret": "of the project"}


@dataclass
class Installation:
    studio: ScriptedStudio
    context: Context
    project: Project
    backends: list[str]

    def predict(self, backend: str) -> str:
        """The version that a backend answers with."""
        body = {
            "tasks": [{"id": 1, "data": {"image": picture("red")}}],
            "project": "1.1",
            "label_config": SAMPLE_LABEL_CONFIG,
        }
        answer = httpx.post(f"{backend}/predict", json=body, auth=AUTH, timeout=400).raise_for_status().json()
        return str(answer["results"][0]["model_version"])


@pytest.fixture
def installation(home: Home, redis_url: str, postgres_url: str, tmp_path: Path) -> Iterator[Installation]:
    with ExitStack() as opened:
        studio = opened.enter_context(scripted_studio())
        variables = {
            "CAPTIONLOOP_HOME": str(home.root), "CAPTIONLOOP_MODEL": tiny_base(tmp_path / "base").source,
            "CAPTIONLOOP_DATABASE_URL": postgres_url, "REDIS_URL": redis_url, "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": TOKEN, "CAPTIONLOOP_USER": AUTH[0], "CAPTIONLOOP_PASSWORD": AUTH[1],
        }  # fmt: skip
        ports = [free_port() for _ in range(2)]
        programs = [["serve", "--port", str(port)] for port in ports] + [["worker"]] * 2
        for number, program in enumerate(programs):  # all begin with an empty database
            log = tmp_path / f"{number}.log"
            process = forked_command(*program, log=log, environment={**os.environ, **variables})
            opened.callback(process.wait)
            opened.callback(process.terminate)
        backends = [f"http://localhost:{port}" for port in ports]
        for backend in backends:
            until(lambda backend=backend: answers(backend))  # type: ignore[misc]
        context = opened.enter_context(closing(Context.open(Settings.read(variables))))
        server = context.settings.server_name
        with context.database.session() as session:
            project = Project(server=server, label_studio_id=1, webhook_secret="of the project", is_connected=True)
            session.add(project)
        yield Installation(studio, context, project, backends)


def until(holds: Callable[[], bool], *, within_s: float = 400) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.2)


def answers(backend: str) -> bool:
    try:
        return httpx.get(f"{backend}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def test_two_backends_and_two_workers_do_everything_once(installation: Installation) -> None:
    studio, context, project = installation.studio, installation.context, installation.project
    tasks = [studio.add_task({"image": picture(f"#{number * 6:02x}40a0")}) for number in range(TASKS)]
    for task in tasks[: TASKS // 2]:
        studio.annotate(task, f"caption of {task}")

    with ThreadPoolExecutor(8) as people:
        for number in range(16):
            backend = installation.backends[number % 2]
            people.submit(installation.predict, backend)
            body = {"action": "ANNOTATION_CREATED", "project": {"id": 1}}
            people.submit(httpx.post, f"{backend}/webhook", json=body, headers=SECRET, timeout=400)
            people.submit(context.queue.request, project.id, RunKind.ANNOTATE, asked_by="test")

    def is_done() -> bool:
        return not context.queue.runs.active() and corrections(context) == TASKS // 2

    until(is_done)
    with context.database.reading() as session:
        runs = list(session.scalars(select(Run)))
    assert {(run.state, run.attempts) for run in runs} == {(RunState.FINISHED, 1)}
    assert [len(studio.tasks[task]["predictions"]) for task in tasks[TASKS // 2 :]] == [1] * (TASKS - TASKS // 2)

    before = context.versions.champion(project.id)
    newer = add_copy(context.versions, project, before)
    context.versions.promote(project.id, newer, reason="better")
    context.queue.announce_champion(project.id)
    for backend in installation.backends:
        until(lambda backend=backend: installation.predict(backend) == newer)  # type: ignore[misc]


@pytest.mark.faults
def test_a_champions_damaged_file_that_is_put_back_is_served_again_by_both_backends(
    installation: Installation,
) -> None:
    context, project = installation.context, installation.project
    served = [installation.predict(backend) for backend in installation.backends]
    newer = add_copy(context.versions, project, context.versions.champion(project.id))
    context.versions.promote(project.id, newer, reason="better")
    weights = context.versions.get(project.id, newer).path / "model.safetensors"
    content = weights.read_bytes()
    damage(weights, "truncated")
    context.queue.announce_champion(project.id)
    until(lambda: all(is_damaged(backend) for backend in installation.backends))
    meanwhile = [installation.predict(backend) for backend in installation.backends]

    weights.write_bytes(content)

    # Nobody asks for a caption, nor announces anything.
    until(lambda: not any(is_damaged(backend) for backend in installation.backends))
    assert meanwhile == served
    assert [installation.predict(backend) for backend in installation.backends] == [newer, newer]


def is_damaged(backend: str) -> bool:
    return 'captionloop_champion_damaged{project="1"} 1.0' in figures(backend)


def test_figures_say_of_which_backend_they_are(installation: Installation) -> None:
    for backend in installation.backends:
        (told,) = [line for line in figures(backend).splitlines() if line.startswith("captionloop_info")]
        assert f'port="{backend.rpartition(":")[2]}"' in told


def figures(backend: str) -> str:
    return httpx.get(f"{backend}/metrics", auth=AUTH, timeout=60).raise_for_status().text


def corrections(context: Context) -> int:
    with context.database.reading() as session:
        return session.query(Correction).count()
