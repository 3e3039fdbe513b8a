"""Rows with their pictures looked at: a row whose picture cannot be used is a bad one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from captionloop.batches import batches
from captionloop.errors import ImageError
from captionloop.model.exchange.reading.rows import BadRow, PictureBytes, Row

_BATCH = 200  # rows
_PICTURES_AT_ONCE = 4

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class UsableRow(Generic[_Found]):
    """A row, and what was found in its picture."""

    row: Row
    found: _Found


def usable_rows(
    rows: Iterable[Row | BadRow], look: Callable[[PictureBytes], _Found]
) -> Iterator[UsableRow[_Found] | BadRow]:
    """The rows in their order.

    Args:
        look: reads a picture, in one of several threads; an ImageError of it is the row's reason.
    """

    def tried(picture: PictureBytes) -> _Found | ImageError:
        try:
            return look(picture)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(_PICTURES_AT_ONCE) as threads:
        for some in batches(rows, _BATCH):
            pictures = list(dict.fromkeys(row.picture for row in some if isinstance(row, Row)))
            found = dict(zip(pictures, threads.map(tried, pictures), strict=True))
            for row in some:
                yield row if isinstance(row, BadRow) else _usable(row, found[row.picture])


def _usable(row: Row, found: _Found | ImageError) -> UsableRow[_Found] | BadRow:
    return BadRow(row.place, str(found), row.share) if isinstance(found, ImageError) else UsableRow(row, found)
