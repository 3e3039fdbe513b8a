"""What the readers of all formats give: what a file says (`Entry`), and what comes of it (`Row`, `BadRow`)."""

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
    """Whether an image that a dataset counts to `found` is in the part that is wanted."""
    return wanted == "all" or (found is not None and found.lower() in _SPLIT_NAMES[wanted])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: in a line of a file, in an entry of it, or, with neither, in the file as a whole."""

    file: Path
    line: int | None = None
    entry: str | None = None

    def __str__(self) -> str:
        within = self.entry or (f"line {self.line}" if self.line is not None else "")
        return f"{self.file}, {within}" if within else str(self.file)


@dataclass(frozen=True, slots=True)
class PictureBytes:
    """Where a picture's bytes lie: in a file of its own, or in a part of one."""

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
    """What a file says of an image, before anybody has looked for the picture or at the text.

    Args:
        picture: the picture's name, as it stands in the file; None where the file names none.
        captions: a text or a list of texts, or whatever stands in their place.
        image_id: by which the file knows the image, where that is not the picture's name.
        split: the part of the dataset that it says the image belongs to ("train", "test", …).
        share: of the file that has been read with it, 0 to 1.
    """

    place: Place
    picture: str | None
    captions: object
    share: float
    image_id: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A picture that is there, and captions for it.

    Args:
        name: the picture's own: its path below the dataset's directory or within its shard, with slashes.
        captions: at least one, each in one line.
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
        is_missing: it names a picture that is not there.
    """

    place: Place
    reason: str
    share: float
    is_missing: bool = False


class RowError(CaptionFileError):
    """One row that cannot be used; the readers turn it into a `BadRow`."""


class NoPictureError(RowError):
    """The row names a picture that is not there."""
