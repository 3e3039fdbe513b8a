"""Training on a dataset in files, outside any project: the same fine-tuning as a worker's run, into a directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionloop.errors import SettingsError
from captionloop.home import write_atomically
from captionloop.image_limits import ImageLimits
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.blip.model_source import local_directory
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.database import VersionState
from captionloop.model.dataset.corrections import Snapshot, read_snapshot
from captionloop.model.evaluation.gate import Verdict
from captionloop.model.finetuning.finetuning import Finetuning, Report, Trained, figures, identity
from captionloop.model.finetuning.folder_dataset import FolderDataset
from captionloop.model.finetuning.pictures import Pictures
from captionloop.model.finetuning.training_directory import REPORT, TrainingDirectory
from captionloop.model.training.log import TrainingLog
from captionloop.model.training.resume_state import TrainingState
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.versions.base import Base, name_and_generation
from captionloop.model.versions.manifest import MANIFEST, Lineage, read_manifest, sha256, write_manifest
from captionloop.model.versions.model_card import write_model_card
from captionloop.setting_fields import PrecisionSetting

SNAPSHOTS = "datasets"
"""Where a model's directory has the snapshots that it, and what it was made from, was trained on."""


@dataclass(frozen=True)
class FolderTraining:
    """A training outside any project, and its parts.

    Args:
        data: the captioned pictures.
        base: the model to start from, and how it captions if its directory does not say so.
        asked: fine-tuning settings other than their defaults.
        directory: where it writes.
        limits: which pictures are too large.
        cache: image features of earlier trainings.
        precision, device: of captioning.
        report: receives progress.
    """

    data: FolderDataset
    base: Base
    asked: Mapping[str, Any]
    directory: TrainingDirectory
    limits: ImageLimits
    cache: FeatureCache
    precision: PrecisionSetting
    device: str
    report: Report

    def run(self) -> None:
        """Train, compare, and write the model; the caller then calls `directory.finish`.

        Raises:
            RunError: there is nothing to learn from, or training failed.
            RunCancelled: raised by the report; the state is kept.
            CheckpointError: the base does not load.
            SettingsError: a setting is wrong, or something else was begun here.
        """
        training = self._finetuning()
        trained = training.fit()
        self._keep(training, trained, training.compare(trained))

    def _finetuning(self) -> Finetuning:
        files = self.directory.model
        name, generation = name_and_generation(self.base)
        settings = FinetuneSettings.from_dict({"prompt": generation.prompt, **self.asked})
        champion = Captioner.load(
            self.base.source,
            version=name,
            generation=generation,
            precision=self.precision,
            device=self.device,
            features=self.cache,
        )
        snapshot = self.data.freeze(files / SNAPSHOTS)
        try:
            self.directory.begin(snapshot.hash, name, settings.to_dict(), source=self.base.source)
        except SettingsError:
            snapshot.path.unlink()  # of other data than it was begun with
            raise
        pictures = Pictures(lambda image: self.data.read(image, limits=self.limits), self.limits, self.cache)
        return Finetuning(
            snapshot=snapshot,
            champion=champion,
            source=self.base.source,
            learnt=_learnt(self.base.source),
            settings=settings,
            pictures=pictures,
            files=files,
            state=TrainingState(self.directory.state, identity(snapshot, name, settings), is_kept_when_stopped=True),
            log=lambda: TrainingLog(files, pictures=pictures.open),
            report=self.report,
            rule="better",
        )

    def _keep(self, training: Finetuning, trained: Trained, verdict: Verdict) -> None:
        files, base = self.directory.model, training.champion.version
        name = f"{self.directory.path.name}-{sha256(files / 'model.safetensors')[:6]}"
        lineage = Lineage(
            parent=base,
            snapshot=training.snapshot.hash,
            corrections=trained.examples,
            new_tokens=trained.new_tokens,
            settings=trained.settings,
            metrics=figures(verdict),
            reason=verdict.finding,
            state=VersionState.CANDIDATE if verdict.promote else VersionState.REJECTED,
        )
        for left in (MANIFEST, REPORT):  # by an attempt that was killed
            (files / left).unlink(missing_ok=True)
        for snapshot in _snapshots_of(self.base.source):
            write_atomically(files / SNAPSHOTS / snapshot.name, snapshot.read_bytes())
        generation = GenerationSettings.from_dict(trained.generation)
        write_model_card(files, name=name, lineage=lineage, generation=generation, base=self.base.source)
        facts = {
            "made_from": self.base.source,
            "parent": base,
            "snapshot": lineage.snapshot,
            "corrections": lineage.corrections,
            "new_tokens": lineage.new_tokens,
            "settings": dict(lineage.settings),
            "metrics": dict(lineage.metrics),
            "reason": lineage.reason,
            "state": lineage.state.value,
            "generation": trained.generation,
        }
        write_manifest(files, name, facts)


def trained_on(source: str) -> frozenset[str]:
    """The images (hashes) that a model was trained on, as far as its directory says: with `captionloop train` it does.

    Raises:
        CaptionloopError: what it says is damaged.
    """
    return frozenset(image for path in _snapshots_of(source) for image in read_snapshot(path).split().train)


def _snapshots_of(source: str) -> list[Path]:
    directory = local_directory(source)
    return sorted((directory / SNAPSHOTS).glob("*.jsonl")) if directory else []


def _learnt(source: str) -> Snapshot | None:
    """The snapshot that a model was made with, if its directory has it."""
    directory = local_directory(source)
    if directory is None or not (directory / MANIFEST).is_file():
        return None
    path = directory / SNAPSHOTS / f"{read_manifest(directory).get('snapshot')}.jsonl"
    return read_snapshot(path) if path.is_file() else None
