"""`captionloop train`: what it says while it works, how it is stopped, and what it ends with."""

import shlex
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from captionloop.backend.commands.evaluation_text import figures_text
from captionloop.backend.commands.shared import print_bad_row
from captionloop.backend.report_page import training_html
from captionloop.backend.terminal.output import print_line, print_text
from captionloop.backend.terminal.progress import Progress
from captionloop.errors import CheckpointError, RunCancelled, SettingsError
from captionloop.home import Home, write_atomically
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.evaluation.comparison_file import COMPARISON, StoredComparison, read_comparison
from captionloop.model.exchange.reading import Source
from captionloop.model.finetuning.folder_dataset import FolderDataset, read_folder
from captionloop.model.finetuning.folder_training import SNAPSHOTS, FolderTraining
from captionloop.model.finetuning.training_directory import REPORT, TrainingDirectory
from captionloop.model.versions.base import Base
from captionloop.model.versions.manifest import read_manifest
from captionloop.model.versions.report import gather_report
from captionloop.model.versions.store import VersionInfo
from captionloop.settings import Settings

if TYPE_CHECKING:
    from captionloop.model.training.loop import TrainingProgress

# How the stages share the bar, 0 to 1: about what each takes with some hundred pictures on a CPU.
_STAGES = {"reading images": 0.0, "training": 0.2, "comparing": 0.9}


@dataclass(frozen=True)
class Asked:
    """What somebody asked for.

    Args:
        data: the dataset, as it was named; `source` is what it was recognised as.
        out: the directory to make.
        model: the one to start from; None: the one that was begun with, else CAPTIONLOOP_MODEL.
        settings: fine-tuning settings other than their defaults.
        resume: whether a training there is gone on with.
        limit: how many rows to look at; None: all.
    """

    data: Path
    source: Source
    out: Path
    model: str | None
    settings: Mapping[str, Any]
    resume: bool
    limit: int | None


@dataclass(frozen=True)
class TrainResult:
    """A model that stands.

    Args:
        name: of the model; `base` is that of the one it was made from, which lies at `source`.
        bad: how many rows of the dataset could not be used.
    """

    out: Path
    name: str
    base: str
    source: str
    finding: str
    comparison: StoredComparison
    bad: int


def default_out(data: Path) -> Path:
    """`photos-blip` for `photos/` and for `photos.csv`."""
    resolved = data.resolve()
    return Path(f"{resolved.name if resolved.is_dir() else resolved.stem}-blip")


def train_folder(asked: Asked, settings: Settings) -> TrainResult:
    """Train, or go on, until the model is in its directory.

    Raises:
        click.Abort: somebody pressed Ctrl-C.
        CaptionloopError: whatever else stands in the way.
    """
    if settings.processes > 1:
        raise SettingsError(
            f"CAPTIONLOOP_PROCESSES is {settings.processes}, but `captionloop train` trains in one process; unset it."
        )
    directory = TrainingDirectory(asked.out)
    _refuse_within(asked.out, asked.data)
    directory.check(resume=asked.resume)
    bad = 0
    if not directory.is_finished:
        with directory.held(), _stopping(directory.path) as stop, Progress("Training") as progress:
            if not directory.is_whole:
                bad = _train(asked, settings, directory, _Report(progress, stop))
            directory.finish()
    return _result(directory.path, bad)


def _train(asked: Asked, settings: Settings, directory: TrainingDirectory, report: "_Report") -> int:
    plan = directory.plan()
    data = read_folder(
        asked.source,
        limits=settings.image_limits,
        limit=asked.limit,
        on_bad=print_bad_row,
        on_progress=report.reading,
    )
    home = Home(settings.home)
    home.create()
    training = FolderTraining(
        data=data,
        base=Base(
            asked.model or plan.get("source") or settings.model,
            GenerationSettings(num_beams=settings.beams, prompt=settings.prompt),
        ),
        asked={**plan.get("settings", {}), **asked.settings},
        directory=directory,
        limits=settings.image_limits,
        cache=FeatureCache(home.features, max_bytes=settings.features_gb * 10**9),
        precision=settings.precision,
        device=settings.device,
        report=report,
    )
    training.run()
    write_atomically(directory.model / REPORT, _report_page(directory, data, settings).encode())
    return data.bad


def _refuse_within(out: Path, data: Path) -> None:
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        raise SettingsError(
            f"{out} lies in {data}, where its files would pass for a part of the dataset; name a place outside it with "
            "--out."
        )


# Stopping ------------------------------------------------------------------------------------------------------------


@contextmanager
def _stopping(out: Path) -> Iterator[threading.Event]:
    """An event that Ctrl-C sets; pressed again, it ends the process as usual.

    Raises:
        click.Abort: the block was stopped by it.
    """
    stop = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print_text("\nStopping, and keeping where it is … (Ctrl-C again: at once)", err=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    except RunCancelled as error:
        print_line(f"Stopped. The same command with --resume goes on in {out}.", err=True)
        raise click.Abort from error
    finally:
        signal.signal(signal.SIGINT, before)


class _Report:
    """Moves the bar, and says that it is to stop."""

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


# What it ends with ---------------------------------------------------------------------------------------------------


def _report_page(directory: TrainingDirectory, data: FolderDataset, settings: Settings) -> str:
    path = directory.model
    manifest = read_manifest(path)
    info = VersionInfo(
        version=manifest["version"],
        parent=manifest["parent"],
        state=manifest["state"],
        created_at=datetime.fromisoformat(manifest["created_at"]),
        corrections=manifest["corrections"],
        metrics=manifest["metrics"],
        path=path,
        reason=manifest["reason"],
        generation=GenerationSettings.from_dict(manifest["generation"]),
        snapshot=manifest["snapshot"],
        pinned=False,
        deleted_at=None,
    )
    limits = settings.image_limits
    return training_html(
        gather_report(info, picture=lambda image: data.read(image, limits=limits), snapshots=path / SNAPSHOTS)
    )


def _result(out: Path, bad: int) -> TrainResult:
    manifest, comparison = read_manifest(out), read_comparison(out / COMPARISON)
    if comparison is None:
        raise CheckpointError(f"{out} has no {COMPARISON}, so it is not known how the training went.")
    return TrainResult(
        out=out,
        name=manifest["version"],
        base=manifest["parent"],
        source=manifest["made_from"],
        finding=manifest["reason"],
        comparison=comparison,
        bad=bad,
    )


def result_data(result: TrainResult) -> dict[str, Any]:
    """The result, as JSON has it."""
    return {
        "out": str(result.out),
        "model": result.name,
        "base": result.base,
        "finding": result.finding,
        "images": len(result.comparison.images),
        "figures": {name: figure.to_dict() for name, figure in result.comparison.figures.items()},
        "bad_rows": result.bad,
    }


def result_text(result: TrainResult, asked: Asked) -> str:
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
    return "\n".join(
        [
            figures_text(compared.figures, first=result.base, second=result.name, images=len(compared.images)),
            "",
            result.finding,
            "",
            f"The model is in {result.out}, and {result.out / REPORT} shows what it writes. What you can do with it:",
            f"  captionloop caption {pictures} --model {out} --out captions.jsonl     caption pictures",
            f"  captionloop compare {both} --dataset {dataset} --html comparison.html     on the held-out pictures",
            f"  captionloop up --model {out}     serve it, and let people correct it in Label Studio",
        ]
    )
