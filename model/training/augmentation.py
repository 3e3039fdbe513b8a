"""Pictures changed a little, so that a trained encoder sees each one anew, and the caption stays true.

Only what no caption tells of changes: a slightly smaller part of the picture, and the light. Never the hue (captions
name colours), no turning, and no mirror: "to the left of" would become a lie, and so would writing in the picture.
"""

from __future__ import annotations

import random

from PIL import ImageEnhance
from PIL.Image import Image, Resampling

_LEAST_SHARE = 0.9  # of each side that stays in view
_LIGHT = 0.15  # brightness and contrast change by up to this share


def augmented(image: Image, rng: random.Random) -> Image:
    """The picture in another crop and light, of the same size.

    Args:
        image: RGB.
        rng: decides by how much; seeded by the caller from the run's seed, the step and the image.
    """
    share = rng.uniform(_LEAST_SHARE, 1.0)
    width, height = image.width * share, image.height * share
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    changed = image.resize(image.size, Resampling.BICUBIC, box=(left, top, left + width, top + height))
    changed = ImageEnhance.Brightness(changed).enhance(rng.uniform(1 - _LIGHT, 1 + _LIGHT))
    return ImageEnhance.Contrast(changed).enhance(rng.uniform(1 - _LIGHT, 1 + _LIGHT))
