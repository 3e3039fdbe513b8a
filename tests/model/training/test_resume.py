"""A run that is killed and resumed ends with the very weights of one that was not."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.training.test_loop import checkpoint, examples, pictures
from tests.support.forked import ForkedProcess

from captionloop.errors import RunCancelled, RunError
from captionloop.model.metrics import Score
from captionloop.model.training import loop
from captionloop.model.training.log import TrainingLog
from captionloop.model.training.loop import FinetuneResult, TrainingProgress, finetune
from captionloop.model.training.resume_state import TrainingState
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.training.validation import ValidationResult
from captionloop.model.vocabulary.extension import Telling

CAPTIONS = ["a red car", "two blue fish", "the sun", "a small house"]
STEPS, STOPPED_AFTER = 12, 5
WAYS = [{}, {"ema": 0.9}, {"way": "lora", "lora_parts": "decoder"}]


def validation(score: float) -> ValidationResult:
    return ValidationResult(score=Score(score, 0.0, (score, score)), metrics={"images": 2}, samples=())


def trained(
    directory: Path,
    *,
    stop_after: int | None = None,
    kill: bool = False,
    captions: Sequence[str] = CAPTIONS,
    tell: Telling | None = None,
    **settings: Any,
) -> FinetuneResult:
    """A run that keeps its state after each step, and is stopped, or killed, after some of them."""
    done = 0

    def seen(progress: TrainingProgress) -> None:
        nonlocal done
        done = progress.step
        if kill and done == stop_after:
            os.kill(os.getpid(), signal.SIGKILL)

    chosen = FinetuneSettings(**{"steps": STEPS, "batch_size": 3, "learning_rate": 3e-3, "patience": STEPS, **settings})
    with TrainingLog(directory) as log:
        return finetune(
            checkpoint(),
            examples(captions),
            settings=chosen,
            features=pictures(len(captions)),
            tell=tell,
            validate=lambda model: validation(float(model.model.text_decoder.cls.predictions.bias.sum())),
            log=log,
            state=TrainingState(directory / "state.safetensors", chosen.to_dict()),
            on_progress=seen,
            should_stop=lambda: not kill and done == stop_after,
        )


@pytest.fixture(autouse=True)
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the state and report after each step."""
    every_step(monkeypatch.setattr)


def every_step(setattr_: Callable[[object, str, object], None]) -> None:
    setattr_(loop, "_STATE_EVERY_S", -1.0)
    setattr_(loop, "_REPORT_EVERY_S", -1.0)


def same_weights(one: FinetuneResult, other: FinetuneResult) -> bool:
    pairs = zip(one.checkpoint.model.parameters(), other.checkpoint.model.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("settings", WAYS)
def test_a_resumed_run_ends_with_the_same_weights_bit_for_bit(tmp_path: Path, settings: dict[str, Any]) -> None:
    whole = trained(tmp_path / "whole", **settings)
    with pytest.raises(RunCancelled):
        trained(tmp_path / "parts", stop_after=STOPPED_AFTER, **settings)
    resumed = trained(tmp_path / "parts", **settings)
    assert same_weights(whole, resumed)
    assert (resumed.losses, resumed.best_step) == (whole.losses, whole.best_step)


def train_until_killed(directory: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    every_step(setattr)
    trained(directory, stop_after=STOPPED_AFTER, kill=True)


@pytest.mark.slow
@pytest.mark.faults
def test_a_run_whose_process_was_killed_ends_with_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    arguments = (tmp_path / "parts", torch.get_num_threads())
    with ForkedProcess(train_until_killed, *arguments, log=tmp_path / "log.txt", environment=os.environ) as killed:
        killed.wait()
    assert killed.returncode == -signal.SIGKILL, (tmp_path / "log.txt").read_text()
    assert same_weights(trained(tmp_path / "whole"), trained(tmp_path / "parts"))


@pytest.mark.faults
def test_the_log_has_each_step_once_although_some_were_done_twice(tmp_path: Path) -> None:
    with pytest.raises(RunCancelled):
        trained(tmp_path, stop_after=STOPPED_AFTER)
    with (tmp_path / "training_log.csv").open("a") as file:
        file.write("7,1.0,0.1,1.0,5.0,100.0\n8,half a li")
    trained(tmp_path)
    steps = [line.split(",")[0] for line in (tmp_path / "training_log.csv").read_text().splitlines()]
    assert steps == ["step", *map(str, range(1, STEPS + 1))]


def test_the_state_of_another_run_is_not_gone_on_from(tmp_path: Path) -> None:
    trained(tmp_path, seed=1)
    assert same_weights(trained(tmp_path, seed=2), trained(tmp_path / "fresh", seed=2))


@pytest.mark.faults
def test_a_damaged_state_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"no tensors")
    with pytest.raises(RunError, match=r"state\.safetensors is damaged .* delete it"):
        trained(tmp_path)
