"""A sweep as a person asks for one, in the sample project, and a run with the settings that it leaves."""

from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.person import Person
from tests.support.studio import annotate, newest, tasks_of

from captionloop.model.versions.manifest import read_manifest

pytestmark = pytest.mark.slow

_CORRECTED = 24


def test_a_sweep_leaves_settings_that_a_run_takes_by_their_name(
    person: Person, studio: dict[str, Any], api: httpx.Client
) -> None:
    project = ["--project", str(studio["project_id"])]
    unlabelled = (task for task in tasks_of(api, studio["project_id"]) if not task["annotations"])
    for task in islice(unlabelled, _CORRECTED):
        annotate(api, studio["project_id"], task, newest(task)["result"][0]["value"]["text"][0] + " today")
    picture = person.directory / "sweep.svg"

    chosen = ["--trials", "2", "--ways", "decoder", "--set", "steps=8", "--name", "careful"]
    swept = person.asks("sweep", *project, *chosen, "--wait", "--plot", str(picture))
    assert swept["state"] == "finished", swept
    assert swept["counts"] == {"finished": 2}
    assert "best: trial" in picture.read_text()

    run = person.asks("finetune", *project, "--wait", "--settings", "careful")
    assert run["state"] == "finished", run
    used = read_manifest(Path(person.asks("versions", *project)[-1]["path"]))["settings"]
    best = {name: swept["best"][name] for name in ("way", "schedule", "learning_rate")}
    assert {name: used[name] for name in (*best, "steps")} == {**best, "steps": 8}
