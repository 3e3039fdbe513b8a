"""A project to be captioned in a real Label Studio, and our side of it, with a small real model."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from captionloop.backend.label_studio.annotations import to_prediction
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG, CaptionTarget
from captionloop.home import Home
from captionloop.jobs.captioning import annotate_run as annotating
from captionloop.jobs.captioning.annotate_run import run_annotate
from captionloop.jobs.context import Context
from captionloop.jobs.queue.attempt import Attempt
from captionloop.model.active_learning.project_settings import ProjectSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.database import Database, Project, RunKind, RunState
from captionloop.settings import Settings
from tests.support.pictures import picture
from tests.support.runs import begun
from tests.support.servers import LabelStudioServer
from tests.support.studio import annotate
from tests.support.versions import FinishedRun

TARGET = CaptionTarget("caption", "image", "image", max_submissions=1)


def take_four_tasks_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In captioning runs of this process."""
    monkeypatch.setattr(annotating, "_BATCH", 4)
    monkeypatch.setattr(annotating, "_BATCHES", 2)
    monkeypatch.setattr(Captioner, "batch_size", 2)


@dataclass
class Studio:
    """A project in Label Studio, and our side of it."""

    context: Context
    server: LabelStudioServer
    finished: FinishedRun
    number: int
    api: httpx.Client

    @property
    def project(self) -> Project:
        return self.context.project(self.finished.project.id)

    @property
    def champion(self) -> str:
        return self.context.versions.champion(self.project.id).version

    def add_tasks(self, count: int) -> list[int]:
        """Each a picture of another colour."""
        data = [{"data": {"image": picture(f"#{place * 7919 % 0xFFFFFF:06x}")}} for place in range(count)]
        return self.context.label_studio.import_tasks(self.number, data)

    def suggest(self, task_id: int, version: str, score: float = 0.5) -> int:
        prediction = {"task": task_id, **to_prediction(TARGET, f"said by {version}", score, version)}
        self.context.label_studio.import_predictions(self.number, [prediction])
        return int(self.predictions(task_id)[-1]["id"])

    def label(self, task_id: int, caption: str = "by a person") -> None:
        annotate(self.api, self.number, self.task(task_id), caption)

    def task(self, task_id: int) -> Json:
        return self.context.label_studio.task(self.number, task_id)

    def predictions(self, task_id: int) -> list[Json]:
        """Oldest first."""
        return sorted(self.task(task_id)["predictions"], key=lambda prediction: int(prediction["id"]))

    def versions(self, task_id: int) -> list[str]:
        return [prediction["model_version"] for prediction in self.predictions(task_id)]

    def found(self) -> Json:
        return self.context.label_studio.project(self.number)

    def begin(self, **settings: Any) -> Attempt:
        return begun(self.context.queue.runs, self.project.id, RunKind.ANNOTATE, settings=settings)

    def carry_out(self, attempt: Attempt) -> str:
        said = run_annotate(self.context, attempt)
        attempt.finish(RunState.FINISHED, message=said)
        return said

    def annotate(self, **settings: Any) -> str:
        return self.carry_out(self.begin(**settings))

    def set(self, **settings: Any) -> None:
        with self.context.database.session() as session:
            session.get_one(Project, self.project.id).settings = ProjectSettings(**settings).to_dict()


@contextmanager
def opening_studio(
    server: LabelStudioServer, finished: FinishedRun, database: Database, home: Home, redis_url: str
) -> Iterator[Callable[[str], Studio]]:
    """Opens it by an address, so that something can stand between it and us."""
    with ExitStack() as stack:
        headers = {"Authorization": f"Token {server.token}"}
        api = stack.enter_context(httpx.Client(base_url=server.url, headers=headers, timeout=60))
        made = api.post("/api/projects/", json={"title": "Captioning", "label_config": SAMPLE_LABEL_CONFIG})
        number = int(made.raise_for_status().json()["id"])
        with database.session() as session:
            session.get_one(Project, finished.project.id).label_studio_id = number

        def open_at(url: str) -> Studio:
            settings = {
                "CAPTIONLOOP_HOME": str(home.root),
                "CAPTIONLOOP_MODEL": finished.base.source,
                "LABEL_STUDIO_API_KEY": server.token,
                "LABEL_STUDIO_URL": url,
                "REDIS_URL": redis_url,
            }
            context = stack.enter_context(closing(Context.open(Settings.read(settings))))
            context.versions.ensure_champion(finished.project.id, context.base)
            return Studio(context, server, finished, number, api)

        yield open_at
