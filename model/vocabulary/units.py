"""Units of texts without spaces: neighbouring characters that hardly ever occur apart are joined.

In Chinese captions 汽 is always followed by 车, and 猫 by anything: "汽车" is a unit, "猫在" is none. Characters that
are often neighbours but also occur apart ("小猫": there are other small things and other cats) stay apart, so that a
new combination of them is written with what was learnt of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

_LONGEST = 6  # characters
_FEWEST = 3  # times that a pair has to come
_HARDLY_EVER_APART = 0.9  # share of the rarer one's places at which the other is beside it


def units(runs: Mapping[str, int]) -> dict[str, list[str]]:
    """Each run as the units it is made of.

    Args:
        runs: text without spaces → how often it comes.
    """
    cut = {run: list(run) for run in runs}
    while pairs := _inseparable(cut, runs):
        cut = {run: _joined(parts, pairs) for run, parts in cut.items()}
    return cut


def _inseparable(cut: Mapping[str, Sequence[str]], counts: Mapping[str, int]) -> frozenset[tuple[str, str]]:
    """Pairs to join at once: those that are the closest of both their parts."""
    single: Counter[str] = Counter()
    double: Counter[tuple[str, str]] = Counter()
    for run, parts in cut.items():
        for part in parts:
            single[part] += counts[run]
        for pair in pairwise(parts):
            double[pair] += counts[run]

    def closeness(pair: tuple[str, str]) -> tuple[float, int, tuple[str, str]]:
        return double[pair] ** 2 / (single[pair[0]] * single[pair[1]]), double[pair], pair

    chosen: set[tuple[str, str]] = set()
    taken: set[str] = set()
    for pair in sorted(filter(lambda pair: _is_close(pair, double[pair], single), double), key=closeness, reverse=True):
        if not taken & set(pair):
            chosen.add(pair)
        taken |= set(pair)  # what waits for a closer one joins no other meanwhile
    return frozenset(chosen)


def _is_close(pair: tuple[str, str], count: int, single: Mapping[str, int]) -> bool:
    left, right = pair
    return (
        count >= _FEWEST
        and len(left) + len(right) <= _LONGEST
        and count >= _HARDLY_EVER_APART * min(single[left], single[right])
    )


def _joined(parts: Sequence[str], pairs: frozenset[tuple[str, str]]) -> list[str]:
    """Pairs made one, from the left."""
    made: list[str] = []
    place = 0
    while place < len(parts):
        is_pair = tuple(parts[place : place + 2]) in pairs
        made.append("".join(parts[place : place + 2]) if is_pair else parts[place])
        place += 2 if is_pair else 1
    return made
