"""Image augmentation that keeps captions true: small crops, brightness and contrast.

No change of hue (captions name colours), no rotation, and no mirroring ("to the left of", and writing in the picture).
"""

from __future__ import annotations

import random

from PIL import ImageEnhance
from PIL.Image import Image, Resampling

_LEAST_SHARE = 0.9  # smallest crop, as a share of each side
_LIGHT = 0.15  # largest relative change of brightness and contrast


def augmented(image: Image, rng: random.Random) -> Image:
    """A random crop with random brightness and contrast, resized to the same size.

    Args:
        image: RGB.
        rng: seeded by the caller from the run's seed, the step and the image.
    """
    share = rng.uniform(_LEAST_SHARE, 1.0)
    width, height = image.width * share, image.height * share
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    changed = image.resize(image.size, Resampling.BICUBIC, box=(left, top, left + width, top + height))
    changed = ImageEnhance.Brightness(changed).enhance(rng.uniform(1 - _LIGHT, 1 + _LIGHT))
    return ImageEnhance.Contrast(changed).enhance(rng.uniform(1 - _LIGHT, 1 + _LIGHT))
