"""MLflow and Weights & Biases hear of a run where they are set up, and never stop one. Both are real, and offline."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import MLflowTracker
from tests.model.training.test_log import STEPS, validation
from tests.model.training.test_loop import checkpoint, examples, pictures
from tests.support.studio import wait_for

from captionloop.errors import RunCancelled
from captionloop.model.training.log import TrainingLog
from captionloop.model.training.loop import finetune
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.training.trackers import Trackers

# MLflow's own tables, through SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


@pytest.fixture(autouse=True)
def no_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB__SERVICE_WAIT", "300")  # seconds; its own 30 are few on a busy machine


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What a person sets for MLflow; it reads it itself."""
    import mlflow as package

    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    monkeypatch.setenv(*next(iter(environment.items())))
    yield environment
    package.end_run()  # else it does so when Python ends, and makes a database in the current directory for it


def run(directory: Path, environment: dict[str, str], *, stop_after: int | None = None) -> None:
    trackers = Trackers("abc123", environment=environment, directory=directory / "trackers")
    asked = iter(range(STEPS + 1))
    with TrainingLog(directory, trackers=trackers) as log:
        finetune(
            checkpoint(),
            examples(["a red car", "a cat"]),
            settings=FinetuneSettings(steps=STEPS, learning_rate=1e-3, batch_size=2, patience=STEPS),
            features=pictures(2),
            validate=lambda model: validation(),
            log=log,
            should_stop=lambda: next(asked) == stop_after,
        )


def rows(directory: Path) -> int:
    return len((directory / "training_log.csv").read_text().splitlines()) - 1


def mlflow_runs() -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient()
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


def test_mlflow_hears_settings_steps_and_evaluations(tmp_path: Path, mlflow: dict[str, str]) -> None:
    from mlflow import MlflowClient

    run(tmp_path, mlflow)
    (found,) = mlflow_runs()
    assert (found.info.run_name, found.info.status) == ("abc123", "FINISHED")
    assert (found.data.params["way"], found.data.params["steps"]) == ("decoder", str(STEPS))
    history = MlflowClient().get_metric_history(found.info.run_id, "train/loss")
    assert [point.step for point in history] == list(range(1, STEPS + 1))
    assert found.data.metrics["validation/score_low"] == validation().metrics["score_low"]


def test_a_run_that_goes_on_goes_on_in_the_same_record(tmp_path: Path, mlflow: dict[str, str]) -> None:
    with pytest.raises(RunCancelled):
        run(tmp_path, mlflow, stop_after=3)
    run(tmp_path, mlflow)
    assert len(mlflow_runs()) == 1


def test_weights_and_biases_keeps_the_run_for_a_later_sync(tmp_path: Path) -> None:
    run(tmp_path, {"WANDB_PROJECT": "captions"})
    (kept,) = (tmp_path / "trackers" / "wandb").glob("offline-run-*/run-abc123.wandb")

    def is_whole() -> bool:
        content = kept.read_bytes()  # its format is W&B's own affair; names and values are plain in it
        return (
            b"weight_decay" in content
            and content.count(b"train/loss") >= STEPS
            and str(validation().metrics["score_low"])[:10].encode() in content
        )

    wait_for(is_whole, within_s=60)  # a process of its own writes it, which may be behind


def test_a_tracker_that_nobody_set_up_is_not_started(tmp_path: Path) -> None:
    run(tmp_path, {})
    assert not (tmp_path / "trackers").exists()


@pytest.mark.parametrize(
    ("module", "environment", "command"),
    [
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://localhost:1"}, "pip install 'captionloop[mlflow]'"),
        ("wandb", {"WANDB_PROJECT": "captions"}, "pip install 'captionloop[wandb]'"),
    ],
)
def test_a_tracker_that_is_not_installed_is_reported_with_the_command_that_installs_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    module: str,
    environment: dict[str, str],
    command: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with caplog.at_level(logging.WARNING):
        run(tmp_path, environment)
    assert f"{next(iter(environment))} is set, but" in caplog.text
    assert command in caplog.text
    assert rows(tmp_path) == STEPS


def test_a_tracker_that_does_not_start_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no-such-store://here")
    with caplog.at_level(logging.WARNING):
        run(tmp_path, {"MLFLOW_TRACKING_URI": "no-such-store://here"})
    assert "MLflow failed, and hears no more of run abc123" in caplog.text
    assert rows(tmp_path) == STEPS


def test_a_tracker_that_fails_on_the_way_is_reported_once_and_left_out(
    tmp_path: Path, mlflow: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(MLflowTracker, "log", fails)
    with caplog.at_level(logging.WARNING):
        run(tmp_path, mlflow)
    assert caplog.text.count("hears no more of run abc123: the server is gone") == 1
    assert rows(tmp_path) == STEPS
