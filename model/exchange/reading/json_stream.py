"""JSON in bounded memory and time: a document of any size value by value, or an object in a line.

Python's own parser reads each value, after its length is bounded, and with it the length of texts and the depth; the
digits of a number are bounded as well, since parsing takes quadratic time.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.reading.caption_text import shown
from captionloop.model.exchange.reading.rows import RowError
from captionloop.model.exchange.reading.text_files import open_text

LONGEST_VALUE = 2**20  # characters, of a value in a list or an object at the top of a document
_MOST_DIGITS = 100
_CHUNK = 2**16  # bytes
_SPACE = re.compile(r"[ \t\n\r]*")


class _RepeatedName(dict[str, Any]):
    """An object with a repeated name."""

    name = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = _RepeatedName(found)
    names = [name for name, _ in pairs]
    repeated.name = next(name for name in names if names.count(name) > 1)
    return repeated


def _number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits; the limit is {_MOST_DIGITS}")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_number)


def parsed_object(text: str, what: str) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        what: name of the text in messages.

    Raises:
        RowError: it is not valid JSON, not an object, or has a repeated name.
    """
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"The {what} is no valid JSON: {error}.") from error
    return as_object(value, what)


def as_object(value: object, what: str) -> dict[str, Any]:
    """
    Raises:
        RowError: the value is not an object, or has a repeated name.
    """
    if not isinstance(value, dict):
        raise RowError(f"The {what} is {shown(value)}; expected a JSON object.")
    if isinstance(value, _RepeatedName):
        raise RowError(f"The {what} has {value.name!r:.40} more than once; which of them is meant cannot be told.")
    return value


@contextmanager
def open_json(path: Path) -> Iterator[JsonStream]:
    """
    Raises:
        CaptionFileError: the file cannot be read, here or later.
    """
    try:
        with open_text(path) as file:
            yield JsonStream(path, file)
    except OSError as error:
        raise CaptionFileError(f"{path} cannot be read: {error.strerror}.") from error


class JsonStream:
    """A document, read once from its beginning."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._size = max(path.stat().st_size, 1)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0  # the decoded buffer, and the position in it
        self._bytes = self._lines = 0  # consumed before the buffer
        self._is_value_due = self._is_at_end = False

    @property
    def share(self) -> float:
        """Share of the file that is read, 0 to 1."""
        return min(self._bytes / self._size, 1.0)

    def peek(self) -> str:
        """The next character that is not white space; empty at the end.

        Raises:
            CaptionFileError: the file is not in UTF-8.
        """
        self._at = _end_of_space(self._text, self._at)
        while self._at == len(self._text) and self._fill():
            self._at = _end_of_space(self._text, self._at)
        return self._text[self._at : self._at + 1]

    def members(self) -> Iterator[str]:
        """The names in an object. After each, its value may be read by `value`, or by exhausting `items`.

        Raises:
            CaptionFileError: it is not valid JSON.
        """
        for _ in self._between("{", "}"):
            name = self.value()
            if not isinstance(name, str):
                raise self._invalid(f"expected a name, found {shown(name)}")
            self._take(":")
            self._is_value_due = True
            yield name
            if self._is_value_due:
                self._skip()

    def items(self) -> Iterator[Any]:
        """The values in a list. Errors as of `members` and `value`."""
        self._is_value_due = False
        for _ in self._between("[", "]"):
            yield self.value()

    def value(self) -> Any:
        """The next value as a whole.

        Raises:
            CaptionFileError: it is too long, nested too deeply, or not valid JSON.
        """
        self._is_value_due = False
        self.peek()
        while True:
            problem: json.JSONDecodeError | None = None
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if end < len(self._text) or self._is_at_end:  # else a number may continue
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                problem = error
            except RecursionError as error:
                raise self._invalid("a value is nested too deeply") from error
            except ValueError as error:
                raise self._invalid(str(error)) from error
            if len(self._text) - self._at > LONGEST_VALUE:
                raise self._too_long(problem)
            if not self._fill() and problem is not None:
                raise self._invalid(problem.msg)

    def finish(self) -> None:
        """
        Raises:
            CaptionFileError: something follows the document.
        """
        if self.peek():
            raise self._invalid("something follows after its end")

    def _skip(self) -> None:
        following = self.peek()
        if following == "[":
            for _ in self.items():
                pass
        elif following == "{":
            self._is_value_due = False
            for _ in self._between("{", "}"):
                self.value()
                self._take(":")
                self.value()
        else:
            self.value()

    def _between(self, opening: str, closing: str) -> Iterator[None]:
        """Yields once before each comma-separated element."""
        self._take(opening)
        if self.peek() == closing:
            self._at += 1
            return
        while True:
            yield
            if self.peek() == closing:
                self._at += 1
                return
            self._take(",")

    def _take(self, expected: str) -> None:
        if self.peek() != expected:
            raise self._invalid(f"expected {expected!r}, found {self.peek() or 'its end'!r}")
        self._at += 1

    def _fill(self) -> bool:
        """Decode the next chunk, and drop what is read; False at the end of the file."""
        self._lines += self._text.count("\n", 0, self._at)
        data = self._file.read(_CHUNK)
        self._bytes += len(data)
        self._is_at_end = not data
        try:
            self._text = self._text[self._at :] + self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            place = self._bytes - len(data) + error.start + 1
            raise CaptionFileError(f"{self._path} is not in UTF-8 (byte {place}); save it in that encoding.") from error
        self._at = 0
        return bool(data)

    def _too_long(self, problem: json.JSONDecodeError | None) -> CaptionFileError:
        is_cut_off = problem is None or problem.pos > LONGEST_VALUE or problem.msg.startswith("Unterminated")
        return self._invalid(
            f"a value has over {LONGEST_VALUE:,} characters" if is_cut_off or problem is None else problem.msg
        )

    def _invalid(self, what: str) -> CaptionFileError:
        line = 1 + self._lines + self._text.count("\n", 0, self._at)
        return CaptionFileError(f"{self._path} is no valid JSON: {what} (in line {line}).")


def _end_of_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start
