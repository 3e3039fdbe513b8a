"""The members of an uncompressed tar archive, with the location of their bytes.

Headers are parsed by `tarfile`. Extension headers (PAX, GNU: another name or size) are parsed here, since `tarfile`
trusts them: a negative size makes it loop, and a huge one exhausts memory.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK = 512
_LONGEST_EXTENSION = 2**20  # bytes of an extension header
_MOST_ZEROS = 2**20  # bytes between concatenated archives; tar itself ends one with up to 10,240
_FILES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_WITHOUT_DATA = frozenset(
    {tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE}
)
_PAX = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})
# Offset of the flag in GNU's sparse headers that another one follows.
_GOES_ON, _STILL_GOES_ON = 482, 504


class DamagedArchive(Exception):
    """An archive that cannot be read to its end; the message is a part of a sentence."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member: `size` bytes from `offset` on, which are not its plain content if `is_sparse`."""

    name: str
    offset: int
    size: int
    is_sparse: bool = False


def members(file: BinaryIO, size: int) -> Iterator[Member]:
    """The files in an archive, in order; archives may be concatenated.

    Args:
        size: of the archive, in bytes.

    Raises:
        DamagedArchive: it is not a tar archive, or damaged.
    """
    position = zeros = 0
    extended: dict[str, str] = {}  # extension headers of the next member
    while position < size and zeros < _MOST_ZEROS:
        block = _read(file, position, _BLOCK)
        if not any(block):
            position += _BLOCK
            zeros += _BLOCK
            continue
        zeros = 0
        header = _header(block)
        begin = position + _BLOCK
        if header.type == tarfile.GNUTYPE_SPARSE:
            begin = _after_sparse_headers(file, block, begin)
        length = _size(header, extended)
        if begin + length > size:
            raise DamagedArchive(f"{extended.get('path', header.name)} is cut short")
        position = begin + (length + _BLOCK - 1) // _BLOCK * _BLOCK
        if header.type in _PAX:
            extended |= _records(_extension(file, begin, length))
        elif header.type == tarfile.GNUTYPE_LONGNAME:
            extended["path"] = _text(_extension(file, begin, length).partition(b"\0")[0])
        elif header.type not in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
            name = extended.get("path", header.name)
            is_sparse = header.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in extended)
            if (header.type in _FILES or is_sparse) and not name.endswith("/"):
                yield Member(name, begin, length, is_sparse)
            extended = {}


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    data = file.read(size)
    if len(data) < size:
        raise DamagedArchive("it is cut short")
    return data


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        raise DamagedArchive(f"{error}") from error
    if header.size < 0:
        raise DamagedArchive(f"{header.name} has a size below zero")
    return header


def _size(header: tarfile.TarInfo, extended: Mapping[str, str]) -> int:
    if header.type in _WITHOUT_DATA:
        return 0
    if header.type in _FILES and (said := extended.get("size")) is not None:
        if not (said.isascii() and said.isdigit() and len(said) < 20):
            raise DamagedArchive(f"{extended.get('path', header.name)} has the size {said:.20}")
        return int(said)
    return header.size


def _after_sparse_headers(file: BinaryIO, block: bytes, position: int) -> int:
    goes_on = block[_GOES_ON]
    while goes_on:
        goes_on = _read(file, position, _BLOCK)[_STILL_GOES_ON]
        position += _BLOCK
    return position


def _extension(file: BinaryIO, position: int, size: int) -> bytes:
    if size > _LONGEST_EXTENSION:
        raise DamagedArchive(f"a header of {size:,} bytes")
    return _read(file, position, size)


def _records(data: bytes) -> dict[str, str]:
    """The records of a PAX header, each `LENGTH NAME=VALUE\\n`."""
    found: dict[str, str] = {}
    position = 0
    while position < len(data) and data[position]:
        length, space, _ = data[position : position + 20].partition(b" ")
        end = position + int(length) if space and length.isdigit() and len(length) < 8 else 0
        name, is_record, value = data[position + len(length) + 1 : end - 1].partition(b"=")
        if not is_record or end > len(data):
            raise DamagedArchive("an extended header is damaged")
        found[_text(name)] = _text(value)
        position = end
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
