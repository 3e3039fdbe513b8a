"""Which corrections a run learns from when the champion has learnt from some of them already."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from captionloop.model.captions.example import Example
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.replay import with_replay
from captionloop.model.dataset.split import split_images

_RANDOM = random.Random(0)
IMAGES = [f"{_RANDOM.getrandbits(256):064x}" for _ in range(60)]


def captioned(images: Sequence[str], *, text: str = "a caption") -> list[Example]:
    return [Example(number, image, text) for number, image in enumerate(images)]


def snapshot(examples: Sequence[Example], *, digest: str = "a") -> Snapshot:
    return Snapshot(hash=digest, path=Path(digest), examples=tuple(examples))


LEARNT = snapshot(captioned(IMAGES[:40]))
TRAINED_ON = [image for image in IMAGES[:40] if image in split_images(IMAGES[:40]).train]
NOW = captioned([*TRAINED_ON, *IMAGES[40:]])  # and twenty new ones


def images_of(examples: Sequence[Example]) -> set[str]:
    return {example.image for example in examples}


def test_without_replay_only_what_is_new_is_learnt() -> None:
    assert images_of(with_replay(NOW, LEARNT, share=0, seed=0)) == set(IMAGES[40:])


def test_all_learnt_corrections_are_replayed_at_a_share_of_one() -> None:
    assert with_replay(NOW, LEARNT, share=1, seed=0) == NOW


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_a_share_of_the_older_ones_joins_the_new_ones(share: float) -> None:
    chosen = with_replay(NOW, LEARNT, share=share, seed=0)
    assert images_of(chosen) > set(IMAGES[40:])
    assert len(images_of(chosen) - set(IMAGES[40:])) == round(share * len(TRAINED_ON))


def test_a_larger_share_replays_the_same_and_more() -> None:
    chosen = [images_of(with_replay(NOW, LEARNT, share=share, seed=0)) for share in (0.2, 0.4, 0.8)]
    assert chosen[0] < chosen[1] < chosen[2]


def test_the_choice_is_the_same_again_and_another_for_another_seed_or_champion() -> None:
    chosen = with_replay(NOW, LEARNT, share=0.5, seed=0)
    assert with_replay(NOW, LEARNT, share=0.5, seed=0) == chosen
    assert with_replay(NOW, LEARNT, share=0.5, seed=1) != chosen
    assert with_replay(NOW, snapshot(LEARNT.examples, digest="b"), share=0.5, seed=0) != chosen


def test_a_caption_that_was_changed_is_new() -> None:
    changed = captioned(TRAINED_ON[:1], text="another caption")
    assert with_replay(changed + NOW[1:], LEARNT, share=0, seed=0)[0] == changed[0]


def test_the_captions_of_an_image_stay_together() -> None:
    both = captioned(TRAINED_ON) + captioned(TRAINED_ON, text="another caption")
    chosen = with_replay(both, snapshot([*both]), share=0.5, seed=0)
    assert {image: sum(example.image == image for example in chosen) for image in images_of(chosen)} == dict.fromkeys(
        images_of(chosen), 2
    )


def test_what_was_only_held_out_before_is_new() -> None:
    held_out = captioned(split_images(IMAGES[:40]).held_out)
    assert with_replay(held_out, LEARNT, share=0, seed=0) == held_out
