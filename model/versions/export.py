"""Export of a version: its directory as a streamed zip archive.

It contains what `transformers` loads, the model card and the manifest, but no data of people (captions of held-out
images, samples), and of a base's source only the last part of its path.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from time import localtime
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from captionloop.model.evaluation.comparison_file import COMPARISON
from captionloop.model.training.log import EVALUATIONS_FILE
from captionloop.model.versions.manifest import MANIFEST, read_manifest
from captionloop.model.versions.store import VersionInfo

_STAYS_HERE = frozenset({COMPARISON, EVALUATIONS_FILE})
_BLOCK_BYTES = 1 << 20


def zip_of(version: VersionInfo) -> Iterator[bytes]:
    """The archive in chunks; everything is in a directory of the version's name.

    Not compressed, since weights do not shrink.

    Raises:
        CheckpointError: the version's manifest is gone or damaged; raised before the first chunk.
    """
    manifest = _manifest(version.path)
    paths = [path for path in sorted(version.path.rglob("*")) if path.is_file() and _goes_along(version.path, path)]
    return _written(version, paths, manifest)


def _written(version: VersionInfo, paths: list[Path], manifest: bytes) -> Iterator[bytes]:
    pieces = _Pieces()
    with ZipFile(pieces, "w", ZIP_STORED) as archive:
        for path in paths:
            entry = ZipInfo(_name_in_zip(version, path), localtime(path.stat().st_mtime)[:6])
            entry.file_size = path.stat().st_size  # decides whether the entry needs ZIP64
            entry.external_attr = 0o644 << 16
            with path.open("rb") as source, archive.open(entry, "w") as target:
                while block := source.read(_BLOCK_BYTES):
                    target.write(block)
                    yield pieces.take()
        archive.writestr(f"{version.version}/{MANIFEST}", manifest)
    yield pieces.take()


def _goes_along(directory: Path, path: Path) -> bool:
    name = path.relative_to(directory).as_posix()
    return name not in _STAYS_HERE and name != MANIFEST  # which is rewritten


def _name_in_zip(version: VersionInfo, path: Path) -> str:
    return f"{version.version}/{path.relative_to(version.path).as_posix()}"


def _manifest(directory: Path) -> bytes:
    """The manifest without private files and local paths."""
    manifest = read_manifest(directory)
    files = {name: digest for name, digest in dict(manifest.get("files") or {}).items() if name not in _STAYS_HERE}
    manifest["files"] = files
    source = manifest.get("source")
    if source is not None and (Path(source).is_absolute() or Path(source).expanduser().is_dir()):
        manifest["source"] = Path(source).name
    return (json.dumps(manifest, indent=2) + "\n").encode()


class _Pieces(io.RawIOBase):
    """A write-only file that hands out what was written since the last call."""

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
