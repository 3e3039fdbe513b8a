"""What reading a task's annotations costs."""

import time
from typing import Any

from captionloop.backend.label_studio.annotations import to_prediction
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.jobs.project.annotation_reading import AnnotationReader
from captionloop.model.database import Project

FEW, MANY = 50, 800


def reader() -> AnnotationReader:
    return AnnotationReader(
        Project(label_config=SAMPLE_LABEL_CONFIG, synced_by={}, control_history={}), reads_all=False
    )


def task(reader: AnnotationReader, count: int) -> Json:
    """So many annotations, none of which names a prediction, and as many predictions."""

    def texts(number: int, caption: str) -> dict[str, Any]:
        return {"id": number} | to_prediction(reader.target, caption, 0.5, "v1") | {"cluster": None}

    written = {"created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z", "parent_prediction": None}
    return {
        "id": 1,
        "predictions": [texts(number, f"suggestion {number}") for number in range(count)],
        "annotations": [texts(number, f"caption {number}") | written for number in range(count)],
    }


def seconds(reader: AnnotationReader, task: Json) -> float:
    begun = time.thread_time()
    suggested = [f"shown {number}" for number in range(len(task["predictions"]))]
    found = reader.read_task(task, {}, suggested=suggested, scores={}, email_of=lambda annotation: None)
    assert [one.record.captions for one in found[:2]] == [["caption 0"], ["caption 1"]]
    return time.thread_time() - begun


def test_it_grows_with_annotations_and_suggestions_and_not_with_their_product() -> None:
    reading = reader()
    few, many = task(reading, FEW), task(reading, MANY)

    growth = min(seconds(reading, many) for _ in range(3)) / min(seconds(reading, few) for _ in range(3))

    assert growth < 3 * MANY / FEW  # a product would give their square
