"""A second project, with other names in its label config, beside the sample project on the same backend."""

import base64
from collections.abc import Callable
from itertools import islice
from typing import Any

import httpx
import pytest
from tests.support.backend import Backend
from tests.support.person import Person
from tests.support.studio import annotate, newest, tasks_of

from captionloop.backend.local.sample import pictures

pytestmark = pytest.mark.slow

_LABEL_CONFIG = """
<View>
  <Choices name="quality" toName="photo"><Choice value="sharp"/><Choice value="blurred"/></Choices>
  <Image name="photo" value="$picture"/>
  <TextArea name="alt" toName="photo" maxSubmissions="1" editable="true"/>
</View>
"""
_TASKS, _CORRECTED = 48, 40
_RENEWED_WITHIN_S = 900


def test_two_projects_learn_side_by_side_and_never_mix(
    person: Person,
    studio: dict[str, Any],
    api: httpx.Client,
    backend: Backend,
    backend_of: Callable[[int], Backend],
) -> None:
    sample = studio["project_id"]
    # An earlier story's promotion may still be renewing suggestions.
    backend.waits_until_idle(within_s=_RENEWED_WITHIN_S)
    before = _facts(backend, api, sample)
    scenes = list(islice(pictures(), _TASKS))
    project = api.post("/api/projects/", json={"title": "Alt texts", "label_config": _LABEL_CONFIG})
    second = project.raise_for_status().json()["id"]
    tasks = [{"picture": f"data:image/png;base64,{base64.b64encode(png).decode()}"} for _, _, png in scenes]
    api.post(f"/api/projects/{second}/import", json=tasks).raise_for_status()
    person.does("connect", "--project", str(second))
    base = backend_of(second).champion()

    _retrieve_predictions(api, second)
    for task, (_, caption, _) in list(zip(tasks_of(api, second), scenes, strict=True))[:_CORRECTED]:
        assert newest(task)["result"][0]["from_name"] == "alt"
        annotate(api, second, task, f"Photo: {caption}")
    run = person.asks("finetune", "--project", str(second), "--wait")
    assert run["state"] == "finished", run

    status = person.asks("status", "--project", str(second))
    assert (status["champion"] != base, status["corrections"]) == (True, _CORRECTED)
    _retrieve_predictions(api, second)
    untouched = tasks_of(api, second)[_CORRECTED:]
    assert {newest(task)["model_version"] for task in untouched} == {status["champion"]}
    assert all(newest(task)["result"][0]["value"]["text"][0].startswith("Photo: ") for task in untouched)
    assert _facts(backend, api, sample) == before


def _facts(backend: Backend, api: httpx.Client, project_id: int) -> tuple[Any, ...]:
    """What another project's corrections must not change."""
    suggestions = [newest(task)["result"] for task in tasks_of(api, project_id)]
    return backend.champion(), backend.corrections(), suggestions


def _retrieve_predictions(api: httpx.Client, project_id: int) -> None:
    """ "Batch predictions" in the Data Manager: asks for what has no suggestion of the champion's yet."""
    everything = {"selectedItems": {"all": True, "excluded": []}}
    params: dict[str, str | int] = {"id": "retrieve_tasks_predictions", "project": project_id}
    api.post("/api/dm/actions", params=params, json=everything).raise_for_status()
