"""Which images are held out: a matter of the image's hash alone.

An image's place in the order of all hashes is fixed for ever, and those below a line are held out. The line never rises
as images are added, so an image that some version was trained on is never one that it is judged by later. Nothing has
to be remembered for that, and two machines agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from captionloop.errors import SettingsError

SHARE = 0.2  # held out: about 12 of 60 corrected images
VALIDATION_SHARE = 0.25  # of the images to train on, held out to compare settings by
MOST_HELD_OUT = 500  # more cost time in every run and hardly sharpen the verdict


@dataclass(frozen=True, slots=True)
class Split:
    """Image hashes to train on and those held out, each sorted; no image is in both."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


def split_images(image_hashes: Iterable[str], *, share: float = SHARE, most: int = MOST_HELD_OUT) -> Split:
    """Divide images into those to train on and those held out.

    Which side an image falls on does not depend on the others, with two exceptions that only ever move the line down:
    at least one is held out (the lowest, even if it is the only one), and no more than `most` are.

    Args:
        image_hashes: content hashes; one that comes several times counts once.
        share: of the images to hold out, on average.
        most: held out at the most.

    Raises:
        SettingsError: `share` is not between 0 and 1, or `most` is below 1.
    """
    if not 0 < share < 1:
        raise SettingsError(f"The share of held-out images is {share}; expected a number between 0 and 1.")
    if most < 1:
        raise SettingsError(f"The largest number of held-out images is {most}; expected at least 1.")
    images = sorted(set(image_hashes), key=_place)
    below = sum(_place(image) < share for image in images)
    held_out = min(max(below, 1), most)
    return Split(train=tuple(sorted(images[held_out:])), held_out=tuple(sorted(images[:held_out])))


def split_validation(image_hashes: Iterable[str]) -> Split:
    """Divide the images that may be trained on into those that are, and some to compare settings by.

    The latter are the lowest in the order of `split_images`, so images that are added hardly change which they are.
    """
    images = sorted(set(image_hashes), key=_place)
    held_out = min(round(VALIDATION_SHARE * len(images)), MOST_HELD_OUT)
    return Split(train=tuple(sorted(images[held_out:])), held_out=tuple(sorted(images[:held_out])))


def _place(image_hash: str) -> float:
    """Where the image lies among all possible ones, 0 to 1. Hashed again: the given hash may be of any kind."""
    digest = hashlib.sha256(f"captionloop split {image_hash}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
