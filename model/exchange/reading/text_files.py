"""Text files in UTF-8, with or without a byte order mark, or in UTF-16 with one; line by line."""

from __future__ import annotations

import codecs
import errno
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.reading.directory import open_regular
from captionloop.model.exchange.reading.rows import BadRow, Place, RowError

if TYPE_CHECKING:
    from typing_extensions import Buffer

LONGEST_LINE = 2**20  # bytes
_CHUNK = 2**16  # bytes
_HALF = re.compile("[\ud800-\udfff]")  # a lone surrogate, which UTF-8 cannot encode: its line is a bad row
_MOST_HALVES = 1000  # in a file; each costs time
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its line break; `share` of the file is read so far, 0 to 1."""

    number: int
    text: str
    share: float


def lines(path: Path) -> Iterator[Line | BadRow]:
    """The lines, numbered from 1; those that are too long or not in the file's encoding are bad rows.

    Raises:
        CaptionFileError: the file cannot be read.
    """
    try:
        with open_text(path) as file:
            size = path.stat().st_size
            number = position = 0
            while data := file.readline(LONGEST_LINE):
                number += 1
                position += len(data)
                is_whole = data.endswith(b"\n") or len(data) < LONGEST_LINE
                while not data.endswith(b"\n") and (rest := file.readline(LONGEST_LINE)):
                    position += len(rest)
                    data = rest
                yield _line(path, number, data if is_whole else None, min(position / size, 1.0))
    except OSError as error:
        raise CaptionFileError(f"{path} cannot be read: {error.strerror}.") from error


def _line(path: Path, number: int, data: bytes | None, share: float) -> Line | BadRow:
    if data is None:
        return BadRow(Place(path, number), f"The line has over {LONGEST_LINE:,} bytes.", share)
    try:
        return Line(number, data.decode("utf-8").rstrip("\r\n"), share)
    except UnicodeDecodeError as error:
        reason = f"The line is not in UTF-8 (byte {error.start + 1} of it); save the file in that encoding."
        return BadRow(Place(path, number), reason, share)


def open_text(path: Path) -> BinaryIO:
    """A text file as UTF-8 without a byte order mark; lines end with `\\n` (perhaps after `\\r`).

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    file = open_regular(path)
    begin = file.read(_CHUNK)
    encoding = _UTF16.get(begin[:2])
    file.seek(2 if encoding else 3 if begin.startswith(codecs.BOM_UTF8) else 0)
    if encoding:
        return io.BufferedReader(_Recoded(file, _from(encoding)))
    if b"\r" in begin and b"\n" not in begin:
        return io.BufferedReader(_Recoded(file, lambda data: data.replace(b"\r", b"\n")))
    return file


def decoded(data: bytes) -> str:
    """The text of a small file.

    Raises:
        RowError: it is not in one of the encodings.
    """
    encoding = next((name for mark, name in _UTF16.items() if data.startswith(mark)), None)
    try:
        return data[2:].decode(encoding) if encoding else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RowError(f"The text is not in UTF-8 (byte {error.start + 1}); save it in that encoding.") from error


def _from(encoding: str) -> Callable[[bytes], bytes]:
    """A function that recodes a chunk of a UTF-16 file as UTF-8; the last chunk is empty."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    halves = 0

    def recode(data: bytes) -> bytes:
        nonlocal halves
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError:  # the file ends within a character
            return b"\xff"  # not valid UTF-8
        halves += len(_HALF.findall(text))
        if halves > _MOST_HALVES:
            raise OSError(errno.EILSEQ, "it is no text in UTF-16")
        return text.encode("utf-8", "surrogatepass")

    return recode


class _Recoded(io.RawIOBase):
    """A file whose chunks are passed through `recode` when read."""

    def __init__(self, file: BinaryIO, recode: Callable[[bytes], bytes]) -> None:
        self._file, self._recode = file, recode
        self._waiting = b""
        self._is_at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        while not self._waiting and not self._is_at_end:
            data = self._file.read(_CHUNK)
            self._waiting = self._recode(data)
            self._is_at_end = not data
        count = min(len(view), len(self._waiting))
        view[:count], self._waiting = self._waiting[:count], self._waiting[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
