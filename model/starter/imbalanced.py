"""A pool of drawn scenes as real pools are: most of them easy and alike, few of them of all sorts."""

from __future__ import annotations

import random

from captionloop.model.starter.scenes import BACKGROUNDS, COLOURS, KINDS, SIZES, Scene, Thing, random_scene

_COMMON_KINDS, _COMMON_COLOURS = KINDS[:3], COLOURS[:3]


def imbalanced_scene(rng: random.Random, *, easy: float) -> Scene:
    """With this probability a single house, tree or car in red, orange or yellow, of which there are 18 captions; else
    any scene, as `random_scene` makes them."""
    if rng.random() < easy:
        thing = Thing(rng.choice(_COMMON_KINDS), rng.choice(_COMMON_COLOURS), rng.choice(SIZES))
        return Scene((thing,), None, rng.choice(BACKGROUNDS))
    return random_scene(rng)
