"""Captions in a JSON document, told apart by its shape.

    {"images": [{"id": 42, "file_name": "…"}, …], "annotations": [{"image_id": 42, "caption": "…"}, …]}
                                                                        `coco`: COCO's caption annotations
    {"images": [{"split": "test", "filename": "…", "cocoid": 42, "sentences": [{"raw": "…"}, …]}, …]}
                                                                        `karpathy`: his split (`dataset_coco.json`)
    [{"image": "…", "caption": "…"}, …]                                 `json`: pairs, as BLIP is trained on
    [{"image_id": 42, "caption": "…"}, …]                               `json`: COCO's results, without pictures
    {"IMAGE": "caption", …} or {"IMAGE": ["caption", …], …}             `json`: pictures and captions

An image is known by the text of its id ("42"); where there is none, by its picture's name.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.reading.caption_text import shown
from captionloop.model.exchange.reading.fields import CAPTION_NAMES, PICTURE_NAMES, field, plain, split_of
from captionloop.model.exchange.reading.json_stream import JsonStream, as_object, open_json
from captionloop.model.exchange.reading.rows import BadRow, Entry, Place, RowError

Shape = Literal["coco", "karpathy", "json"]
KARPATHY_SPLITS = ("restval", "test", "train", "val")
# What stands at the top of such documents beside their lists.
_DESCRIBING = frozenset({"info", "licenses", "dataset", "type", "categories", "version", "description"})
_EXPECTED = (
    'expected COCO\'s "images" and "annotations", Karpathy\'s split, a list of objects with "image" and "caption", or '
    "an object of pictures and captions"
)
_SHOWN_IMAGES = 3


def shape_of(path: Path) -> Shape:
    """
    Raises:
        CaptionFileError: the file cannot be read, is no valid JSON, or holds something else.
    """
    with open_json(path) as document:
        following = document.peek()
        if following == "[":
            return "json"
        if following != "{":
            raise CaptionFileError(f"{path} holds {shown(document.value())}; {_EXPECTED}.")
        is_empty = True
        for name in document.members():
            is_empty = False
            if shape := _shape_by(name, document, path):
                return shape
        raise CaptionFileError(
            f"{path} is empty; {_EXPECTED}." if is_empty else f"{path} has no captions; {_EXPECTED}."
        )


def _shape_by(name: str, document: JsonStream, path: Path) -> Shape | None:
    """The format that a top-level name and its value imply; None: not decided yet."""
    following = document.peek()
    if name == "annotations":
        return "coco"
    if name == "images" and following == "[":
        first = next(document.items(), None)
        return "karpathy" if isinstance(first, dict) and "sentences" in first else "coco"
    if name in _DESCRIBING:
        return None
    first = next(document.items(), None) if following == "[" else None
    if isinstance(first, dict | list) or following == "{":
        raise CaptionFileError(f"{path} has {name!r:.40} with something that is no caption; {_EXPECTED}.")
    return "json"


def read_document(path: Path) -> Iterator[Entry | BadRow]:
    """The entries of the document: by image for COCO's annotations, else in file order.

    Raises:
        CaptionFileError: as `shape_of`.
    """
    readers: dict[Shape, Callable[[Path], Iterator[Entry | BadRow]]] = {
        "coco": _read_coco, "karpathy": _read_karpathy, "json": _read_pairs,
    }  # fmt: skip
    return readers[shape_of(path)](path)


# COCO's annotations --------------------------------------------------------------------------------------------------


def _read_coco(path: Path) -> Iterator[Entry | BadRow]:
    """An annotation names its image by an id, and the images may come later: a database on disk joins the two."""
    with closing(sqlite3.connect("")) as database:
        # Stored as JSON, since lone surrogates are not valid text for SQLite.
        database.execute("CREATE TABLE image (number INTEGER PRIMARY KEY, id BLOB, name TEXT)")
        database.execute("CREATE TABLE caption (number INTEGER PRIMARY KEY, image BLOB, text TEXT)")
        yield from _load(path, database)
        database.execute("CREATE INDEX by_id ON image (id)")
        yield from _repeated(path, database)
        yield from _joined(path, database)


def _load(path: Path, database: sqlite3.Connection) -> Iterator[BadRow]:
    found = {"images": 0, "annotations": 0}
    with open_json(path) as document:
        for name in document.members():
            if name not in found:
                continue
            if document.peek() != "[":
                raise CaptionFileError(f'{path}: "{name}" is {shown(document.value())}; expected a list.')
            for value in document.items():
                found[name] += 1
                try:
                    _STORE[name](database, found[name], as_object(value, "entry"))
                except RowError as error:
                    yield BadRow(Place(path, entry=f"{name} {found[name]}"), str(error), 0.0)
        document.finish()
    if missing := [name for name, count in found.items() if not count]:
        raise CaptionFileError(f'{path} has no "{missing[0]}"; {_EXPECTED}.')


def _store_image(database: sqlite3.Connection, number: int, entry: Mapping[str, Any]) -> None:
    name = entry.get("file_name")
    if name is not None and not isinstance(name, str):
        raise RowError(f'"file_name" is {shown(name)}; expected a text.')
    # NULL rather than JSON's null: SQLite does not count it.
    row = number, _key(entry, "id"), None if name is None else json.dumps(name)
    database.execute("INSERT INTO image VALUES (?, ?, ?)", row)


def _store_caption(database: sqlite3.Connection, number: int, entry: Mapping[str, Any]) -> None:
    row = number, _key(entry, "image_id"), json.dumps(field(entry, CAPTION_NAMES, "caption"))
    database.execute("INSERT INTO caption VALUES (?, ?, ?)", row)


_STORE = {"images": _store_image, "annotations": _store_caption}


def _key(entry: Mapping[str, Any], name: str) -> bytes:
    return _id(entry, name).encode("utf-8", "surrogatepass")


def _repeated(path: Path, database: sqlite3.Connection) -> Iterator[BadRow]:
    """Entries whose id occurs with several files: ambiguous for captions."""
    database.execute("CREATE TABLE repeated (id BLOB PRIMARY KEY)")
    database.execute(
        "INSERT INTO repeated SELECT id FROM image GROUP BY id "
        "HAVING count(DISTINCT ifnull(name, 'null')) > 1 AND id IS NOT NULL"
    )
    for number, key in database.execute("SELECT number, image.id FROM image JOIN repeated USING (id) ORDER BY number"):
        reason = f"The id {_text(key)} stands for {_all_of(database, key)}; give each image an id of its own."
        yield BadRow(Place(path, entry=f"images {number}"), reason, 0.0)


def _joined(path: Path, database: sqlite3.Connection) -> Iterator[Entry | BadRow]:
    """The captions by image. Repeated entries of an image with the same file count as one."""
    rows = database.execute(
        "SELECT caption.number, caption.image, text, first, name, repeated.id IS NOT NULL FROM caption "
        "LEFT JOIN (SELECT id, min(number) AS first, max(name) AS name FROM image GROUP BY id) AS known "
        "ON known.id = caption.image LEFT JOIN repeated ON repeated.id = caption.image ORDER BY first, caption.number"
    )
    (captions,) = database.execute("SELECT count(*) FROM caption").fetchone()
    for done, (number, key, text, first, name, is_repeated) in enumerate(rows, start=1):
        place, share, image = Place(path, entry=f"annotations {number}"), done / captions, _text(key)
        if first is None:
            yield BadRow(place, f'There is no image with the id {image} in "images".', share)
        elif is_repeated:
            reason = f"The id {image} stands for {_all_of(database, key)}; which one is meant cannot be told."
            yield BadRow(place, reason, share)
        else:
            picture = None if name is None else json.loads(name)
            yield Entry(place, picture, json.loads(text), share, image_id=image)


def _all_of(database: sqlite3.Connection, key: bytes) -> str:
    rows = database.execute("SELECT number, name FROM image WHERE id = ? ORDER BY number LIMIT 4", (key,)).fetchall()
    named = [
        f"images {number} ({json.loads(name)!r:.80})" if name else f"images {number} (no file)" for number, name in rows
    ]
    return " and ".join(named[:_SHOWN_IMAGES]) + (" and more" if len(rows) > _SHOWN_IMAGES else "")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


# Karpathy's split ----------------------------------------------------------------------------------------------------


def _read_karpathy(path: Path) -> Iterator[Entry | BadRow]:
    with open_json(path) as document:
        for name in document.members():
            if name == "images":
                for number, value in enumerate(document.items(), start=1):
                    yield _karpathy_entry(Place(path, entry=f"images {number}"), value, document.share)
        document.finish()


def _karpathy_entry(place: Place, value: object, share: float) -> Entry | BadRow:
    try:
        entry = as_object(value, "entry")
        split = _text_in(entry, "split")
        if split not in KARPATHY_SPLITS:
            raise RowError(f'"split" is {split!r:.40}; expected {", ".join(KARPATHY_SPLITS)}.')
        name = _text_in(entry, "filename")
        # Karpathy's Flickr files have no COCO ids.
        image = _id(entry, "cocoid" if "cocoid" in entry else "imgid")
        captions = _sentences(entry)
    except RowError as error:
        return BadRow(place, str(error), share)
    picture = f"{_text_in(entry, 'filepath')}/{name}" if "filepath" in entry else name
    return Entry(place, picture, captions, share, image_id=image, split=split)


def _sentences(entry: Mapping[str, Any]) -> list[str]:
    sentences = entry.get("sentences")
    if not isinstance(sentences, list):
        raise RowError(f'"sentences" is {_found(entry, "sentences")}; expected a list.')
    return [_sentence(number, sentence) for number, sentence in enumerate(sentences, start=1)]


def _sentence(number: int, sentence: object) -> str:
    try:
        return _text_in(as_object(sentence, "entry"), "raw")
    except RowError as error:
        raise RowError(f"In sentences {number}: {error}") from error


# Pairs ---------------------------------------------------------------------------------------------------------------


def _read_pairs(path: Path) -> Iterator[Entry | BadRow]:
    with open_json(path) as document:
        number = 0
        if document.peek() == "[":
            for number, value in enumerate(document.items(), start=1):
                yield _pair(Place(path, entry=f"entry {number}"), value, document.share)
        else:
            for name in document.members():
                number += 1
                place = Place(path, entry=f"image {name!r:.80}")
                yield Entry(place, name, document.value(), document.share)
        document.finish()
    if not number:
        raise CaptionFileError(f"{path} is empty; {_EXPECTED}.")


def _pair(place: Place, value: object, share: float) -> Entry | BadRow:
    try:
        entry = as_object(value, "entry")
        has_picture = any(plain(name) in PICTURE_NAMES for name in entry)
        picture = field(entry, PICTURE_NAMES, "picture") if has_picture else None
        if has_picture and not isinstance(picture, str):
            raise RowError(f"The picture is {shown(picture)}; expected the name of a file.")
        image = _id(entry, "image_id") if "image_id" in entry or not has_picture else None
        captions = field(entry, CAPTION_NAMES, "caption")
    except RowError as error:
        return BadRow(place, str(error), share)
    return Entry(place, picture, captions, share, image_id=image, split=split_of(entry))


# Fields --------------------------------------------------------------------------------------------------------------


def _text_in(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise RowError(f'"{name}" is {_found(entry, name)}; expected a text.')
    return value


def _id(entry: Mapping[str, Any], name: str) -> str:
    """An image's id as text. A number that passed through a table may be 42.0."""
    value = entry.get(name)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise RowError(f'"{name}" is {_found(entry, name)}; expected a number or a text.')
    return str(value)


def _found(entry: Mapping[str, Any], name: str) -> str:
    return shown(entry[name]) if name in entry else "missing"
