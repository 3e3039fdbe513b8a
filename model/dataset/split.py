"""The held-out split, by the hash of an image, or of the image that it is split with.

Images with a hash below a threshold are held out. The threshold never rises as images are added, so that no image that
a version was trained on is later used to evaluate it. A near-duplicate uses the hash of the known image that it looks
like (`near_duplicates`), from its first split on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from captionloop.errors import SettingsError

SHARE = 0.2  # held out: about 12 of 60 corrected images
VALIDATION_SHARE = 0.25  # of the training images, for validation in a sweep
MOST_HELD_OUT = 500  # more cost time in every run and hardly narrow the interval


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
    """Split images into those to train on and those held out.

    The side of an image does not depend on the others, with two exceptions that only ever lower the threshold: at least
    one is held out (that with the lowest hash), and no more than `most`, unless more are split with the lowest one.

    Args:
        image_hashes: content hashes; one that comes several times counts once.
        split_with: image → the one whose side it is on; images that are not in it are on their own side.
        share: of the images to hold out, on average.
        most: the largest number of held-out images.

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
    """About this share of some images, at most `MOST_HELD_OUT`, and the others; near-duplicates stay together."""
    groups = _groups(set(images), split_with)
    wanted = min(round(share * sum(map(len, groups.values()))), MOST_HELD_OUT)
    aside: list[str] = []
    rest: list[str] = []
    for key in sorted(groups):
        (aside if len(aside) < wanted else rest).extend(groups[key])
    return tuple(sorted(aside)), tuple(sorted(rest))


def apart_from(
    some: Iterable[str], images: Iterable[str], split_with: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The images that are not on the same side of the split as some of them, by their near-duplicates; sorted."""
    near = split_with or {}
    deciding = {near.get(image, image) for image in some}
    return tuple(sorted(image for image in images if near.get(image, image) not in deciding))


def _groups(images: set[str], split_with: Mapping[str, str] | None) -> dict[str, list[str]]:
    """Groups of images that are split together, by the deciding hash."""
    groups: dict[str, list[str]] = {}
    for image in images:
        groups.setdefault((split_with or {}).get(image, image), []).append(image)
    return groups


def _place(image_hash: str) -> float:
    """The image's position among all hashes, 0 to 1. Hashed again, since the given hash may be of any kind."""
    digest = hashlib.sha256(f"captionloop split {image_hash}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
