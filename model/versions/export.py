"""A version to take away: its directory as a zip archive, written while it is read.

What `transformers` loads, the model card and the manifest are in it. What tells of people's own texts and pictures
(captions of held-out images, samples) stays here, and of a base's source only the last part of its path goes along.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from time import localtime
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from captionloop.model.evaluation.comparison_file import COMPARISON
from captionloop.model.versions.manifest import MANIFEST, read_manifest
from captionloop.model.versions.report import EVALUATIONS
from captionloop.model.versions.store import VersionInfo

_STAYS_HERE = frozenset({COMPARISON, EVALUATIONS})
_BLOCK_BYTES = 1 << 20


def zip_of(version: VersionInfo) -> Iterator[bytes]:
    """The archive, piece by piece; everything lies in a directory of the version's name.

    Weights do not shrink, so nothing is compressed.

    Raises:
        CheckpointError: the version's manifest is gone or damaged; raised before the first piece.
    """
    manifest = _manifest(version.path)
    paths = [path for path in sorted(version.path.rglob("*")) if path.is_file() and _goes_along(version.path, path)]
    return _written(version, paths, manifest)


def _written(version: VersionInfo, paths: list[Path], manifest: bytes) -> Iterator[bytes]:
    pieces = _Pieces()
    with ZipFile(pieces, "w", ZIP_STORED) as archive:
        for path in paths:
            entry = ZipInfo(_name_in_zip(version, path), localtime(path.stat().st_mtime)[:6])
            entry.file_size = path.stat().st_size  # says whether the entry needs the format for large files
            entry.external_attr = 0o644 << 16
            with path.open("rb") as source, archive.open(entry, "w") as target:
                while block := source.read(_BLOCK_BYTES):
                    target.write(block)
                    yield pieces.take()
        archive.writestr(f"{version.version}/{MANIFEST}", manifest)
    yield pieces.take()


def _goes_along(directory: Path, path: Path) -> bool:
    name = path.relative_to(directory).as_posix()
    return name not in _STAYS_HERE and name != MANIFEST  # which is written anew


def _name_in_zip(version: VersionInfo, path: Path) -> str:
    return f"{version.version}/{path.relative_to(version.path).as_posix()}"


def _manifest(directory: Path) -> bytes:
    """The manifest without what stays here and without where things lie on this machine."""
    manifest = read_manifest(directory)
    files = {name: digest for name, digest in dict(manifest.get("files") or {}).items() if name not in _STAYS_HERE}
    manifest["files"] = files
    source = manifest.get("source")
    if source is not None and (Path(source).is_absolute() or Path(source).expanduser().is_dir()):
        manifest["source"] = Path(source).name
    return (json.dumps(manifest, indent=2) + "\n").encode()


class _Pieces(io.RawIOBase):
    """A file that can only be written to, and hands out what was written since it was last asked."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._held.append(piece)
        return len(piece)

    def take(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held
