"""The backend's service and its app on a small real model, without Label Studio beside it."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.server.app import create_app
from captionloop.backend.serving.caption_service import CaptionService
from captionloop.backend.serving.champions import Champions
from captionloop.errors import ImageError
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.jobs.queue.runs import Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.database import Database
from captionloop.model.dataset.styles import project_styles
from captionloop.model.dataset.suggestion_log import SuggestionLog
from captionloop.model.evaluation.calibration import RecentChances
from captionloop.model.versions.base import Base
from captionloop.model.versions.store import VersionInfo, VersionStore
from captionloop.seal import Seal
from captionloop.settings import Secret
from tests.support.pictures import picture

AUTH = ("label-studio", "right")
CONFIG = '<View><Image name="img" value="$photo"/><TextArea name="words" toName="img"/></View>'


def read_image(value: str, task_id: int) -> bytes:
    """`data:` addresses as they are; the recorded uploads, whose server is gone, as a picture of their own."""
    if value.startswith("data:"):
        return base64.b64decode(value.partition(",")[2])
    if "missing" in value:
        raise ImageError(f"Image {value}: it is not there (404).")
    return base64.b64decode(picture("blue").partition(",")[2])


@contextmanager
def caption_service(database: Database, redis_url: str, directory: Path, base: Base) -> Iterator[CaptionService]:
    def load(version: VersionInfo) -> Captioner:
        return Captioner.load(version.path, version=version.version, generation=version.generation, precision="fp32")

    versions = VersionStore(database, directory / "versions")
    made = CaptionService(
        projects=Projects(database, server="local"),
        versions=versions,
        champions=Champions(versions, base=base, load=load),
        suggestions=SuggestionLog(database),
        chances=RecentChances(database),
        styles=partial(project_styles, database),
        queue=Queue(redis_url, Runs(database), Sweeps(database, directory)),
        read_image=read_image,
        limits=ImageLimits(max_pixels=10_000),
    )
    try:
        yield made
    finally:
        made.close()


def client_of(service: CaptionService, home: Home | None = None) -> FlaskClient:
    """
    Args:
        home: where the key lies that webhooks' secrets are kept with; None where they lie as they are.
    """
    seal = None if home is None else Seal(home)
    return create_app(service, Gatekeeper(AUTH[0], Secret(AUTH[1]), seal=seal)).test_client()


def predict(client: FlaskClient, *photos: str, config: str = CONFIG) -> list[dict[str, Any]]:
    """The entries of tasks with these photographs; their ids count from 100."""
    tasks = [{"id": 100 + number, "data": {"photo": photo}} for number, photo in enumerate(photos)]
    answer = client.post("/predict", json={"tasks": tasks, "project": "7.1", "label_config": config}, auth=AUTH)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return list(answer.get_json()["results"])
