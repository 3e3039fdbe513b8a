"""WebDataset shards: tar files in which the members of a sample share a stem and are adjacent.

    000042.jpg 000042.txt 000043.png 000043.json …

Pictures are not read here: a row has the location of the bytes in the shard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.reading.caption_text import checked_captions, checked_texts
from captionloop.model.exchange.reading.directory import is_passed_over, open_regular
from captionloop.model.exchange.reading.fields import CAPTION_NAMES, field, plain
from captionloop.model.exchange.reading.json_stream import parsed_object
from captionloop.model.exchange.reading.pictures import PICTURE_KINDS
from captionloop.model.exchange.reading.rows import BadRow, PictureBytes, Place, Row, RowError
from captionloop.model.exchange.reading.tar_members import DamagedArchive, Member, members
from captionloop.model.exchange.reading.text_files import decoded

_TEXT_KINDS = ("txt", "json")
_MOST_SHOWN = 3  # names
_SAMPLE = "The files of a sample lie side by side in the shard, and have the same name up to its first dot."
_LONGEST_TEXT = 2**20  # bytes of a `.txt` or `.json`
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_LONGEST_MAGIC = 5
# As `train-000000.tar` and as Hugging Face's `datasets` reads names of shards.
_SPLIT = re.compile(r"(?:^|[-_.])(train|test|val|validation|dev)(?=[-_.\d]|$)", re.IGNORECASE)


def read_shard(path: Path, *, by_line: bool) -> Iterator[Row | BadRow]:
    """The samples of a shard.

    If a sample has both, `.json` is read if it has captions, else `.txt`.

    Args:
        by_line: whether each line of a `.txt` is a caption.

    Raises:
        CaptionFileError: it cannot be read, or is not an uncompressed tar file.
    """
    last = ""
    try:
        with open_regular(path) as file:
            size = path.stat().st_size
            split = shard_split(path)

            def wanted() -> Iterator[Member]:
                nonlocal last
                for member in members(file, size):
                    last = member.name
                    if not is_passed_over(last):
                        yield member

            for key, group in groupby(wanted(), key=lambda member: _key(member.name)):
                sample = list(group)
                share = (sample[-1].offset + sample[-1].size) / size
                yield _row(Place(path, entry=f"sample {key}"), file, sample, share, split=split, by_line=by_line)
    except DamagedArchive as error:
        if not last:
            raise CaptionFileError(f"{path} is no uncompressed tar file ({error}).{_unpack(path)}") from error
        reason = f"The shard is damaged after {last} ({error}); the rest of it is lost."
        yield BadRow(Place(path, entry=f"after {last}"), reason, 1.0)
    except OSError as error:
        raise CaptionFileError(f"{path} cannot be read: {error.strerror}.") from error


def _unpack(path: Path) -> str:
    with open_regular(path) as file:
        begin = file.read(_LONGEST_MAGIC)
    program = next((program for magic, program in _COMPRESSED.items() if begin.startswith(magic)), None)
    return "" if program is None else f" It is compressed: unpack it with `{program}` first."


def _row(
    place: Place, file: BinaryIO, sample: list[Member], share: float, *, split: str | None, by_line: bool
) -> Row | BadRow:
    try:
        picture = _only(sample, PICTURE_KINDS, "picture")
        captions = _captions(file, sample, by_line=by_line)
    except RowError as error:
        return BadRow(place, str(error), share)
    where = PictureBytes(place.file, picture.offset, picture.size)
    return Row(place, where, picture.name, captions, share, image_id=_key(picture.name), split=split)


def shard_split(path: Path) -> str | None:
    """The part of a dataset in a shard's name, if any."""
    found = _SPLIT.search(path.name.removesuffix(".tar"))
    return found.group(1).lower() if found else None


def _key(name: str) -> str:
    """WebDataset's key: the path up to the first dot in the file's own name."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def _kind(member: Member) -> str:
    return PurePosixPath(member.name).name.partition(".")[2].lower()


def _only(sample: Sequence[Member], kinds: Iterable[str], what: str) -> Member:
    found = [member for member in sample if _kind(member) in kinds]
    if not found:
        raise RowError(f"The sample has no {what}, only {_names(sample)}. {_SAMPLE}")
    if len(found) > 1:
        raise RowError(
            f"The sample has several {what}s ({_names(found)}), so that it cannot be told which one is meant."
        )
    if found[0].is_sparse:
        raise RowError(f"{found[0].name} is stored as a sparse file, which is not read; pack it without that.")
    return found[0]


def _captions(file: BinaryIO, sample: Sequence[Member], *, by_line: bool) -> tuple[str, ...]:
    kinds = {_kind(member) for member in sample}.intersection(_TEXT_KINDS)
    if "json" in kinds:
        values = parsed_object(_text(file, _only(sample, ("json",), ".json")), ".json")
        if "txt" not in kinds or any(plain(name) in CAPTION_NAMES for name in values):
            return checked_captions(field(values, CAPTION_NAMES, "caption"))
    if "txt" in kinds:
        return checked_texts(_text(file, _only(sample, ("txt",), ".txt")), by_line=by_line)
    raise RowError(f"The sample has no caption, only {_names(sample)}; expected it as .txt or .json. {_SAMPLE}")


def _names(sample: Sequence[Member]) -> str:
    return ", ".join(member.name for member in sample[:_MOST_SHOWN]) + (
        " and more" if len(sample) > _MOST_SHOWN else ""
    )


def _text(file: BinaryIO, member: Member) -> str:
    if member.size > _LONGEST_TEXT:
        raise RowError(f"{member.name} has {member.size:,} bytes; the limit is {_LONGEST_TEXT:,}.")
    file.seek(member.offset)
    return decoded(file.read(member.size))
