"""Files of one row a line, read line by line: JSON Lines, and tables separated by commas, tabs or the like."""

from __future__ import annotations

import codecs
import csv
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.rows import (
    CAPTION_NAMES,
    PICTURE_NAMES,
    BadRow,
    Pictures,
    Place,
    Row,
    RowError,
    checked_captions,
    named,
)

_LONGEST_LINE = 2**20  # bytes
_MOST_LINES_OF_A_RECORD = 100  # of a table; a quotation mark that nobody closed must not swallow the file
_SEPARATORS = ("\t", ",", ";", "|")
_LOOKED_AT = 20  # lines, to find the separator


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end; `share` of the file has been read with it."""

    number: int
    text: str
    share: float


def read_json_lines(path: Path, pictures: Pictures) -> Iterator[Row | BadRow]:
    """The rows of a file with a JSON object in each line.

    Raises:
        CaptionFileError: the file as a whole cannot be read.
    """
    for line in _lines(path):
        if isinstance(line, BadRow):
            yield line
        elif line.text.strip():
            place = Place(path, line.number)
            try:
                values = _object(line.text)
                picture = named(values, PICTURE_NAMES, "picture")
                if not isinstance(picture, str):
                    raise RowError(f"The picture is {picture!r:.40}; expected the name of a file.")
                captions = checked_captions(named(values, CAPTION_NAMES, "caption"))
                yield Row(place, pictures.find(picture), captions, line.share)
            except RowError as error:
                yield BadRow(place, str(error), line.share)


def read_table(path: Path, pictures: Pictures) -> Iterator[Row | BadRow]:
    """The rows of a table, with or without a line of column names.

    Without one the first column is the picture, and what follows is the caption. Where the caption is the last column,
    it may hold the separator: few people put their captions into quotation marks.

    Raises:
        CaptionFileError: the file as a whole cannot be read, or is no such table.
    """
    lines = _Lines(path)
    first = list(islice(lines, _LOOKED_AT))
    separator = _separator(path, [line.text for line in first if isinstance(line, Line) and line.text.strip()])
    lines.put_back(first)
    columns: _Columns | None = None
    for record in _records(path, lines, separator):
        if isinstance(record, BadRow):
            yield record
            continue
        if columns is None:
            columns, is_header = _columns(record.cells)
            if is_header:
                continue
        place = Place(path, record.line)
        try:
            picture, caption = columns.read(record.cells, separator)
            yield Row(place, pictures.find(picture), checked_captions(caption), record.share)
        except RowError as error:
            yield BadRow(place, str(error), record.share)


def _lines(path: Path) -> Iterator[Line | BadRow]:
    """Each line, decoded; those that cannot be are bad rows."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            number = position = 0
            while data := file.readline(_LONGEST_LINE):
                number += 1
                position += len(data)
                if number == 1:
                    data = _without_mark(path, data)
                is_whole = data.endswith(b"\n") or len(data) < _LONGEST_LINE
                while not data.endswith(b"\n") and (rest := file.readline(_LONGEST_LINE)):
                    position += len(rest)
                    data = rest
                share = position / size if size else 1.0
                if not is_whole:
                    yield BadRow(Place(path, number), f"The line has over {_LONGEST_LINE:,} bytes.", share)
                    continue
                try:
                    yield Line(number, data.decode("utf-8").rstrip("\r\n"), share)
                except UnicodeDecodeError as error:
                    reason = f"The line is not in UTF-8 (byte {error.start + 1} of it); save the file in that encoding."
                    yield BadRow(Place(path, number), reason, share)
    except OSError as error:
        raise CaptionFileError(f"{path} cannot be read: {error.strerror}.") from error


def _without_mark(path: Path, first: bytes) -> bytes:
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CaptionFileError(f"{path} is in UTF-16; save it in UTF-8.")
    return first.removeprefix(codecs.BOM_UTF8)


def _object(text: str) -> dict[str, object]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"The line is no valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise RowError(f"The line is {values!r:.40}; expected a JSON object.")
    return values


# Tables --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Record:
    """A row of a table, which begins in a line."""

    line: int
    cells: list[str]
    share: float


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column is which. `count` of them, or None where no names say how many there are."""

    picture: int
    caption: int
    count: int | None

    def read(self, cells: Sequence[str], separator: str) -> tuple[str, str]:
        expected = self.count or 2
        if len(cells) < expected:
            raise RowError(f"The row has {len(cells)} columns; expected {expected}.")
        if self.caption == expected - 1:
            return cells[self.picture].strip(), separator.join(cells[self.caption :])
        if len(cells) > expected:
            raise RowError(f"The row has {len(cells)} columns; expected {expected}.")
        return cells[self.picture].strip(), cells[self.caption]


def _columns(first: Sequence[str]) -> tuple[_Columns, bool]:
    """The columns, and whether this first row names them."""
    names = [cell.strip().lower() for cell in first]
    picture = next((names.index(name) for name in PICTURE_NAMES if name in names), None)
    caption = next((names.index(name) for name in CAPTION_NAMES if name in names), None)
    if picture is None or caption is None:
        return _Columns(picture=0, caption=1, count=None), False
    return _Columns(picture, caption, len(names)), True


def _separator(path: Path, lines: Sequence[str]) -> str:
    """What separates the columns: what makes names of the first line, else what all of the first lines have."""
    for separator in _SEPARATORS:
        if lines and _columns(next(csv.reader([lines[0]], delimiter=separator)))[1]:
            return separator
    for separator in _SEPARATORS:
        if lines and all(separator in line for line in lines):
            return separator
    for separator in _SEPARATORS:
        if any(separator in line for line in lines):
            return separator
    if not lines:
        raise CaptionFileError(f"{path} is empty; expected a picture's name and a caption in each line.")
    raise CaptionFileError(
        f"{path} is no table: expected a picture's name, a comma or tab, and a caption in each line."
    )


class _Lines(Iterator[Line | BadRow]):
    """A file's lines, which can be put back to be read again."""

    def __init__(self, path: Path) -> None:
        self._lines = _lines(path)
        self._back: deque[Line | BadRow] = deque()

    def __next__(self) -> Line | BadRow:
        return self._back.popleft() if self._back else next(self._lines)

    def put_back(self, lines: Sequence[Line | BadRow]) -> None:
        self._back.extendleft(reversed(lines))


def _records(path: Path, lines: _Lines, separator: str) -> Iterator[_Record | BadRow]:
    """The rows. One may go over several lines, if its cell is in quotation marks."""
    for line in lines:
        if isinstance(line, BadRow):
            yield line
        elif line.text.strip():
            cells = _plain_cells(line.text) if separator == "\t" else _cells(line, lines, separator)
            if isinstance(cells, str):
                yield BadRow(Place(path, line.number), cells, line.share)
            else:
                yield _Record(line.number, cells, line.share)


def _plain_cells(text: str) -> list[str]:
    """Cells between tabs. A quotation mark there is a quotation mark, unless the cell is in them as a whole."""
    return [_unquoted(cell) for cell in text.split("\t")]


def _unquoted(cell: str) -> str:
    inner = cell[1:-1].replace('""', "")
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner
    return cell[1:-1].replace('""', '"') if is_quoted else cell


def _cells(line: Line, following: _Lines, separator: str) -> list[str] | str:
    """The cells of the record that begins in a line, or the reason why it has none; then `following` is as before."""
    taken: list[Line | BadRow] = []
    texts = [line.text + "\n"]
    while True:
        try:
            return next(csv.reader(texts, delimiter=separator, strict=True))
        except csv.Error as error:
            reason = f"The row cannot be taken apart ({error})"
            is_open = "unexpected end of data" in str(error)
        if not is_open or not _read_to_next_mark(following, texts, taken):
            following.put_back(taken)  # they are rows of their own
            reason = "A quotation mark is opened and not closed" if is_open or taken else reason
            return f'{reason}. A caption with such marks is written "like ""this"" one".'


def _read_to_next_mark(lines: _Lines, texts: list[str], taken: list[Line | BadRow]) -> bool:
    """Add the lines up to the next one with a quotation mark; False if there is none near."""
    while len(texts) < _MOST_LINES_OF_A_RECORD and (line := next(lines, None)) is not None:
        taken.append(line)
        if isinstance(line, BadRow):
            return False
        texts.append(line.text + "\n")
        if '"' in line.text:
            return True
    return False
