"""The output of all readers: an `Entry` as parsed, and the resulting `Row` or `BadRow`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from captionloop.errors import CaptionFileError, ImageError
from captionloop.model.exchange.reading.directory import open_regular

SplitName = Literal["held-out", "train", "all"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
# What datasets call these parts. Papers train on Karpathy's `restval` (the rest of the validation images) as well, and
# report on `test`.
_SPLIT_NAMES: Mapping[SplitName, frozenset[str]] = {
    "held-out": frozenset({"test", "testing", "held-out"}),
    "train": frozenset({"train", "training", "restval"}),
}


def is_in(wanted: SplitName, found: str | None) -> bool:
    """Whether an image in the part `found` of a dataset is in the wanted part."""
    return wanted == "all" or (found is not None and found.lower() in _SPLIT_NAMES[wanted])


@dataclass(frozen=True, slots=True)
class Place:
    """The location of a row: a line or an entry of a file, or, with neither, the file as a whole."""

    file: Path
    line: int | None = None
    entry: str | None = None

    def __str__(self) -> str:
        within = self.entry or (f"line {self.line}" if self.line is not None else "")
        return f"{self.file}, {within}" if within else str(self.file)


@dataclass(frozen=True, slots=True)
class PictureBytes:
    """Location of a picture's bytes: a file, or a part of one."""

    path: Path
    offset: int = 0
    size: int | None = None  # None: to the end

    def read(self, *, max_bytes: int) -> bytes:
        """
        Raises:
            ImageError: the file cannot be read, or is too large.
        """
        try:
            size = self.path.stat().st_size - self.offset if self.size is None else self.size
            if size > max_bytes:
                raise ImageError(f"The image file has {size:,} bytes; the limit is {max_bytes:,}.")
            with open_regular(self.path) as file:
                file.seek(self.offset)
                return file.read(size)
        except OSError as error:
            raise ImageError(f"{self.path} cannot be read: {error.strerror}.") from error


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in a file as parsed, before the picture is resolved and captions are validated.

    Args:
        picture: the picture's name in the file; None if the file has none.
        captions: the raw value: a text, a list of texts, or anything else.
        image_id: the file's id of the image, if that is not the picture's name.
        split: the part of the dataset that the image belongs to ("train", "test", …).
        share: of the file that is read so far, 0 to 1.
    """

    place: Place
    picture: str | None
    captions: object
    share: float
    image_id: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """An existing picture with its captions.

    Args:
        name: the picture's path below the dataset's directory or within its shard, with slashes.
        captions: at least one, each on one line.
        image_id, split, share: as in `Entry`; `share` may be of several files.
    """

    place: Place
    picture: PictureBytes
    name: str
    captions: tuple[str, ...]
    share: float
    image_id: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, with the reason as a sentence.

    Args:
        is_missing: its picture does not exist.
    """

    place: Place
    reason: str
    share: float
    is_missing: bool = False


class RowError(CaptionFileError):
    """A row cannot be used; readers turn this into a `BadRow`."""


class NoPictureError(RowError):
    """The row's picture does not exist."""
