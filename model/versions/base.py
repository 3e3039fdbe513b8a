"""Base models that projects start from, named by a hash of their files and settings."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from captionloop.errors import CheckpointError
from captionloop.json_files import load_json
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.blip.model_source import STARTER, local_directory
from captionloop.model.versions.manifest import MANIFEST, sha256


@dataclass(frozen=True)
class Base:
    """The model that a project starts from, with its generation settings."""

    source: str  # `starter`, a directory or a hub id
    generation: GenerationSettings

    @cached_property
    def name(self) -> str:
        """The name of the base version, computed before anything is loaded or copied.

        It depends on the source's files and the settings, so that two different bases never share a name.
        """
        return f"{_slug(self.source)}-{self._key(_identity(self.source))}"

    def is_called(self, name: str) -> bool:
        """Whether a base's name stands for this one: that of its directory may be another, as may its path.

        An earlier release made the path part of the hash.
        """
        identity = _identity(self.source)
        return name.rpartition("-")[2] in {self._key(identity), self._key(f"{self.source}{identity}")}

    def _key(self, identity: str) -> str:
        facts = json.dumps([identity, self.generation.to_dict()], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()[:8]


def own_generation(base: Base) -> GenerationSettings:
    """How a model writes: its own directory says it, if it was made here; else what was asked for.

    Raises:
        CheckpointError: the directory's manifest is damaged.
    """
    found = _manifest(base)
    return found[1] if found else base.generation


def name_and_generation(base: Base) -> tuple[str, GenerationSettings]:
    """A model's name and generation settings: from the manifest of a version's directory, else those of a base.

    Raises:
        CheckpointError: the directory's manifest is damaged.
    """
    return _manifest(base) or (base.name, base.generation)


def _manifest(base: Base) -> tuple[str, GenerationSettings] | None:
    path = Path(base.source) / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = load_json(path)
        return str(manifest["version"]), GenerationSettings.from_dict(manifest["generation"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); name another model, or delete that file.") from error


def _identity(source: str) -> str:
    """The identity of a base: the hub id, or a hash of the directory's files."""
    directory = local_directory(source)
    if directory is None:
        return source
    files: Sequence[Path] = sorted(path for path in directory.iterdir() if path.is_file())
    digest = hashlib.sha256("".join(f"{path.name}:{sha256(path)}" for path in files).encode()).hexdigest()
    name = source if source == STARTER else ""  # a directory may lie elsewhere on another host
    return f"{name}@{digest[:16]}"


def _slug(source: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", Path(source).name.lower()).strip("-") or "base"
