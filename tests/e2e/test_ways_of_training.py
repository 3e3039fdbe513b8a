"""Runs of the other ways, asked for as a person asks, in the sample project with what has been corrected so far."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.backend import Backend
from tests.support.person import Person
from tests.support.studio import annotate, newest, tasks_of

pytestmark = pytest.mark.slow

_FILES = {"README.md", "comparison.json", "config.json", "evaluations.jsonl", "model.safetensors", "training_log.csv"}
_STEPS = 12


@pytest.mark.parametrize("way", ["lora", "full"])
def test_a_run_of_another_way_leaves_a_version_with_its_log_and_report(
    person: Person, studio: dict[str, Any], api: httpx.Client, way: str
) -> None:
    project = studio["project_id"]
    unlabelled = (task for task in tasks_of(api, project) if not task["annotations"])
    for task in islice(unlabelled, 6):
        annotate(api, project, task, newest(task)["result"][0]["value"]["text"][0] + " today")
    chosen = [
        "--set",
        f"way={way}",
        "--set",
        f"steps={_STEPS}",
        "--set",
        "validation_share=0.2",
        "--set",
        "patience=99",
    ]
    run = person.asks("finetune", "--wait", "--project", str(project), *chosen)
    assert run["state"] == "finished", run

    made = person.asks("versions", "--project", str(project))[-1]
    path = Path(made["path"])
    assert {file.name for file in path.iterdir()} > _FILES
    assert (path / "adapter" / "adapter_model.safetensors").exists() == (way == "lora")
    assert len((path / "training_log.csv").read_text().splitlines()) == 1 + _STEPS
    evaluation = json.loads((path / "evaluations.jsonl").read_text().splitlines()[-1])
    assert evaluation["metrics"]["exact_match"] == made["metrics"]["exact_match"]
    assert "<svg" in person.does("report", made["version"], "--html", "--project", str(project))


def test_a_wrong_setting_is_refused_before_anything_runs(person: Person, studio: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="way is 'sideways'; expected one of decoder, lora, full"):
        person.does("finetune", "--set", "way=sideways")
    assert (person.asks("status")["job"] or {"kind": "annotate"})["kind"] == "annotate"  # of an earlier promotion


def test_the_corrections_can_be_taken_elsewhere(person: Person, studio: dict[str, Any], backend: Backend) -> None:
    chosen = ["--project", str(studio["project_id"])]
    out = person.directory / "exported"
    exported = person.asks("dataset", "export", "--format", "coco", "--out", str(out), *chosen)
    content = json.loads((out / "captions.json").read_text())
    assert len(content["annotations"]) == backend.corrections() > 0
    assert exported["snapshot"] in [row["snapshot"] for row in person.asks("dataset", "list")]


def test_the_dataset_is_described_in_figures(person: Person, studio: dict[str, Any], backend: Backend) -> None:
    chosen = ["--project", str(studio["project_id"])]
    stats = person.asks("dataset", "stats", *chosen)
    assert stats["by_state"]["active"] - stats["left_out"] == backend.corrections()
    assert stats["cannot_be_written"] == []
    assert len(person.asks("dataset", "show", "--limit", "3", *chosen)) == 3
