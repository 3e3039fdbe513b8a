"""Small cartoon scenes of everyday things, and the one caption that the starter model writes for each.

A scene is plain data; `draw` makes the picture, `caption` the canonical caption, `wordings` one of very many other ways
to say the same. Everything that a caption names can be told from the picture alone, the order of mention included:

* two things: whoever is on the left, above or in front is named first;
* three things: the first is above the other two (named from left to right), or to the left of them (named from top to
  bottom).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from captionloop.model.starter.drawing import draw
from captionloop.model.starter.wordings import wordings

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "KINDS",
    "RELATIONS",
    "SIZES",
    "Scene",
    "Thing",
    "caption",
    "draw",
    "random_scene",
    "wordings",
]

KINDS = ("house", "tree", "car", "boat", "fish", "cat", "sun", "cloud", "flower", "umbrella")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SIZES = ("small", "large")
RELATIONS = ("to the left of", "above", "in front of")
BACKGROUNDS = ("plain", "sky", "grass", "sand", "dots", "stripes")

_MOST_THINGS = 3
# Two things show a relation, which is what a visitor should meet most; three fill a picture of 96 pixels to the edge.
_COUNT_WEIGHTS = (7, 10, 3)

_Choice = TypeVar("_Choice")


@dataclass(frozen=True)
class Thing:
    """One thing in a scene, in the words of the canonical caption."""

    kind: str
    colour: str
    size: str

    def __post_init__(self) -> None:
        _require("kind", self.kind, KINDS)
        _require("colour", self.colour, COLOURS)
        _require("size", self.size, SIZES)


@dataclass(frozen=True)
class Scene:
    """The content of a picture.

    Args:
        things: one to three, in the order of mention; no two of the same kind.
        relation: how the first thing lies to the others; None exactly when it is alone.
        background: what is behind the things. The canonical caption does not mention it.
    """

    things: tuple[Thing, ...]
    relation: str | None
    background: str = "plain"

    def __post_init__(self) -> None:
        if not 1 <= len(self.things) <= _MOST_THINGS:
            raise ValueError(f"things: expected 1 to {_MOST_THINGS}, found {len(self.things)}")
        if len({thing.kind for thing in self.things}) < len(self.things):
            raise ValueError("things: two of the same kind; a caption could not tell them apart")
        if (self.relation is None) != (len(self.things) == 1):
            raise ValueError(f"relation: {self.relation!r} does not fit {len(self.things)} thing(s)")
        if self.relation is not None:
            _require("relation", self.relation, _relations_of(len(self.things)))
        _require("background", self.background, BACKGROUNDS)


def random_scene(rng: random.Random) -> Scene:
    """A scene with one (35 %), two (50 %) or three (15 %) things; all else is uniform and independent."""
    count = rng.choices((1, 2, 3), weights=_COUNT_WEIGHTS)[0]
    kinds = rng.sample(KINDS, count)
    things = tuple(Thing(kind, rng.choice(COLOURS), rng.choice(SIZES)) for kind in kinds)
    relation = rng.choice(_relations_of(count)) if count > 1 else None
    return Scene(things, relation, rng.choice(BACKGROUNDS))


def caption(scene: Scene) -> str:
    """The canonical caption, e.g. `a small red car to the left of a large green tree`."""
    phrases = [f"a {thing.size} {thing.colour} {thing.kind}" for thing in scene.things]
    if scene.relation is None:
        return phrases[0]
    return f"{phrases[0]} {scene.relation} {' and '.join(phrases[1:])}"


def _relations_of(count: int) -> Sequence[str]:
    # Three overlapping things would hide each other at 96 pixels.
    return RELATIONS if count < _MOST_THINGS else RELATIONS[:2]


def _require(name: str, value: _Choice, choices: Sequence[_Choice]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(str, choices))}; found {value!r}")
