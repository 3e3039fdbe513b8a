"""The training log, read back with the usual tools."""

import csv
import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.model.training.test_loop import checkpoint, examples, pictures

from captionloop.model.training.log import (
    EVALUATIONS_FILE,
    STEPS_FILE,
    StepFigures,
    TrainingLog,
    read_evaluations,
    read_steps,
)
from captionloop.model.training.loop import finetune
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.training.validation import ValidationResult

REFERENCES = {f"{number:08x}": [f"a red car and {number} dogs"] for number in range(3)}
STEPS = 16


def validation(text: str = "a red car") -> ValidationResult:
    return ValidationResult.of(REFERENCES, dict.fromkeys(REFERENCES, text))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return written_by_a_run(tmp_path)


def written_by_a_run(directory: Path) -> Path:
    """A run that validates every two steps, and what it left."""
    with TrainingLog(
        directory, tensorboard=directory / "events", pictures=lambda image: Image.new("RGB", (8, 6), "red")
    ) as log:
        finetune(
            checkpoint(),
            examples(["a red car", "a cat"]),
            settings=FinetuneSettings(steps=STEPS, learning_rate=1e-3, batch_size=2, patience=STEPS),
            features=pictures(2),
            validate=lambda model: validation(),
            log=log,
        )
        log.evaluation(STEPS, validation("a cat"), images="held-out")
    return directory


def test_each_step_has_its_row(run: Path) -> None:
    with (run / "training_log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    assert rows[0].keys() == StepFigures.__dataclass_fields__.keys()
    assert all(float(row["loss"]) > 0 and float(row["memory_mib"]) > 0 for row in rows)


def test_each_evaluation_has_all_figures_and_its_samples(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    assert [(line["step"], line["images"]) for line in lines] == [
        *((step, "validation") for step in range(2, STEPS + 1, 2)),
        (STEPS, "held-out"),
    ]
    assert all(line["metrics"] == dict(validation().metrics) for line in lines[:-1])
    assert lines[-1]["samples"] == [
        {"image": image, "caption": "a cat", "references": references} for image, references in REFERENCES.items()
    ]


def test_tensorboard_shows_steps_and_evaluations_with_captions_and_pictures(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "events"))
    events.Reload()
    tags = events.Tags()
    assert len(events.Scalars("train/loss")) == STEPS
    assert [event.step for event in events.Scalars("validation/cider_d")] == list(range(2, STEPS + 1, 2))
    assert {f"validation/{name}" for name in validation().metrics} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("held-out/exact_match")] == [STEPS]
    assert len(tags["images"]) == 2 * len(REFERENCES)
    assert {event.step for event in events.Images(tags["images"][0])} >= {STEPS}
    assert all(f"{tag}/text_summary" in tags["tensors"] for tag in tags["images"])


def test_without_tensorboard_the_rest_is_written_and_the_log_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    caplog.set_level("INFO")

    run = written_by_a_run(tmp_path)

    assert len((run / "evaluations.jsonl").read_text().splitlines()) == STEPS // 2 + 1
    assert not (run / "events").exists()
    assert "pip install 'captionloop[tensorboard]'" in caplog.text


def test_a_line_that_is_half_written_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / STEPS_FILE).write_text("step,loss,memory_mib\r\n1,2.5,\r\n2,0.")
    (tmp_path / EVALUATIONS_FILE).write_text('{"step": 1, "metrics": {"cider_d": 1}}\n{"step": 2, "met')

    steps = read_steps(tmp_path)

    assert (steps["step"], steps["loss"], str(steps["memory_mib"])) == ([1.0], [2.5], "[nan]")
    assert [point.step for point in read_evaluations(tmp_path)] == [1]
