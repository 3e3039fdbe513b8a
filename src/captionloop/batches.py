"""A long row of things, some at a time: as `itertools.batched`, which Python 3.11 lacks, but in lists."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in their order, `size` at a time; the last may be fewer. An iterator is read no further ahead."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
