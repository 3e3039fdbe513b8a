"""WebDataset shards: tar files in which the members of a sample have a name in common and lie side by side.

    000042.jpg 000042.txt 000043.png 000043.json …

Pictures are not read here: a row says where in the shard the bytes lie.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.rows import (
    CAPTION_NAMES,
    BadRow,
    PictureBytes,
    Place,
    Row,
    RowError,
    checked_captions,
    named,
)

_PICTURES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "ppm"})
_LONGEST_TEXT = 2**20  # bytes of a `.txt` or `.json`


def read_shard(path: Path) -> Iterator[Row | BadRow]:
    """The samples of a shard.

    Of a sample with both, `.json` is read if it has captions, as it may have several, else `.txt`.

    Raises:
        CaptionFileError: it cannot be read, or is no uncompressed tar file.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as shard:
            size = path.stat().st_size
            for key, members in groupby(_members(path, shard), key=lambda member: _key(member.name)):
                texts: dict[str, bytes] = {}
                picture: PictureBytes | None = None
                for member in members:
                    kind = PurePosixPath(member.name).name.partition(".")[2].lower()
                    if kind in _PICTURES and picture is None:
                        picture = PictureBytes(path, member.offset_data, member.size)
                    elif kind in ("txt", "json") and member.size <= _LONGEST_TEXT:
                        texts[kind] = _bytes(shard, member)
                    share = (member.offset_data + member.size) / size
                place = Place(path, entry=f"sample {key}")
                try:
                    if picture is None:
                        raise RowError("The sample has no picture.")
                    yield Row(place, picture, _captions(texts), share)
                except RowError as error:
                    yield BadRow(place, str(error), share)
    except _Damaged as damaged:
        yield damaged.row
    except tarfile.ReadError as error:
        raise CaptionFileError(f"{path} is no uncompressed tar file ({error}).") from error
    except OSError as error:
        raise CaptionFileError(f"{path} cannot be read: {error.strerror}.") from error


class _Damaged(Exception):
    """The rest of a shard cannot be read."""

    def __init__(self, row: BadRow) -> None:
        super().__init__(row.reason)
        self.row = row


def _members(path: Path, shard: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The files in a shard, in order."""
    last = "its beginning"
    try:
        while (member := shard.next()) is not None:
            shard.members.clear()  # type: ignore[attr-defined] # or it would remember all of them
            if member.isreg() and not member.issparse():
                _check_that_it_is_whole(path, member)
                last = member.name
                yield member
    except (tarfile.TarError, ValueError) as error:
        reason = f"The shard is damaged after {last} ({error}); the rest of it is lost."
        raise _Damaged(BadRow(Place(path, entry=f"after {last}"), reason, 1.0)) from error


def _check_that_it_is_whole(path: Path, member: tarfile.TarInfo) -> None:
    if member.offset_data + member.size > path.stat().st_size:
        raise tarfile.ReadError(f"{member.name} is cut short")


def _bytes(shard: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = shard.extractfile(member)
    assert file is not None  # it is a regular file
    return file.read()


def _key(name: str) -> str:
    """WebDataset's key: the path up to the first dot in the file's own name."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def _captions(texts: dict[str, bytes]) -> tuple[str, ...]:
    if "json" in texts:
        values = _json(texts["json"])
        if "txt" not in texts or any(name in values for name in CAPTION_NAMES):
            return checked_captions(named(values, CAPTION_NAMES, "caption"))
    if "txt" in texts:
        return checked_captions(_decoded(texts["txt"]))
    raise RowError("The sample has no caption; expected it as .txt or .json.")


def _json(data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(_decoded(data))
    except (ValueError, RecursionError) as error:
        raise RowError(f"The .json is no valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise RowError(f"The .json is {values!r:.40}; expected a JSON object.")
    return values


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RowError(f"The caption is not in UTF-8 (byte {error.start + 1}); save it in that encoding.") from error
