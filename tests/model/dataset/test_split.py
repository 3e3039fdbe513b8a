"""Held-out images are a matter of the image alone and never leak."""

import random

import pytest

from captionloop.errors import SettingsError
from captionloop.model.dataset.split import Split, set_aside, split_images


def hashes(count: int, *, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [f"{rng.getrandbits(256):064x}" for _ in range(count)]


def test_no_image_is_on_both_sides_and_none_is_lost() -> None:
    images = hashes(300)
    split = split_images(images)
    assert not set(split.train) & set(split.held_out)
    assert set(split.train) | set(split.held_out) == set(images)


def test_about_a_fifth_is_held_out() -> None:
    sizes = [len(split_images(hashes(60, seed=seed)).held_out) for seed in range(200)]
    assert 11 < sum(sizes) / len(sizes) < 13
    assert min(sizes) >= 3


@pytest.mark.parametrize("most", [10, 500])
def test_an_image_once_trained_on_is_never_held_out_later(most: int) -> None:
    images = hashes(400)
    trained: set[str] = set()
    for count in range(1, len(images) + 1):
        split = split_images(images[:count], most=most)
        assert not trained & set(split.held_out)
        trained |= set(split.train)


def test_the_order_of_images_and_their_repetition_do_not_matter() -> None:
    images = hashes(100)
    assert split_images(images) == split_images([*reversed(images), *images])


def test_at_least_one_is_held_out_even_of_one() -> None:
    for seed in range(20):
        assert split_images(hashes(3, seed=seed)).held_out
        assert split_images(hashes(1, seed=seed)).train == ()
    assert split_images([]) == Split(train=(), held_out=())


def test_no_more_than_the_most_are_held_out() -> None:
    assert len(split_images(hashes(1000), most=50).held_out) == 50


@pytest.mark.parametrize(("share", "most", "message"), [(0, 5, "is 0;"), (1.0, 5, "is 1.0;"), (0.2, 0, "at least 1")])
def test_shares_that_cannot_be_are_refused(share: float, most: int, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        split_images(hashes(10), share=share, most=most)


def test_images_that_are_split_as_one_stay_together() -> None:
    images = hashes(300)
    split_with = {image: images[number // 3 * 3] for number, image in enumerate(images)}
    split = split_images(images, split_with=split_with)
    assert 30 < len(split.held_out) < 90
    assert all((image in split.held_out) == (split_with[image] in split.held_out) for image in images)


@pytest.mark.parametrize("most", [10, 500])
def test_an_image_that_was_trained_on_does_not_change_sides_with_others_like_it(most: int) -> None:
    images = hashes(300)
    rng = random.Random(1)
    split_with = {image: rng.choice(images[: number + 1]) for number, image in enumerate(images)}
    split_with |= {key: key for key in split_with.values()}
    trained: set[str] = set()
    for count in range(1, len(images) + 1):
        split = split_images(images[:count], split_with=split_with, most=most)
        assert not trained & set(split.held_out)
        trained |= set(split.train)


def test_a_share_is_set_aside_in_the_order_of_hashes() -> None:
    images = hashes(50)
    aside, rest = set_aside(images, 0.2)
    assert (aside, rest) == (tuple(sorted(images)[:10]), tuple(sorted(images)[10:]))
    assert set_aside(images, 0)[0] == ()


def test_an_image_that_is_set_aside_takes_its_near_duplicates_along() -> None:
    images = hashes(40)
    split_with = {image: images[number % 10] for number, image in enumerate(images)}
    aside, rest = set_aside(images, 0.2, split_with=split_with)
    assert len(aside) == 8
    assert {split_with[image] for image in aside}.isdisjoint(split_with[image] for image in rest)
