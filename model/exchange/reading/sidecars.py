"""Sidecars: a text file beside each picture, the format of kohya's trainers, TagGUI and others.

cats/001.png cats/001.txt cats/002.jpg cats/002.caption cats/003.jpg cats/003.jpg.txt
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from captionloop.model.exchange.reading.caption_text import checked_texts
from captionloop.model.exchange.reading.directory import FoundFile, composed, files_below, open_regular
from captionloop.model.exchange.reading.pictures import has_picture_name
from captionloop.model.exchange.reading.rows import BadRow, PictureBytes, Place, Row, RowError
from captionloop.model.exchange.reading.text_files import decoded

KINDS = ("txt", "caption")
_LONGEST_TEXT = 2**20  # bytes
_PROSE = frozenset({"readme", "license", "licence", "requirements"})


def is_sidecar(path: str) -> bool:
    """Whether a file may hold the caption of the picture beside it."""
    stem, _, kind = path.rpartition("/")[2].rpartition(".")
    return kind.lower() in KINDS and bool(stem) and stem.lower() not in _PROSE


def read_sidecars(directory: Path, *, by_line: bool) -> Iterator[Row | BadRow]:
    """The pictures below a directory that have a text file beside them, sorted by name.

    A picture without one is skipped; a text file without a picture is a bad row.

    Args:
        by_line: whether each line of such a file is a caption.

    Raises:
        CaptionFileError: a directory cannot be read.
    """
    with closing(_sorted_files(directory)) as files:
        (total,) = files.execute("SELECT count(*) FROM file").fetchone()
        rows = files.execute("SELECT stem, path, problem FROM file ORDER BY stem, path")
        done = 0
        for _, group in groupby(rows, key=lambda row: bytes(row[0])):
            found = [FoundFile(os.fsdecode(path), problem) for _, path, problem in group]
            done += len(found)
            for row in _of_one_stem(directory, found, by_line=by_line):
                yield replace(row, share=done / total)


def _sorted_files(directory: Path) -> sqlite3.Connection:
    """An on-disk table of pictures and text files by their common stem."""
    files = sqlite3.connect("")
    files.execute("CREATE TABLE file (stem BLOB, path BLOB, problem TEXT)")
    files.executemany(
        "INSERT INTO file VALUES (?, ?, ?)",
        (
            (os.fsencode(_stem(file.path)), os.fsencode(file.path), file.problem)
            for file in files_below(directory)
            if has_picture_name(file.path) or is_sidecar(file.path)
        ),
    )
    files.execute("CREATE INDEX by_stem ON file (stem, path)")
    return files


def _stem(path: str) -> str:
    """The common stem of a picture and its text file: `cats/003` of `cats/003.jpg` and `cats/003.jpg.txt`."""
    stem = path.rpartition(".")[0]
    is_of_a_kind = is_sidecar(path) and has_picture_name(stem)
    return composed(stem.rpartition(".")[0] if is_of_a_kind else stem)


def _of_one_stem(directory: Path, files: Sequence[FoundFile], *, by_line: bool) -> Iterator[Row | BadRow]:
    pictures = [file for file in files if has_picture_name(file.path)]
    texts: dict[str, list[FoundFile]] = {}  # picture → its text files
    for file in files:
        if is_sidecar(file.path):
            beside = [picture for picture in pictures if _belongs(file.path, picture.path)]
            if len(beside) == 1:
                texts.setdefault(beside[0].path, []).append(file)
            else:
                yield BadRow(Place(directory / file.path), _why_alone(beside), 0.0, is_missing=not beside)
    for picture in pictures:
        if picture.path in texts:
            yield _row(directory, picture, texts[picture.path], by_line=by_line)


def _belongs(text: str, picture: str) -> bool:
    stem = composed(text.rpartition(".")[0])
    return stem in (composed(picture), composed(picture.rpartition(".")[0]))


def _why_alone(beside: Sequence[FoundFile]) -> str:
    if not beside:
        return "There is no picture of this name beside it."
    names = " and ".join(repr(file.path) for file in beside)
    return f"It may belong to {names}; which one is meant cannot be told. Name it like 003.jpg.txt."


def _row(directory: Path, picture: FoundFile, texts: Sequence[FoundFile], *, by_line: bool) -> Row | BadRow:
    place = Place(directory / texts[0].path)
    try:
        for file in (picture, *texts):
            if file.problem:
                raise RowError(f"{file.path!r} {file.problem}.")
        captions = {_captions(directory / file.path, by_line=by_line) for file in texts}
        if len(captions) > 1:
            names = " and ".join(repr(file.path) for file in texts)
            raise RowError(f"{names} have different captions for {picture.path!r}; leave one of them.")
    except RowError as error:
        return BadRow(place, str(error), 0.0)
    return Row(place, PictureBytes(directory / picture.path), picture.path, captions.pop(), 0.0)


def _captions(path: Path, *, by_line: bool) -> tuple[str, ...]:
    try:
        with open_regular(path) as file:
            data = file.read(_LONGEST_TEXT + 1)
    except OSError as error:
        raise RowError(f"It cannot be read: {error.strerror}.") from error
    if len(data) > _LONGEST_TEXT:
        raise RowError(f"It has over {_LONGEST_TEXT:,} bytes, which is no caption.")
    return checked_texts(decoded(data), by_line=by_line)
