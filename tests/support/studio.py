"""An annotator's actions, through Label Studio's API."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from captionloop.backend.label_studio.api_calls import Json


def tasks_of(api: httpx.Client, project_id: int) -> list[Json]:
    """All tasks with their predictions, oldest first."""
    answer = api.get("/api/tasks/", params={"project": project_id, "page_size": 200, "fields": "all"})
    found: list[Json] = answer.raise_for_status().json()["tasks"]
    return sorted(found, key=lambda task: int(task["id"]))


def newest(task: Json) -> Json:
    """The prediction that Label Studio shows."""
    found: Json = max(task["predictions"], key=lambda prediction: int(prediction["id"]))
    return found


def annotate(api: httpx.Client, project_id: int, task: Json, caption: str) -> None:
    """What the editor sends when somebody changes the suggestion and submits."""
    (suggested,) = newest(task)["result"]
    changed = suggested | {"origin": "prediction-changed", "value": {"text": [caption]}}
    body = {"result": [changed], "lead_time": 4.2, "parent_prediction": newest(task)["id"]}
    url = f"/api/tasks/{task['id']}/annotations/"
    api.post(url, params={"project": project_id}, json=body).raise_for_status()


def wait_for(look: Callable[[], Any], *, within_s: float) -> Any:
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found
