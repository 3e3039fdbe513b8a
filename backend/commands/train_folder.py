"""`captionloop train`: its progress, Ctrl-C, and its result."""

import shlex
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from captionloop.backend.commands.evaluation_text import figures_text
from captionloop.backend.commands.shared import print_bad_row
from captionloop.backend.python.stopping import ctrl_c_asks
from captionloop.backend.python.training import TrainedModel, TrainingRequest, refuse_within, train_into_directory
from captionloop.backend.terminal.output import print_line, print_text
from captionloop.backend.terminal.progress import Progress
from captionloop.errors import RunCancelled
from captionloop.model.exchange.reading import BadRow, Source
from captionloop.model.finetuning.folder_dataset import read_folder
from captionloop.model.finetuning.training_directory import REPORT
from captionloop.settings import Settings

if TYPE_CHECKING:
    from captionloop.model.training.loop import TrainingProgress

# How the stages share the bar, 0 to 1: about what each takes with some hundred pictures on a CPU.
_STAGES = {"reading images": 0.0, "training": 0.2, "comparing": 0.9}


@dataclass(frozen=True)
class Asked:
    """The arguments of the command.

    Args:
        data: the dataset, as it was named; `source` is what it was recognised as.
        out: the directory to make.
        model: the one to start from; None: that of the training to resume, else CAPTIONLOOP_MODEL.
        settings: fine-tuning settings other than their defaults.
        resume: whether to resume a training there.
        limit: how many rows to look at; None: all.
    """

    data: Path
    source: Source
    out: Path
    model: str | None
    settings: Mapping[str, Any]
    resume: bool
    limit: int | None


def default_out(data: Path) -> Path:
    """`photos-blip` for `photos/` and for `photos.csv`."""
    resolved = data.resolve()
    return Path(f"{resolved.name if resolved.is_dir() else resolved.stem}-blip")


def train_folder(asked: Asked, settings: Settings) -> tuple[TrainedModel, int]:
    """Train, or resume, until the model is in its directory.

    Returns:
        the model, and how many rows of the dataset could not be used.

    Raises:
        click.Abort: somebody pressed Ctrl-C.
        CaptionloopError: the training cannot begin, or failed.
    """
    refuse_within(asked.out, asked.data)
    request = TrainingRequest(asked.out, asked.model, asked.settings, resume=asked.resume)
    bad: list[BadRow] = []

    def note(row: BadRow) -> None:
        print_bad_row(row)
        bad.append(row)

    with ctrl_c_asks(_say_that_it_stops) as stop, Progress("Training") as progress:
        report = _Report(progress, stop)
        read = partial(
            read_folder,
            asked.source,
            limits=settings.image_limits,
            limit=asked.limit,
            on_bad=note,
            on_progress=report.reading,
        )
        try:
            return train_into_directory(request, read, settings, report), len(bad)
        except RunCancelled as error:
            print_line(f"Stopped. The same command with --resume goes on in {asked.out}.", err=True)
            raise click.Abort from error


def _say_that_it_stops() -> None:
    print_text("\nStopping, and keeping where it is … (Ctrl-C again: at once)", err=True)


class _Report:
    """Moves the progress bar; raises RunCancelled after Ctrl-C."""

    def __init__(self, progress: Progress, stop: threading.Event) -> None:
        self._progress, self._stop = progress, stop

    def reading(self, share: float) -> None:
        self._check()
        self._progress.update(share, note="reading the dataset")

    def __call__(self, stage: str, share: float = 0.0) -> None:
        self._check()
        self._show(stage, share, stage)

    def training(self, progress: "TrainingProgress") -> None:
        note = (
            f"step {progress.step} of {progress.steps}, loss {progress.loss:.3f}, {_time(progress.seconds_left)} left"
        )
        self._show("training", progress.step / progress.steps, note)

    def is_cancelled(self) -> bool:
        return self._stop.is_set()

    def _show(self, stage: str, share: float, note: str) -> None:
        begin = _STAGES[stage]
        end = min((later for later in _STAGES.values() if later > begin), default=1.0)
        self._progress.update(begin + share * (end - begin), note=note)

    def _check(self) -> None:
        if self._stop.is_set():
            raise RunCancelled("Stopped.")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


# The result ---------------------------------------------------------------------------------------------------


def result_data(result: TrainedModel, *, bad: int) -> dict[str, Any]:
    """The result, as JSON has it."""
    return {
        "out": str(result.out),
        "model": result.name,
        "base": result.base,
        "finding": result.finding,
        "images": len(result.comparison.images),
        "figures": {name: figure.to_dict() for name, figure in result.comparison.figures.items()},
        "bad_rows": bad,
    }


def result_lines(result: TrainedModel, asked: Asked) -> list[str]:
    """The figures of both models, and what to do next."""
    source = asked.source
    compared, out = result.comparison, shlex.quote(str(result.out))
    dataset = shlex.quote(str(asked.data))
    if source.images:
        dataset += f" --images {shlex.quote(str(source.images))}"
    if source.by_line:
        dataset += " --lines"
    pictures = shlex.quote(str(source.images or source.directory))
    both = f"{shlex.quote(result.source)} {out}"
    figures = figures_text(compared.figures, first=result.base, second=result.name, images=len(compared.images))
    return [
        *figures.split("\n"),
        "",
        result.finding,
        "",
        f"The model is in {result.out}, and {result.out / REPORT} shows what it writes. What you can do with it:",
        f"  captionloop caption {pictures} --model {out} --out captions.jsonl     caption pictures",
        f"  captionloop compare {both} --dataset {dataset} --html comparison.html     on the held-out pictures",
        f"  captionloop up --model {out}     serve it, and let people correct it in Label Studio",
    ]
