"""Test pictures: distinct photo-like JPEG files of 640 x 480."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

_SIZE = (640, 480)
_COARSE = (12, 9, 3)  # rows of what is where
_NOISE = 6.0  # levels, as a sensor's
_QUALITY = 90

CAPTION = "a small red house with two windows beside a green tree"


def write_pictures(directory: Path, count: int, *, seed: int = 0) -> None:
    """Write `0000.jpg` and so on."""
    directory.mkdir(parents=True)
    for number in range(count):
        (directory / f"{number:04}.jpg").write_bytes(jpeg(seed, number))


def read_pictures(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.glob("*.jpg"))]


def jpeg(seed: int, number: int) -> bytes:
    """The file of a picture; deterministic in both numbers."""
    generator = np.random.default_rng((seed, number))
    coarse = Image.fromarray(generator.integers(0, 256, _COARSE, dtype=np.uint8))
    smooth = np.asarray(coarse.resize(_SIZE, Image.Resampling.BICUBIC), dtype=np.float32)
    noisy = smooth + generator.normal(0, _NOISE, smooth.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
