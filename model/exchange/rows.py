"""What the readers of all formats give: rows, good and bad, each with where it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionloop.errors import CaptionFileError, ImageError

# By these names columns of tables and fields of JSON objects are known, the first that is there being meant.
PICTURE_NAMES = ("file_name", "image", "image_path", "filename", "image_name", "file", "path", "filepath", "img")
CAPTION_NAMES = ("text", "captions", "caption", "sentence", "description", "comment")

LONGEST_CAPTION = 10_000  # characters; more is a document
# Invisible, and some of them cannot be stored: PostgreSQL takes no NUL, UTF-8 no half of a surrogate pair.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
# Flickr8k.token.txt and its like number an image's captions: `1000268201_693b08cb0e.jpg#0`.
_NUMBERED = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: in a line of a file, or, where lines mean nothing, in an entry of it."""

    file: Path
    line: int | None = None
    entry: str | None = None

    def __str__(self) -> str:
        return f"{self.file}, {self.entry or f'line {self.line}'}"


@dataclass(frozen=True, slots=True)
class PictureBytes:
    """Where a picture's bytes lie: in a file of its own, or in a part of one."""

    path: Path
    offset: int = 0
    size: int | None = None  # None: to the end


@dataclass(frozen=True, slots=True)
class Row:
    """A picture that is there, and captions for it; `share` of the source has been read, 0 to 1."""

    place: Place
    picture: PictureBytes
    captions: tuple[str, ...]
    share: float


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, with the reason as a sentence."""

    place: Place
    reason: str
    share: float


class RowError(CaptionFileError):
    """One row that cannot be used; the readers turn it into a `BadRow`."""


class Pictures:
    """Finds the pictures that a file of captions names."""

    def __init__(self, directory: Path, *, look_below: bool) -> None:
        """
        Args:
            directory: what the names are relative to.
            look_below: whether they may be relative to a directory in it as well, as in Flickr8k: `captions.txt` beside
                `Images/`.
        """
        self._directory = directory
        below = sorted(path for path in directory.iterdir() if path.is_dir()) if look_below else []
        self._roots = [directory, *below]

    def find(self, name: str) -> PictureBytes:
        """
        Raises:
            RowError: there is no such file, or it lies elsewhere.
        """
        wanted = self._inside(name)
        # The last part alone: somebody names COCO's `val2014` itself.
        for candidate in dict.fromkeys((wanted, _NUMBERED.sub("", wanted), Path(wanted).name)):
            for number, root in enumerate(self._roots):
                if (root / candidate).is_file():
                    self._roots.insert(0, self._roots.pop(number))  # the next one probably lies there, too
                    return PictureBytes(root / candidate)
        raise RowError(f"There is no picture {name!r} in {self._directory}.")

    def _inside(self, name: str) -> str:
        if "://" in name:
            raise RowError(f"{name!r} is an address; only files can be imported.")
        path = Path(name.strip())
        if path.is_absolute() and path.is_relative_to(self._directory.absolute()):
            path = path.relative_to(self._directory.absolute())
        if not path.name or path.is_absolute() or ".." in path.parts:
            raise RowError(f"The picture {name!r} does not lie in {self._directory}.")
        if _CONTROL.search(name) or len(path.name) > 255:
            raise RowError(f"{name[:60]!r} is no name of a file.")
        return str(path)


def checked_captions(value: Any) -> tuple[str, ...]:
    """The captions in a field: a text or a list of texts, each in one line without white space around it.

    Raises:
        RowError: there is none, one is empty, too long, or holds what cannot be shown.
    """
    texts: Sequence[Any] = value if isinstance(value, list) else [value]
    if not texts:
        raise RowError("There is no caption.")
    return tuple(_checked(text) for text in texts)


def named(values: Any, names: Sequence[str], what: str) -> Any:
    """The value of the first of these names that an object has.

    Raises:
        RowError: it has none of them.
    """
    found = next((name for name in names if name in values), None)
    if found is None:
        raise RowError(f"There is no {what}; expected it as {', '.join(names[:3])} or the like.")
    return values[found]


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise RowError(f"The caption is {text!r:.40}; expected a text.")
    if odd := _CONTROL.search(text):
        raise RowError(f"The caption holds the character U+{ord(odd.group()):04X}, which cannot be shown.")
    caption = " ".join(text.split())
    if not caption:
        raise RowError("The caption is empty.")
    if len(caption) > LONGEST_CAPTION:
        raise RowError(f"The caption has {len(caption):,} characters; the limit is {LONGEST_CAPTION:,}.")
    return caption


def read_picture(picture: PictureBytes, *, max_bytes: int) -> bytes:
    """
    Raises:
        ImageError: the file cannot be read, or is too large.
    """
    try:
        size = picture.path.stat().st_size - picture.offset if picture.size is None else picture.size
        if size > max_bytes:
            raise ImageError(f"The image file has {size:,} bytes; the limit is {max_bytes:,}.")
        with picture.path.open("rb") as file:
            file.seek(picture.offset)
            return file.read(size)
    except OSError as error:
        raise ImageError(f"{picture.path} cannot be read: {error.strerror}.") from error
