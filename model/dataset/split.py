"""Which images are held out: a matter of the image's hash, or of the hash of the one that it is split with.

A hash's place in the order of all hashes is fixed for ever, and those below a line are held out. The line never rises
as images are added, so an image that some version was trained on is never one that it is judged by later. An image that
looks like one that was known before takes that one's place (`near_duplicates`), from the first time that it is split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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


def split_images(
    image_hashes: Iterable[str],
    *,
    split_with: Mapping[str, str] | None = None,
    share: float = SHARE,
    most: int = MOST_HELD_OUT,
) -> Split:
    """Divide images into those to train on and those held out.

    Which side an image falls on does not depend on the others, with two exceptions that only ever move the line down:
    at least one is held out (the lowest, even if it is the only one), and no more than `most` are, unless so many go
    with the lowest.

    Args:
        image_hashes: content hashes; one that comes several times counts once.
        split_with: image → the one whose side it is on; images that are not in it are on their own side.
        share: of the images to hold out, on average.
        most: held out at the most.

    Raises:
        SettingsError: `share` is not between 0 and 1, or `most` is below 1.
    """
    if not 0 < share < 1:
        raise SettingsError(f"The share of held-out images is {share}; expected a number between 0 and 1.")
    if most < 1:
        raise SettingsError(f"The largest number of held-out images is {most}; expected at least 1.")
    images = set(image_hashes)
    groups = _groups(images, split_with)
    held_out: set[str] = set()
    for key in sorted(groups, key=_place):
        if held_out and (_place(key) >= share or len(held_out) + len(groups[key]) > most):
            break
        held_out.update(groups[key])
    return Split(train=tuple(sorted(images - held_out)), held_out=tuple(sorted(held_out)))


def set_aside(
    images: Iterable[str], share: float, *, split_with: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """About this share of some images, and the others; images that are split as one stay together.

    No more than `MOST_HELD_OUT` are set aside: more would cost time at each look and hardly sharpen it.
    """
    groups = _groups(set(images), split_with)
    wanted = min(round(share * sum(map(len, groups.values()))), MOST_HELD_OUT)
    aside: list[str] = []
    rest: list[str] = []
    for key in sorted(groups):
        (aside if len(aside) < wanted else rest).extend(groups[key])
    return tuple(sorted(aside)), tuple(sorted(rest))


def _groups(images: set[str], split_with: Mapping[str, str] | None) -> dict[str, list[str]]:
    """The images that are split as one, by the hash that decides."""
    groups: dict[str, list[str]] = {}
    for image in images:
        groups.setdefault((split_with or {}).get(image, image), []).append(image)
    return groups


def _place(image_hash: str) -> float:
    """Where the image lies among all possible ones, 0 to 1. Hashed again: the given hash may be of any kind."""
    digest = hashlib.sha256(f"captionloop split {image_hash}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
