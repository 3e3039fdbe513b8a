"""The names by which columns of tables and fields of JSON objects are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from captionloop.model.exchange.reading.caption_text import shown
from captionloop.model.exchange.reading.rows import RowError

# If several are present the first counts.
PICTURE_NAMES = (
    "file_name", "image", "image_path", "filename", "image_name", "image_file", "file", "path", "filepath", "img",
    "picture", "photo",
)  # fmt: skip
CAPTION_NAMES = ("text", "captions", "caption", "sentence", "description", "comment", "alt_text", "alt")
SPLIT_NAMES = ("split",)
_MOST_SHOWN = 10  # of what an object has


def plain(name: str) -> str:
    """A normalised field name: "File Name" is "file_name"."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def picture_and_captions(values: Mapping[str, Any]) -> tuple[str, object]:
    """
    Raises:
        RowError: one of them is missing, or the picture is not text.
    """
    picture = field(values, PICTURE_NAMES, "picture")
    if not isinstance(picture, str):
        raise RowError(f"The picture is {shown(picture)}; expected the name of a file.")
    return picture, field(values, CAPTION_NAMES, "caption")


def split_of(values: Mapping[str, Any]) -> str | None:
    """The part of the dataset that an object says it belongs to."""
    value = next((values[name] for name in values if plain(name) in SPLIT_NAMES), None)
    return value if isinstance(value, str) else None


def field(values: Mapping[str, Any], names: Sequence[str], what: str) -> Any:
    """The value of the first of these names that an object has.

    Raises:
        RowError: it has none of them, or one in two spellings.
    """
    there: dict[str, str] = {}
    for written in values:
        if (name := plain(written)) in names and name in there:
            raise RowError(f"Both {there[name]!r} and {written!r} are there; which is the {what} cannot be told.")
        there[name] = written
    found = next((name for name in names if name in there), None)
    if found is None:
        raise RowError(f"There is no {what}, only {_listed(values)}; looked for were {', '.join(names)}.")
    return values[there[found]]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name!r:.40}" for name in islice(values, _MOST_SHOWN)) or "an empty object"
