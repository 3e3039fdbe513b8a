"""Which images are too large."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before decoding: files over `max_bytes` bytes, pictures over `max_pixels` (width x height)."""

    max_bytes: int = 50_000_000
    max_pixels: int = 100_000_000
