"""A project in a real Label Studio with suggestions, behind the caption screen, and somebody in front of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from captionloop.backend.label_studio.annotations import caption_item, to_prediction
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.batches import batches
from captionloop.model.starter.pool import example
from tests.support.annotator import TARGET
from tests.support.pictures import picture_of_scene

VERSION = "imported captions"
POOL = "the caption screen"
_PER_IMPORT = 250


@dataclass(frozen=True)
class CaptionProject:
    """The project, its tasks in order, and the id of each one's suggestion."""

    number: int
    tasks: Sequence[int]
    suggestions: dict[int, int]

    def suggestion(self, task: int) -> str:
        return suggested(self.tasks.index(task))


def suggested(place: int) -> str:
    return f"a suggestion for picture {place + 1}"


def make_project(
    studio: LabelStudio,
    count: int,
    *,
    captioned: int = 0,
    caption: Callable[[int], str] = suggested,
    size: tuple[int, int] = (120, 90),
) -> CaptionProject:
    """A project of drawn scenes, each with a suggestion, that Label Studio serves one after the other.

    Args:
        count: of tasks that nobody has captioned.
        captioned: of further ones that the owner of Label Studio has.
        caption: the suggestion for a picture, by its place.
        size: of the pictures, in pixels.
    """
    number = int(studio.create_project("Captions", SAMPLE_LABEL_CONFIG)["id"])
    written = {"annotations": [{"result": [caption_item(TARGET, "by the owner")]}]}
    for batch in batches(range(captioned), _PER_IMPORT):
        studio.import_tasks(number, [{"data": {"image": scene_picture(place, size)}, **written} for place in batch])
    tasks = studio.import_tasks(number, [{"data": {"image": scene_picture(place, size)}} for place in range(count)])
    predictions = [
        {"task": task, **to_prediction(TARGET, caption(place), 0.5, VERSION)} for place, task in enumerate(tasks)
    ]
    studio.import_predictions(number, predictions)
    studio.update_project(number, model_version=VERSION, show_collab_predictions=True)
    found = {task["id"]: task["predictions"][-1]["id"] for task in studio.tasks(number, tasks)}
    return CaptionProject(number, tasks, found)


def scene_picture(place: int, size: tuple[int, int]) -> str:
    scene, seed = example(POOL, place)
    return picture_of_scene(scene, seed=seed, size=size)


def annotations_of(api: httpx.Client, project: CaptionProject) -> dict[int, list[dict[str, Any]]]:
    """All annotations by task, the skipped included."""
    params: dict[str, str | int] = {"project": project.number, "page_size": 2000, "fields": "all"}
    tasks = api.get("/api/tasks/", params=params).raise_for_status().json()["tasks"]
    return {task["id"]: task["annotations"] for task in tasks}


def text_of(annotation: dict[str, Any]) -> str:
    (item,) = annotation["result"]
    (text,) = item["value"]["text"]
    return str(text)
