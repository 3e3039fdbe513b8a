"""The training log: flat files for the version's directory, TensorBoard event files, trackers.

`training_log.csv` has a row for each step, `evaluations.jsonl` a line for each evaluation on images not trained on.
A resumed run appends to the same files, after removing what was written past its last saved step.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL.Image import Image

from captionloop.errors import CheckpointError
from captionloop.model.training.trackers import Trackers
from captionloop.model.training.validation import SampleCaption, ValidationResult

if TYPE_CHECKING:
    import torch  # the pages read these logs, and start a second faster without it

_log = logging.getLogger(__name__)

STEPS_FILE, EVALUATIONS_FILE = "training_log.csv", "evaluations.jsonl"

EvaluatedOn = Literal["validation", "held-out"]
"""The validation images, which select the weights, or the held-out images of the gate."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Figures of one step. The loss includes label smoothing; memory is the peak so far."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    memory_mib: float


@dataclass(frozen=True)
class LoggedEvaluation:
    """One evaluation: during training on validation images, or at the end on the gate's."""

    step: int
    images: EvaluatedOn
    metrics: Mapping[str, float]
    samples: tuple[SampleCaption, ...]


class TrainingLog:
    """Use it as a context manager.

    Args:
        directory: of the flat files.
        tensorboard: directory of the event files; none are written with None, or without TensorBoard.
        pictures: image hash → the picture, RGB, to show beside its caption; None shows none.
        trackers: further receivers of the figures.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tensorboard: Path | None = None,
        pictures: Callable[[str], Image] | None = None,
        trackers: Trackers | None = None,
    ) -> None:
        self._steps = directory / STEPS_FILE
        self._evaluations = directory / EVALUATIONS_FILE
        self._tensorboard, self._pictures, self._trackers = tensorboard, pictures, trackers
        self._writer: Any = None

    def begin(self, steps_done: int, settings: Mapping[str, Any]) -> None:
        """Open the log; `steps_done` is 0 unless the run is resumed."""
        self._steps.parent.mkdir(parents=True, exist_ok=True)
        self._cut(steps_done)
        if self._tensorboard:
            self._writer = _event_writer(self._tensorboard, purge_step=steps_done + 1)
        if self._trackers:
            self._trackers.begin(settings)

    def step(self, figures: StepFigures) -> None:
        """Add a step."""
        with self._steps.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(asdict(figures).values())
        measured = {name: value for name, value in asdict(figures).items() if name != "step"}
        self._tell({f"train/{name}": value for name, value in measured.items()}, figures.step)

    def evaluation(self, step: int, found: ValidationResult, *, images: EvaluatedOn) -> None:
        """Add the evaluation of the weights after a step."""
        samples = [asdict(sample) for sample in found.samples]
        line = {"step": step, "images": images, "metrics": dict(found.metrics), "samples": samples}
        with self._evaluations.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._tell({f"{images}/{name}": value for name, value in found.metrics.items()}, step)
        if self._writer:
            for sample in found.samples:
                tag = f"{images}/{sample.image[:8]}"
                self._writer.add_text(tag, f"{sample.caption}  \n*{' / '.join(sample.references)}*", step)
                if self._pictures:
                    pixels = np.asarray(self._pictures(sample.image))  # uint8 (height, width, 3)
                    self._writer.add_image(tag, pixels, step, dataformats="HWC")

    def _tell(self, figures: Mapping[str, float], step: int) -> None:
        if self._writer:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, step)
        if self._trackers:
            self._trackers.log(figures, step)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()
        if self._trackers:
            self._trackers.finish()

    def _cut(self, step: int) -> None:
        names = list(StepFigures.__dataclass_fields__)
        kept = [row for row in _rows(self._steps)[1:] if len(row) == len(names) and int(row[0]) <= step]
        with self._steps.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([names, *kept])
        lines = [line for line in _whole_lines(self._evaluations) if json.loads(line)["step"] <= step]
        if self._evaluations.exists():
            self._evaluations.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_steps(directory: Path) -> dict[str, list[float]]:
    """The columns of the steps' log, by name; NaN where a figure was not measured; empty without a log.

    Raises:
        CheckpointError: it is damaged.
    """
    path = directory / STEPS_FILE
    try:
        names, *rows = _rows(path) or [[]]
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        return {name: list(map(_figure, column)) for name, column in zip(names, columns, strict=True)}
    except (OSError, ValueError, csv.Error) as error:
        raise CheckpointError(f"{path} is damaged ({error}); it is needed as the run wrote it.") from error


def read_evaluations(directory: Path) -> list[LoggedEvaluation]:
    """The evaluations in their order; none without a log.

    Raises:
        CheckpointError: the log is damaged.
    """
    path = directory / EVALUATIONS_FILE
    try:
        return [_evaluation(json.loads(line)) for line in _whole_lines(path)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); it is needed as the run wrote it.") from error


def _figure(cell: str) -> float:
    return math.nan if cell == "" else float(cell)


def _evaluation(values: Mapping[str, Any]) -> LoggedEvaluation:
    return LoggedEvaluation(
        step=int(values["step"]),
        images=values.get("images", "held-out"),
        metrics={name: float(value) for name, value in values["metrics"].items() if isinstance(value, int | float)},
        samples=tuple(
            SampleCaption(sample["image"], sample["caption"], tuple(sample["references"]))
            for sample in values.get("samples", ())
        ),
    )


def _rows(path: Path) -> list[list[str]]:
    return list(csv.reader(_whole_lines(path)))


def _whole_lines(path: Path) -> list[str]:
    """Without a last one that a run is writing, or that a kill cut off."""
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []


def memory_mib(device: torch.device) -> float:
    """Peak memory so far, in MiB: of the GPU on a GPU, else of this process."""
    from captionloop.device import peak_memory

    of_gpu = peak_memory(device)
    if of_gpu is not None:
        return of_gpu / 2**20
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return taken / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB on Linux


def _event_writer(directory: Path, *, purge_step: int) -> Any:
    if find_spec("tensorboard") is None:
        _log.info(
            "TensorBoard is not installed, so it will not show this run; the same figures are kept with the version. "
            "For the next one: pip install 'captionloop[tensorboard]'"
        )
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(directory), purge_step=purge_step)
