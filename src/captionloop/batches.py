"""Batches of an iterable: `itertools.batched`, which Python 3.11 lacks, but with lists."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`; the last may be shorter. An iterator is read one batch at a time."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
