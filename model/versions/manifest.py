"""A version's manifest: its lineage, and the SHA-256 of each of its files."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionloop.errors import CheckpointError
from captionloop.json_files import load_json
from captionloop.model.database import VersionState, utc_now

MANIFEST = "captionloop.json"


@dataclass(frozen=True)
class Lineage:
    """The lineage of a new version, written to the manifest.

    Args:
        new_tokens: words and parts of words that its vocabulary got beside the parent's.
    """

    parent: str
    snapshot: str
    corrections: int
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    reason: str  # the gate's, for a person
    state: VersionState
    new_tokens: int = 0


def write_manifest(directory: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Write a version's name, facts and checksums of its files; synced to disk."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    files = {path.relative_to(directory).as_posix(): sha256(path) for path in paths}
    manifest = {"version": name, "created_at": utc_now().isoformat(), **facts, "files": files}
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for path in directory.rglob("*"):
        flush_to_disk(path)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a version's directory.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    try:
        return dict(load_json(path / MANIFEST))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"Version {path.name} has no readable {MANIFEST}. {_remedy(path, {})}") from error


def require_files(path: Path) -> dict[str, Any]:
    """The manifest of a version's directory, of which no file is missing; their contents are not looked at.

    Raises:
        CheckpointError: a file is missing, or the manifest is damaged.
    """
    manifest = read_manifest(path)
    for name in manifest["files"]:
        if not (path / name).is_file():
            raise CheckpointError(f"Version {path.name} has lost its file {name}. {_remedy(path, manifest)}")
    return manifest


def verify_files(path: Path) -> None:
    """Compare each file of a version with its checksum in the manifest.

    Raises:
        CheckpointError: a file is missing or has changed.
    """
    manifest = require_files(path)
    for name, digest in manifest["files"].items():
        if sha256(path / name) != digest:
            raise CheckpointError(
                f"The file {name} of version {path.name} is damaged (its checksum has changed). "
                f"{_remedy(path, manifest)}"
            )


def _remedy(path: Path, manifest: Mapping[str, Any]) -> str:
    if "source" in manifest:
        return f"It is a base: move {path} away, and it is made again from {manifest['source']}."
    return f"Let another version serve (`captionloop promote`), or put {path} back from a backup."


def sha256(path: Path) -> str:
    """The checksum of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def flush_to_disk(path: Path) -> None:
    """fsync a file or a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
