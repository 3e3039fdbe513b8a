"""A person at work in a project of a real Label Studio, and our side of it."""

import base64
import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image
from sqlalchemy import select

from captionloop.backend.label_studio.annotations import caption_item, to_prediction
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import CaptionTarget
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.project import sync as syncing
from captionloop.jobs.project.sync import SyncResult
from captionloop.model.database import Correction, CorrectionState, Database, Project
from captionloop.model.dataset.corrections import training_examples
from tests.support.contexts import opened_context
from tests.support.servers import LabelStudioServer

TARGET = CaptionTarget("caption", "image", "image", max_submissions=1)


def png(colour: str = "red", *, size: tuple[int, int] = (8, 6)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def inline(colour: str = "red", *, size: tuple[int, int] = (8, 6)) -> str:
    return "data:image/png;base64," + base64.b64encode(png(colour, size=size)).decode()


@dataclass
class Annotator:
    """A person at work in one Label Studio project, and our side of it."""

    label_studio: LabelStudio
    server: LabelStudioServer
    database: Database
    home: Home
    project: Project

    @classmethod
    def in_new_project(
        cls,
        label_studio: LabelStudio,
        server: LabelStudioServer,
        database: Database,
        home: Home,
        *,
        label_config: str,
        **fields: Any,
    ) -> "Annotator":
        """
        Args:
            fields: of our project's row.
        """
        found = label_studio.create_project("Annotated", label_config)
        with database.session() as session:
            row = Project(server=server.url, label_studio_id=found["id"], webhook_secret="x", **fields)
            session.add(row)
        return cls(label_studio, server, database, home, row)

    @property
    def project_id(self) -> int:
        return self.project.label_studio_id

    def add_task(self, *, image: str | None = None, **more: Any) -> int:
        data = {"image": inline() if image is None else image}
        return self.label_studio.import_tasks(self.project_id, [{"data": data, **more}])[0]

    def suggest(self, task_id: int, caption: str) -> int:
        prediction = {"task": task_id, **to_prediction(TARGET, caption, 0.42, "starter-1")}
        self.label_studio.import_predictions(self.project_id, [prediction])
        return int(self.label_studio.predictions(task_id)[-1]["id"])

    def submit(
        self, task_id: int, *texts: str, target: CaptionTarget = TARGET, origin: str = "manual", **more: Any
    ) -> int:
        item = caption_item(target, "") | {"value": {"text": list(texts)}, "origin": origin}
        body = {"result": [item] if texts else [], "lead_time": 3.5, **more}
        return int(self.call("POST", f"/api/tasks/{task_id}/annotations/", json=body)["id"])

    def change(self, annotation_id: int, *texts: str, target: CaptionTarget = TARGET, **more: Any) -> None:
        item = caption_item(target, "") | {"value": {"text": list(texts)}}
        self.call("PATCH", f"/api/annotations/{annotation_id}/", json={"result": [item] if texts else [], **more})

    def call(self, method: str, path: str, **request: Any) -> Any:
        headers = {"Authorization": f"Token {self.server.token}"}
        answer = httpx.request(method, self.server.url + path, headers=headers, timeout=60, **request)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def save_again(self, annotation_id: int) -> None:
        """Submit an annotation once more as it is."""
        found = self.call("GET", f"/api/annotations/{annotation_id}/")
        self.call("PATCH", f"/api/annotations/{annotation_id}/", json={"result": found["result"]})

    def set_label_config(self, xml: str) -> None:
        self.label_studio.update_project(self.project_id, label_config=xml)

    def context(self, **variables: Any) -> AbstractContextManager[Context]:
        """What jobs work with, by settings of these names in the environment."""
        return opened_context(self.database, self.home, url=self.server.url, token=self.server.token, **variables)

    def sync(
        self, *, reads_all: bool = False, on_progress: syncing.Progress | None = None, **variables: str
    ) -> SyncResult:
        """By settings of these names in the environment."""
        with self.context(**variables) as context:
            return syncing.sync(context, self.project.id, reads_all=reads_all, on_progress=on_progress)

    def corrections(self) -> list[Correction]:
        with self.database.reading() as session:
            rows = session.scalars(
                select(Correction).where(Correction.project_id == self.project.id).order_by(Correction.annotation_id)
            )
            return list(rows)

    def states(self) -> list[CorrectionState]:
        return [correction.state for correction in self.corrections()]

    def learnt(self) -> list[str]:
        with self.database.reading() as session:
            return [example.caption for example in training_examples(session, self.project.id)]
