"""Tables separated by commas, tabs or the like, with or without a line of column names."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.reading.fields import CAPTION_NAMES, PICTURE_NAMES, SPLIT_NAMES, plain
from captionloop.model.exchange.reading.pictures import has_picture_name
from captionloop.model.exchange.reading.rows import BadRow, Entry, Place, RowError
from captionloop.model.exchange.reading.text_files import LONGEST_LINE, Line, lines

# Of a row, so that an unclosed quotation mark does not consume the file.
_MOST_LINES = 100
_SEPARATORS = ("\t", ",", ";", "|")
_MOST_SHOWN = 10  # columns
_LOOKED_AT = 20  # lines, to find the separator
_SAID = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # a first line as Excel understands it


def read_table(path: Path) -> Iterator[Entry | BadRow]:
    """The rows of a table.

    Without a header the first column is the picture, and the rest is the caption. If the caption is the last column it
    may contain the separator, since few people quote captions. A first line that seems to be a header of other names is
    a bad row.

    Raises:
        CaptionFileError: the file as a whole cannot be read, or is not such a table.
    """
    rest = _Lines(path)
    separator, has_unknown_names = _separator(path, rest)
    columns: _Columns | None = None
    for record in _records(path, rest, separator):
        if isinstance(record, BadRow):
            yield record
        elif columns is None:
            columns, is_header = _columns(path, record.cells)
            if not is_header and has_unknown_names:
                yield BadRow(Place(path, record.line), _taken_in_order(record.cells), record.share)
            elif not is_header:
                yield _entry(path, record, columns, separator)
        else:
            yield _entry(path, record, columns, separator)


@dataclass(frozen=True, slots=True)
class _Record:
    """A row of a table, with its first line."""

    line: int
    cells: list[str]
    share: float


@dataclass(frozen=True, slots=True)
class _Columns:
    """The meaning of the columns. `count` is their number, or None without a header."""

    picture: int
    caption: int
    split: int | None
    count: int | None

    def caption_in(self, cells: Sequence[str], separator: str) -> str:
        """
        Raises:
            RowError: the row has too many or too few cells.
        """
        expected = self.count or 2
        if len(cells) < expected or (len(cells) > expected and self.caption != expected - 1):
            raise RowError(f"The row has {len(cells)} columns; expected {expected}.")
        if self.caption < expected - 1:
            return cells[self.caption]
        caption = separator.join(cells[self.caption :])
        return _unquoted(caption.strip()) if caption[:1].isspace() else caption


def _entry(path: Path, record: _Record, columns: _Columns, separator: str) -> Entry | BadRow:
    place = Place(path, record.line)
    try:
        caption = columns.caption_in(record.cells, separator)
    except RowError as error:
        return BadRow(place, str(error), record.share)
    split = record.cells[columns.split].strip() if columns.split is not None else None
    return Entry(place, record.cells[columns.picture], caption, record.share, split=split or None)


def _columns(path: Path, first: Sequence[str]) -> tuple[_Columns, bool]:
    """The columns, and whether this first row is a header.

    Raises:
        CaptionFileError: a relevant column name occurs twice, or only one of picture and caption is named.
    """
    names = [plain(cell) for cell in first]
    picture, caption, split = (_known_name(names, known) for known in (PICTURE_NAMES, CAPTION_NAMES, SPLIT_NAMES))
    if picture is None or caption is None:
        if picture != caption and not has_picture_name(first[0]):
            raise _unknown_names(path, first)
        return _Columns(picture=0, caption=1, split=None, count=None), False
    for name in (picture, caption):
        if names.count(name) > 1:
            raise CaptionFileError(f"{path} has several columns {name!r}; leave one of them.")
    return _Columns(
        picture=names.index(picture),
        caption=names.index(caption),
        split=names.index(split) if split is not None else None,
        count=len(names),
    ), True


def _known_name(names: Sequence[str], known: Sequence[str]) -> str | None:
    return next((name for name in known if name in names), None)


def _names_columns(cells: Sequence[str]) -> bool:
    names = [plain(cell) for cell in cells]
    return _known_name(names, PICTURE_NAMES) is not None and _known_name(names, CAPTION_NAMES) is not None


def _has_unknown_names(texts: Sequence[str], separator: str) -> bool:
    """Whether these lines begin with names of columns, of which none says what it is."""
    first, *others = ([has_picture_name(cell) for cell in _cells_of(text, separator)] for text in texts[:2])
    return not any(first) and any(map(any, others))


def _are_in_order(texts: Sequence[str], separator: str) -> bool:
    """Whether the columns are picture and caption: of more, everything behind the picture would pass for it."""
    first, *others = (_cells_of(text, separator) for text in texts[:2])
    return len(first) <= 2 and all(has_picture_name(cells[0]) for cells in others)


def _taken_in_order(names: Sequence[str]) -> str:
    return (
        f"The line seems to name the columns, {_listed(names)}; {_LOOKED_FOR}. So the first is taken for the picture, "
        "the second for the caption."
    )


def _unknown_names(path: Path, names: Sequence[str]) -> CaptionFileError:
    found = [plain(name) for name in names]
    wanted = (("picture", PICTURE_NAMES), ("caption", CAPTION_NAMES))
    missing = " and which the ".join(what for what, known in wanted if _known_name(found, known) is None)
    return CaptionFileError(
        f"{path} has the columns {_listed(names)}; which one holds the {missing} cannot be told. "
        f"{_LOOKED_FOR.capitalize()}."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"{name.strip():.40}" for name in names[:_MOST_SHOWN])


_LOOKED_FOR = (
    f"looked for were {', '.join(PICTURE_NAMES)} for the picture, and {', '.join(CAPTION_NAMES)} for the caption"
)


# Separators ----------------------------------------------------------------------------------------------------------


def _separator(path: Path, rest: _Lines) -> tuple[str, bool]:
    """The separator, and whether the first line has names of columns that are not known.

    Lines that were read are pushed back, except a `sep=` line.
    """
    first = list(islice(rest, _LOOKED_AT))
    texts = [line.text for line in first if isinstance(line, Line) and line.text.strip()]
    if texts and (said := _SAID.fullmatch(texts[0])):
        rest.put_back(first[1:])
        return said.group(1), False
    rest.put_back(first)
    if not texts:
        raise CaptionFileError(f"{path} is empty; expected a picture's name and a caption in each line.")
    names_columns = [separator for separator in _SEPARATORS if _names_columns(_cells_of(texts[0], separator))]
    if names_columns:
        return names_columns[0], False
    found = max(_SEPARATORS, key=lambda separator: _fitness(texts, separator))
    if not any(found in text for text in texts):
        raise CaptionFileError(
            f"{path} is no table: expected a picture's name, a comma or tab, and a caption in each line."
        )
    has_unknown_names = _has_unknown_names(texts, found)
    if has_unknown_names and not _are_in_order(texts, found):
        raise _unknown_names(path, _cells_of(texts[0], found))
    return found, has_unknown_names


def _fitness(texts: Sequence[str], separator: str) -> tuple[int, bool, bool]:
    """How many lines have a picture's name before the separator; whether all, or any, contain it."""
    having = [text for text in texts if separator in text]
    pictures = sum(has_picture_name(_cells_of(text, separator)[0]) for text in having)
    return pictures, len(having) == len(texts), bool(having)


def _cells_of(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=separator))
    except csv.Error:
        return text.split(separator)


# Rows ----------------------------------------------------------------------------------------------------------------


class _Lines(Iterator[Line | BadRow]):
    """A file's lines, with push-back."""

    def __init__(self, path: Path) -> None:
        self._lines = lines(path)
        self._back: deque[Line | BadRow] = deque()

    def __next__(self) -> Line | BadRow:
        return self._back.popleft() if self._back else next(self._lines)

    def put_back(self, lines: Sequence[Line | BadRow]) -> None:
        self._back.extendleft(reversed(lines))


def _records(path: Path, rest: _Lines, separator: str) -> Iterator[_Record | BadRow]:
    """The rows. A quoted cell may span several lines."""
    for line in rest:
        if isinstance(line, BadRow):
            yield line
        elif line.text.strip():
            try:
                cells = _between_tabs(line.text) if separator == "\t" else _cells(line, rest, separator)
                yield _Record(line.number, cells, line.share)
            except RowError as error:
                yield BadRow(Place(path, line.number), str(error), line.share)


def _between_tabs(text: str) -> list[str]:
    """Tab-separated cells. Quotation marks are literal, unless they enclose the whole cell."""
    return [_unquoted(cell) for cell in text.split("\t")]


def _unquoted(cell: str) -> str:
    inner = cell[1:-1].replace('""', "")
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner
    return cell[1:-1].replace('""', '"') if is_quoted else cell


def _cells(line: Line, following: _Lines, separator: str) -> list[str]:
    """The cells of the row that begins with a line.

    Raises:
        RowError: it cannot be parsed; then the lines taken from `following` are pushed back, as rows of their own.
    """
    taken: list[Line | BadRow] = []
    try:
        cells = next(csv.reader(_of_a_row(line, following, taken), delimiter=separator, strict=True))
        if any(_begins_a_row(more, separator) for more in taken):
            raise RowError(f"{_OPEN_MARK} before the next row begins.{_HOW_TO_WRITE}")
        return cells
    except csv.Error as error:
        following.put_back(taken)
        is_open = taken or "unexpected end of data" in str(error)
        reason = f"{_OPEN_MARK}." if is_open else f"The row cannot be taken apart ({error})."
        raise RowError(reason + _HOW_TO_WRITE) from error
    except RowError:
        following.put_back(taken)
        raise


_OPEN_MARK = "A quotation mark is opened and not closed"
_HOW_TO_WRITE = ' A caption with such marks is written "like ""this"" one".'


def _of_a_row(line: Line, following: _Lines, taken: list[Line | BadRow]) -> Iterator[str]:
    """The lines that a row may span; those after the first are added to `taken` when they are consumed."""
    yield line.text + "\n"
    length = len(line.text)
    for more in islice(following, _MOST_LINES - 1):
        taken.append(more)
        if isinstance(more, BadRow) or length > LONGEST_LINE:
            return
        length += len(more.text)
        yield more.text + "\n"


def _begins_a_row(line: Line | BadRow, separator: str) -> bool:
    return isinstance(line, Line) and separator in line.text and has_picture_name(line.text.split(separator)[0])
