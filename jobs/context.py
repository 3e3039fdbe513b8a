"""Database, queue, stores and clients for jobs, opened once per process from the settings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, cast

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.image_source import ImageSource
from captionloop.errors import SettingsError
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.jobs.queue.runs import Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.database import Database, Project
from captionloop.model.finetuning.pictures import Pictures
from captionloop.model.versions.base import Base, own_generation
from captionloop.model.versions.manifest import verify_files
from captionloop.model.versions.store import VersionInfo, VersionStore
from captionloop.seal import Seal
from captionloop.setting_fields import PrecisionSetting
from captionloop.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from captionloop.model.captioning.captioner import Captioner
    from captionloop.model.evaluation.gate import Rule

# `transformers` imports its modules lazily, and when two threads do so at once the second gets an ImportError.
_IMPORTING = Lock()


@dataclass(frozen=True)
class Context:
    """The parts that jobs share. Close it when done."""

    settings: Settings
    home: Home
    database: Database
    queue: Queue
    versions: VersionStore
    features: FeatureCache

    @classmethod
    def open(cls, settings: Settings) -> "Context":
        """
        Raises:
            SettingsError: no Redis is configured.
        """
        if settings.redis_url is None:
            raise SettingsError("No Redis is known here. Set REDIS_URL, or let `captionloop up` start one.")
        home = Home(settings.home)
        home.create()
        database = Database(settings.database_url or f"sqlite:///{home.database}")
        return cls(
            settings=settings,
            home=home,
            database=database,
            queue=Queue(settings.redis_url, Runs(database), Sweeps(database, home.runs)),
            versions=VersionStore(database, home.versions),
            features=FeatureCache(settings.features or home.features, max_bytes=settings.features_gb * 10**9),
        )

    @property
    def knows_label_studio(self) -> bool:
        return self.settings.label_studio_url is not None and self.settings.label_studio_api_key is not None

    @cached_property
    def label_studio(self) -> LabelStudio:
        """
        Raises:
            SettingsError: no Label Studio, or no token for it, is configured.
        """
        if self.settings.label_studio_url is None or self.settings.label_studio_api_key is None:
            raise SettingsError(
                "No Label Studio is known here. Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, "
                "or let `captionloop up` start one."
            )
        key, names = self.settings.label_studio_api_key.reveal(), self.settings.label_studio_names
        return LabelStudio(self.settings.label_studio_url, key, names=names)

    @property
    def seal(self) -> Seal:
        """Encryption of stored secrets.

        Raises:
            SettingsError: CAPTIONLOOP_KEY is not a valid key.
        """
        return Seal(self.home, self.settings.key)

    @property
    def image_limits(self) -> ImageLimits:
        return self.settings.image_limits

    @property
    def pictures(self) -> Pictures:
        """Our own copies of the annotated images."""
        return Pictures(lambda digest: self.home.image(digest).read_bytes(), self.image_limits, self.features)

    @cached_property
    def image_source(self) -> ImageSource:
        """The source of images; without a configured Label Studio it reads only those elsewhere."""
        return ImageSource(
            self.label_studio if self.knows_label_studio else None,
            allowed=self.settings.image_hosts,
            max_bytes=self.image_limits.max_bytes,
        )

    def read_image(self, value: str, task_id: int) -> bytes:
        """The bytes of the image in a task's field.

        Raises:
            ImageError: it cannot be read.
        """
        return self.image_source.read(value, task_id=task_id)

    @cached_property
    def base(self) -> Base:
        """The base that a new project starts from."""
        asked = GenerationSettings(num_beams=self.settings.beams, prompt=self.settings.prompt)
        return Base(self.settings.model, own_generation(Base(self.settings.model, asked)))

    @property
    def precision(self) -> PrecisionSetting:
        return self.settings.precision

    @property
    def gate(self) -> "Rule":
        return cast("Rule", self.settings.gate)

    def captioner(self, version: VersionInfo) -> "Captioner":
        """The model of a version, ready to caption.

        Raises:
            CheckpointError: its files are damaged or gone.
            SettingsError: CAPTIONLOOP_DEVICE is not available.
        """
        verify_files(version.path)
        with _IMPORTING:
            from captionloop.model.captioning.captioner import Captioner

        return Captioner.load(
            version.path,
            version=version.version,
            generation=version.generation,
            precision=self.precision,
            device=self.settings.device,
            features=self.features,
        )

    def tokenizer(self, version: VersionInfo) -> "PreTrainedTokenizerBase":
        """The tokenizer of a version, cached.

        Raises:
            CheckpointError: there is none, or it cannot be loaded.
        """
        return _tokenizer(version.path)

    def champion_captioner(self, project_id: int) -> "Captioner":
        return self.captioner(self.versions.champion(project_id))

    def project(self, project_id: int) -> Project:
        with self.database.reading() as session:
            return session.get_one(Project, project_id)

    def close(self) -> None:
        for opened_when_needed in ("image_source", "label_studio"):
            if opened_when_needed in self.__dict__:
                self.__dict__[opened_when_needed].close()
        self.queue.close()
        self.database.close()


@lru_cache(maxsize=8)
def _tokenizer(directory: Path) -> "PreTrainedTokenizerBase":
    with _IMPORTING:
        from captionloop.model.blip.checkpoint import load_tokenizer

    return load_tokenizer(directory)


def hand_on(settings: Settings) -> None:
    """Make all jobs of this process, and its children, use these settings."""
    os.environ.update(settings.as_environment())


@contextmanager
def opened() -> Iterator[Context]:
    """A context from the environment, for the worker's jobs; the worker puts its settings there (`hand_on`)."""
    context = Context.open(Settings.read())
    try:
        yield context
    finally:
        context.close()
