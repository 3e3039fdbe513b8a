"""From a dataset in files to a model in a directory: for `captionloop train` and `finetune`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from captionloop.backend.python.loading import base_of, feature_cache
from captionloop.backend.report_page import training_html
from captionloop.errors import CheckpointError, SettingsError
from captionloop.home import Home, write_atomically
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.evaluation.comparison_file import COMPARISON, StoredComparison, read_comparison
from captionloop.model.finetuning.finetuning import Report
from captionloop.model.finetuning.folder_dataset import FolderDataset
from captionloop.model.finetuning.folder_training import SNAPSHOTS, FolderTraining
from captionloop.model.finetuning.training_directory import REPORT, TrainingDirectory
from captionloop.model.versions.manifest import MANIFEST, read_manifest
from captionloop.model.versions.report import gather_report
from captionloop.model.versions.store import VersionInfo
from captionloop.settings import Settings


@dataclass(frozen=True)
class TrainingRequest:
    """What somebody asked for.

    Args:
        out: the directory to make.
        model: the one to start from; None: the one that was begun with, else CAPTIONLOOP_MODEL.
        asked: fine-tuning settings other than their defaults.
        resume: whether a training there is gone on with.
    """

    out: Path
    model: str | None
    asked: Mapping[str, Any]
    resume: bool


@dataclass(frozen=True)
class TrainedModel:
    """A model that stands.

    Args:
        name: of the model; `base` is that of the one it was made from, which lies at `source`.
        finding: the outcome of its comparison with that, a sentence.
    """

    out: Path
    name: str
    base: str
    source: str
    finding: str
    comparison: StoredComparison


def train_into_directory(
    request: TrainingRequest, read: Callable[[], FolderDataset], settings: Settings, report: Report
) -> TrainedModel:
    """Train, or go on, until the model is in its directory.

    Args:
        read: gives the dataset; not called if the model is there already.
        report: is told how far it is.

    Raises:
        RunCancelled: the report said so; the state is kept.
        BusyError: another training writes there.
        CaptionloopError: whatever else stands in the way.
    """
    if settings.processes > 1:
        raise SettingsError(
            f"CAPTIONLOOP_PROCESSES is {settings.processes}, but training outside a project works in one process; "
            "unset it."
        )
    directory = TrainingDirectory(request.out)
    directory.check(resume=request.resume)
    if not directory.is_finished:
        with directory.held():
            if not directory.is_whole:
                _train(request, read(), settings, directory, report)
            directory.finish()
    return read_trained(directory.path)


def refuse_within(out: Path, data: Path) -> None:
    """
    Raises:
        SettingsError: the directory to make lies in that of the dataset.
    """
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        raise SettingsError(
            f"{out} lies in {data}, where its files would pass for a part of the dataset; name a place outside it with "
            "--out."
        )


def is_trained(path: Path) -> bool:
    """Whether a directory has a model that was trained outside any project.

    Raises:
        CheckpointError: its manifest is damaged.
    """
    return (path / MANIFEST).is_file() and "made_from" in read_manifest(path)


def read_trained(path: Path) -> TrainedModel:
    """A model that was trained outside any project, from its directory.

    Raises:
        CheckpointError: it is none, or damaged.
    """
    manifest, comparison = read_manifest(path), read_comparison(path / COMPARISON)
    if comparison is None:
        raise CheckpointError(f"{path} has no {COMPARISON}, so it is not known how the training went.")
    return TrainedModel(
        out=path,
        name=manifest["version"],
        base=manifest["parent"],
        source=manifest["made_from"],
        finding=manifest["reason"],
        comparison=comparison,
    )


def _train(
    request: TrainingRequest, data: FolderDataset, settings: Settings, directory: TrainingDirectory, report: Report
) -> None:
    plan = directory.plan()
    Home(settings.home).create()
    training = FolderTraining(
        data=data,
        base=base_of(request.model or plan.get("source") or settings.model, settings),
        asked={**plan.get("settings", {}), **request.asked},
        directory=directory,
        limits=settings.image_limits,
        cache=feature_cache(settings),
        precision=settings.precision,
        device=settings.device,
        report=report,
    )
    training.run()
    write_atomically(directory.model / REPORT, _report_page(directory.model, data, settings).encode())


def _report_page(path: Path, data: FolderDataset, settings: Settings) -> str:
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
