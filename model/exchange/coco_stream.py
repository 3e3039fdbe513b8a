"""COCO's caption annotations: one JSON document, of which never more than an entry is in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.rows import BadRow, Pictures, Place, Row, RowError, checked_captions


def read_annotations(path: Path, pictures: Pictures) -> Iterator[Row | BadRow]:
    """The captions, image by image.

    An annotation names its image by an id, and the images may come later in the file; what joins the two is a temporary
    database on disk.

    Raises:
        CaptionFileError: the file cannot be read, is no valid JSON, or has neither images nor annotations.
    """
    with closing(sqlite3.connect("")) as database:
        database.execute("CREATE TABLE image (id TEXT PRIMARY KEY, name TEXT)")
        database.execute("CREATE TABLE caption (number INTEGER PRIMARY KEY, image TEXT, text TEXT)")
        images = captions = 0
        for number, entry in _entries(path, "images"):
            images = number
            try:
                row = _id(entry, "id"), _text(entry, "file_name")
                database.execute("INSERT OR REPLACE INTO image VALUES (?, ?)", row)
            except RowError as error:
                yield BadRow(Place(path, entry=f"images {number}"), str(error), 0.0)
        for number, entry in _entries(path, "annotations"):
            captions = number
            try:
                (text,) = checked_captions(_text(entry, "caption"))
                database.execute("INSERT INTO caption VALUES (?, ?, ?)", (number, _id(entry, "image_id"), text))
            except RowError as error:
                yield BadRow(Place(path, entry=f"annotations {number}"), str(error), 0.0)
        if not images or not captions:
            raise CaptionFileError(f'{path} has no "images" or no "annotations"; expected COCO\'s caption annotations.')
        joined = database.execute(
            "SELECT number, caption.image, name, text FROM caption LEFT JOIN image ON image.id = caption.image "
            "ORDER BY image.rowid, number"
        )
        for count, (number, image, name, text) in enumerate(joined, start=1):
            place = Place(path, entry=f"annotations {number}")
            try:
                if name is None:
                    raise RowError(f'There is no image with the id {image} in "images".')
                yield Row(place, pictures.find(name), (text,), count / captions)
            except RowError as error:
                yield BadRow(place, str(error), count / captions)


def _entries(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    """The entries of a list, counted from 1."""
    try:
        with path.open("rb") as file:
            yield from enumerate(ijson.items(_without_mark(file), f"{name}.item"), start=1)
    except OSError as error:
        raise CaptionFileError(f"{path} cannot be read: {error.strerror}.") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise CaptionFileError(f"{path} is no valid JSON: {' '.join(str(error).split())}.") from error


def _without_mark(file: BinaryIO) -> BinaryIO:
    if file.read(3) != b"\xef\xbb\xbf":
        file.seek(0)
    return file


def _id(entry: Any, name: str) -> str:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise RowError(f'"{name}" is {value!r:.40}; expected a number or a text.')
    return _storable(str(value))


def _text(entry: Any, name: str) -> str:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, str):
        raise RowError(f'"{name}" is {value!r:.40}; expected a text.')
    return _storable(value)


def _storable(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RowError(f"{text!r:.40} holds half of a surrogate pair, which is no character.")
    return text
