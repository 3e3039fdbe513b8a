"""While a project is captioned, people work in it and Label Studio is restarted."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from tests.support.captioning import Studio, opening_studio
from tests.support.people import another_annotator
from tests.support.servers import LabelStudioServer, running_label_studio
from tests.support.versions import FinishedRun

from captionloop.home import Home
from captionloop.jobs.project.sync import sync
from captionloop.model.database import Correction, Database, Run

pytestmark = pytest.mark.slow

_WITHIN_S = 600


@pytest.fixture
def studio(
    label_studio_server: LabelStudioServer, finished: FinishedRun, database: Database, home: Home, redis_url: str
) -> Iterator[Studio]:
    with opening_studio(label_studio_server, finished, database, home, redis_url) as open_at:
        yield open_at(label_studio_server.url)


def submit(api: httpx.Client, studio: Studio, task: int, caption: str) -> None:
    """As the editor does: with whatever suggestion the task shows at that moment."""
    found = api.get(f"/api/tasks/{task}").raise_for_status().json()
    shown = max((prediction["id"] for prediction in found["predictions"]), default=None)
    value = {"from_name": "caption", "to_name": "image", "type": "textarea", "value": {"text": [caption]}}
    body = {"result": [value], "lead_time": 2.5, "parent_prediction": shown}
    address = f"/api/tasks/{task}/annotations/"
    api.post(address, params={"project": studio.number}, json=body).raise_for_status()


def test_two_annotators_at_work_meanwhile_lose_nothing(studio: Studio) -> None:
    tasks = studio.add_tasks(96)
    halves = {"ann": tasks[:30:2], "bob": tasks[1:30:2]}
    bob = another_annotator(studio.server, "bob@localhost")
    run = studio.begin()

    def work(name: str, api: httpx.Client) -> None:
        for task in halves[name]:
            submit(api, studio, task, f"{name} wrote this for {task}")

    with bob, ThreadPoolExecutor() as at_work:
        job = at_work.submit(studio.carry_out, run)
        for person in [at_work.submit(work, "ann", studio.api), at_work.submit(work, "bob", bob)]:
            person.result(_WITHIN_S)
        job.result(_WITHIN_S)

    context = studio.context
    sync(context, studio.project.id)
    chosen = select(Correction).where(Correction.task_id.in_(tasks))
    with context.database.reading() as session:
        kept = {found.task_id: found.captions for found in session.scalars(chosen)}
    assert kept == {task: [f"{name} wrote this for {task}"] for name, theirs in halves.items() for task in theirs}
    assert Counter(studio.versions(task).count(studio.champion) for task in tasks[30:]) == {1: 66}


@pytest.mark.faults
def test_a_restart_of_label_studio_costs_only_time(
    cache: Path, finished: FinishedRun, database: Database, home: Home, redis_url: str, tmp_path: Path
) -> None:
    with (
        running_label_studio(tmp_path / "label-studio", cache=cache) as server,
        opening_studio(server, finished, database, home, redis_url) as open_at,
        ThreadPoolExecutor() as at_work,
    ):
        studio = open_at(server.url)
        tasks = studio.add_tasks(400)
        attempt = studio.begin()
        run, job = attempt.run, at_work.submit(studio.carry_out, attempt)
        wait_until(studio, run, lambda found: found.progress > 0)
        server.stop()
        wait_until(studio, run, lambda found: found.detail["stage"] == "waiting for Label Studio")
        server.start()
        said = job.result(_WITHIN_S)
        versions = Counter(tuple(studio.versions(task)) for task in tasks)

    assert said == f"400 unlabelled tasks have suggestions of {studio.champion}."
    assert versions == {(studio.champion,): 400}


def wait_until(studio: Studio, run: Run, holds: Callable[[Run], bool]) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not ((found := studio.context.queue.runs.get(run.id)) and holds(found)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
