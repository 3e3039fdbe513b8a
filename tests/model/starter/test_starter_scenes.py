"""The drawn scenes of the starter model: reproducible, in proportion, and captioned truly."""

import random
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from captionloop.model.starter.drawing import layout
from captionloop.model.starter.scenes import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    RELATIONS,
    SIZES,
    Scene,
    Thing,
    caption,
    draw,
    random_scene,
    wordings,
)
from captionloop.model.starter.vocabulary import words

CAR = Thing("car", "red", "small")
TREE = Thing("tree", "green", "large")
SUN = Thing("sun", "yellow", "small")


def scenes(count: int) -> list[Scene]:
    rng = random.Random(7)
    return [random_scene(rng) for _ in range(count)]


def pixels(scene: Scene, *, size: int = 96, seed: int = 0) -> NDArray[np.int_]:
    return np.asarray(draw(scene, size, seed)).astype(int)


def test_scenes_have_ten_kinds_of_things_and_eight_colours_or_more() -> None:
    assert len(KINDS) >= 10
    assert len(COLOURS) >= 8
    assert len(SIZES) == 2
    assert len(RELATIONS) == 3


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (Scene((CAR,), None), "a small red car"),
        (Scene((CAR, TREE), "to the left of"), "a small red car to the left of a large green tree"),
        (Scene((SUN, TREE), "above"), "a small yellow sun above a large green tree"),
        (Scene((CAR, TREE), "in front of"), "a small red car in front of a large green tree"),
        (Scene((SUN, CAR, TREE), "above"), "a small yellow sun above a small red car and a large green tree"),
    ],
)
def test_the_caption_names_every_thing_and_how_they_lie(scene: Scene, expected: str) -> None:
    assert caption(scene) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), None), "things: expected 1 to 3, found 0"),
        (((CAR,), "above"), "relation: 'above' does not fit 1 thing"),
        (((CAR, TREE), None), "relation: None does not fit 2 thing"),
        (((CAR, TREE), "inside"), "relation: expected one of"),
        (((CAR, CAR), "above"), "two of the same kind"),
        (((SUN, CAR, TREE), "in front of"), "relation: expected one of"),
        (((CAR,), None, "fog"), "background: expected one of"),
    ],
)
def test_a_scene_that_cannot_be_drawn_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Scene(*arguments)


@pytest.mark.parametrize("size", [96, 480])
def test_the_same_scene_and_seed_give_the_same_pixels(size: int) -> None:
    for scene in scenes(6):
        assert np.array_equal(pixels(scene, size=size, seed=3), pixels(scene, size=size, seed=3))


def test_another_seed_gives_another_picture_of_the_same_scene() -> None:
    scene = Scene((CAR, TREE), "to the left of")
    assert not np.array_equal(pixels(scene, seed=1), pixels(scene, seed=2))


def test_a_picture_for_people_shows_what_the_small_one_shows() -> None:
    for seed, scene in enumerate(scenes(6)):
        small = pixels(scene, seed=seed)
        large = np.asarray(draw(scene, 480, seed).resize((96, 96))).astype(int)
        assert np.abs(small - large).mean() < 6


def test_the_relation_can_be_read_off_the_places() -> None:
    for seed, scene in enumerate(scenes(300)):
        first, *others = layout(scene, seed=seed)
        for other in others:
            reach = first.radius + other.radius
            if scene.relation == "to the left of":
                assert other.x - first.x > reach
            elif scene.relation == "above":
                assert other.y - first.y > reach
            else:
                assert abs(other.x - first.x) < reach
                assert 0 < first.y - other.y < reach


def test_everything_lies_inside_the_picture() -> None:
    for seed, scene in enumerate(scenes(300)):
        for place in layout(scene, seed=seed):
            for middle in (place.x, place.y):
                assert place.radius <= middle <= 1 - place.radius


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fills_twenty_pixels_and_large_is_plainly_larger(kind: str) -> None:
    extents = {}
    for size in SIZES:
        thing = Scene((Thing(kind, "red", size),), None)
        picture = pixels(thing, seed=4)
        changed = np.abs(picture - picture[0, 0]).max(axis=2) > 40
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        extents[size] = max(np.ptp(rows), np.ptp(columns)) + 1
    assert extents["small"] >= 20
    assert extents["large"] >= 1.5 * extents["small"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_colour_looks_different(kind: str) -> None:
    looks = {colour: pixels(Scene((Thing(kind, colour, "large"),), None), seed=5) for colour in COLOURS}
    for one in COLOURS:
        for other in COLOURS:
            if one < other:
                assert np.abs(looks[one] - looks[other]).max(axis=2).mean() > 2, (one, other)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_backgrounds_stay_in_the_background(background: str) -> None:
    picture = pixels(Scene((CAR,), None, background), seed=6)
    # Pale: no channel of the four corners' surroundings is dark.
    assert np.median(picture.reshape(-1, 3), axis=0).min() > 150


def test_wordings_are_many_and_reproducible() -> None:
    scene = Scene((CAR, TREE), "to the left of", "grass")
    rng, again = random.Random(1), random.Random(1)
    many = [wordings(scene, rng) for _ in range(500)]
    assert many == [wordings(scene, again) for _ in range(500)]
    assert len(set(many)) > 450
    assert all(text == text.strip() == text.lower() and "  " not in text and "@" not in text for text in many)


def test_wordings_use_whole_words_of_the_vocabulary() -> None:
    rng = random.Random(2)
    known = set(words())
    for scene in scenes(500):
        for word in re.findall(r"[a-z]{2,}", wordings(scene, rng)):
            assert word in known
