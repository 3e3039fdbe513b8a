"""Which images are too large."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageLimits:
    """Limits checked before decoding: file size in bytes, and pixels (width x height)."""

    max_bytes: int = 50_000_000
    max_pixels: int = 100_000_000
