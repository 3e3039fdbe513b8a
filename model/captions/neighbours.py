"""What is written in one way here and in another there: counted by a token's neighbours, with back-off.

"Sign" in "American Sign Language" and "sign" in "a stop sign" are one word to the model, and so are a mark that holds
on to its neighbour and one that does not. What decides is the nearest context that was met: both neighbours, the one
before, the one after, else what is written without any. Only what differs from that is kept: a table for each kind of
context, as in the back-off models of Katz 1987 (doi 10.1109/TASSP.1987.1165125), with majorities for probabilities.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Generic, NamedTuple, TypeVar

from pydantic import ConfigDict

_T = TypeVar("_T", bound=Hashable)

# Times that a context has to be met. With both neighbours it says little about other captions, and may be met once.
_FEWEST = {"after": 2, "before": 2, "both": 1}


class Place(NamedTuple):
    """A token and its neighbours, in lower case; "" where the caption begins or ends."""

    before: str
    token: str
    after: str


@dataclass(frozen=True)
class Neighbours(Generic[_T]):
    """What is written in a context: keys are tokens with a space between them, as none has one inside.

    Args:
        both: "before token after" → what is written there.
        before: "before token" → the same.
        after: "token after" → the same.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")  # not strict: from JSON they come as objects and lists

    both: Mapping[str, _T] = field(default_factory=dict)
    before: Mapping[str, _T] = field(default_factory=dict)
    after: Mapping[str, _T] = field(default_factory=dict)

    def at(self, place: Place) -> _T | None:
        """What the nearest context that is known says; None when none is."""
        tables = {"both": self.both, "before": self.before, "after": self.after}
        return next((tables[name][key] for name, key in _keys(place).items() if key in tables[name]), None)


class Met(NamedTuple, Generic[_T]):
    """What stood somewhere in a caption, and what would have been written there without any context."""

    place: Place
    found: _T
    otherwise: _T


def learn(met: Iterable[Met[_T]]) -> Neighbours[_T]:
    """What contexts say that differs from what is written without them."""
    counts = Counter(met)
    known: Neighbours[_T] = Neighbours()
    # From the widest context to the nearest: each only has to say where the wider ones are wrong.
    for name, fewest in _FEWEST.items():
        known = replace(known, **{name: _exceptions(name, fewest, counts, known)})
    return known


def _exceptions(name: str, fewest: int, counts: Mapping[Met[_T], int], known: Neighbours[_T]) -> dict[str, _T]:
    found: dict[str, Counter[_T]] = defaultdict(Counter)
    wrong: Counter[str] = Counter()
    for met, count in counts.items():
        key, said = _keys(met.place)[name], known.at(met.place)
        found[key][met.found] += count
        wrong[key] += count * ((met.otherwise if said is None else said) != met.found)
    kept: dict[str, _T] = {}
    for key, forms in found.items():
        form, count = max(forms.items(), key=lambda item: item[1])
        # It has to be right more often than what is there already.
        if count >= fewest and 2 * count > forms.total() and forms.total() - count < wrong[key]:
            kept[key] = form
    return kept


def _keys(place: Place) -> dict[str, str]:
    before, token, after = place
    return {"both": f"{before} {token} {after}", "before": f"{before} {token}", "after": f"{token} {after}"}
