"""A whole loop to break: an annotated project on a real Label Studio, our side of it, and workers to be killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from captionloop.backend.label_studio.annotations import caption_item
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG, CaptionTarget
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.queue.runs import DEAD_AFTER_S
from captionloop.model.database import Project, Run, RunKind, RunState, utc_now
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene
from captionloop.model.starter.styles import STYLES
from captionloop.settings import Settings
from tests.support.forked import ForkedProcess
from tests.support.pictures import picture_of_scene
from tests.support.processes import alive, running
from tests.support.servers import LabelStudioServer, descendants

TARGET = CaptionTarget("caption", "image", "image", max_submissions=1)


@dataclass
class Loop:
    """A project, annotated by people, whose model is the starter's."""

    context: Context
    project: Project
    variables: dict[str, str]
    directory: Path
    workers: list[ForkedProcess] = field(default_factory=list)

    def add_annotations(self, count: int, *, since: int = 0) -> None:
        """As many tasks, each a scene, with a caption by a person."""
        places = range(since, since + count)
        tasks = self.context.label_studio.import_tasks(
            self.project.label_studio_id, [{"data": {"image": picture_of(place)}} for place in places]
        )
        for place, task in zip(places, tasks, strict=True):
            item = caption_item(TARGET, STYLES["alt_text"](_scene(place)[0])) | {"origin": "manual"}
            self.context.label_studio.create_annotation(
                self.project.label_studio_id, task, result=[item], lead_time=1.0
            )

    def add_tasks(self, count: int) -> None:
        """Some that nobody annotates."""
        tasks = [{"data": {"image": picture_of(place)}} for place in range(count)]
        self.context.label_studio.import_tasks(self.project.label_studio_id, tasks)

    def change_annotation(self, caption: str) -> None:
        """What somebody does to the first of them."""
        item = caption_item(TARGET, caption) | {"origin": "manual"}
        self._annotation("PATCH", {"result": [item]}, place=0)

    def delete_annotation(self) -> None:
        """What somebody does to the second of them."""
        self._annotation("DELETE", None, place=1)

    def _annotation(self, method: str, body: Any, *, place: int) -> None:
        studio = self.context.label_studio
        task = sorted(task.id for task in studio.annotated_tasks(self.project.label_studio_id))[place]
        annotation = studio.task(self.project.label_studio_id, task)["annotations"][0]["id"]
        address = f"{self.variables['LABEL_STUDIO_URL']}/api/annotations/{annotation}/"
        headers = {"Authorization": f"Token {self.variables['LABEL_STUDIO_API_KEY']}"}
        httpx.request(method, address, json=body, headers=headers, timeout=60).raise_for_status()

    @contextmanager
    def at(self, home: Home, **variables: str) -> Iterator["Loop"]:
        """The same project, as another home knows it; with other variables as well."""
        known = self.variables | {"CAPTIONLOOP_HOME": str(home.root), **variables}
        with closing(Context.open(Settings.read(known))) as context:
            yield Loop(context, self.project, known, self.directory)

    def request_training(self, **settings: Any) -> str:
        chosen = {"steps": 120, "batch_size": 4, **settings}
        return self.context.queue.request(self.project.id, RunKind.FINETUNE, asked_by="test", settings=chosen).run.id

    def run(self, run_id: str) -> Run:
        found = self.context.queue.runs.get(run_id)
        assert found is not None
        return found

    @contextmanager
    def worker(self, **variables: str) -> Iterator[ForkedProcess]:
        """A worker; at the end nothing of it is left, or the test fails."""
        with running("worker", log=self.directory / "worker.log", environment=self.variables | variables) as process:
            self.workers.append(process)
            yield process
            kill_with_all(process)

    def jobs(self) -> list[int]:
        """The processes of the jobs that our workers do now."""
        return [pid for worker in self.workers for pid in descendants(worker.pid)]

    def log(self) -> str:
        return (self.directory / "worker.log").read_text(encoding="utf-8")

    def age(self, run_id: str) -> None:
        """Let the last sign of life be so long ago that the next worker believes in the end of the one before."""
        with self.context.database.session() as session:
            session.get_one(Run, run_id).heartbeat_at = utc_now() - timedelta(seconds=DEAD_AFTER_S + 1)

    def wait(self, holds: Callable[[], Any], *, within_s: float = 300, every_s: float = 0.002) -> None:
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, self.log()
            time.sleep(every_s)

    def until_over(self, run_id: str, *, within_s: float = 600) -> Run:
        self.wait(lambda: self.run(run_id).state.is_over, within_s=within_s, every_s=0.2)
        return self.run(run_id)


def kill_with_all(process: ForkedProcess) -> None:
    """SIGKILL to a process alone; all that it started has to end by itself within seconds."""
    below = descendants(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 5
    while left := alive(below):
        if time.monotonic() > deadline:
            names = [psutil.Process(pid).cmdline() for pid in left]
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"orphans: {names}")
        time.sleep(0.05)


@contextmanager
def opened_loop(
    server: LabelStudioServer, home: Home, redis_url: str, directory: Path, **variables: str
) -> Iterator[Loop]:
    """
    Args:
        variables: settings beside those that name the services.
    """
    known = {
        "CAPTIONLOOP_HOME": str(home.root),
        "CAPTIONLOOP_GATE": "always",
        "LABEL_STUDIO_API_KEY": server.token,
        "LABEL_STUDIO_URL": server.url,
        "REDIS_URL": redis_url,
        **variables,
    }
    with ExitStack() as stack:
        context = stack.enter_context(closing(Context.open(Settings.read(known))))
        context.database.migrate()
        number = int(context.label_studio.create_project("To be broken", SAMPLE_LABEL_CONFIG)["id"])
        with context.database.session() as session:
            project = Project(
                server=context.settings.server_name, label_studio_id=number, webhook_secret="x", is_connected=True
            )
            session.add(project)
        context.versions.ensure_champion(project.id, context.base)
        yield Loop(context, project, known, directory)


def is_running(run: Run) -> bool:
    return run.state is RunState.RUNNING


def _scene(place: int) -> tuple[Scene, int]:
    return example("a loop to be broken", place)


def picture_of(place: int) -> str:
    """A small drawn scene as a `data:` address."""
    scene, seed = _scene(place)
    return picture_of_scene(scene, seed=seed)
