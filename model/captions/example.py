"""A picture with one caption: what a model learns from, and is compared on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A picture with one caption. A correction with several captions gives several examples.

    Args:
        correction: the correction's number; without a database, that of the row that the caption came from.
        image: SHA-256 of the picture's bytes, or another name that it alone has.
        caption: as people wrote it.
        split_with: the image whose side of the split it is on, where that is another one.
        style: the style that it is written in; None has no name, and nothing leads it in.
    """

    correction: int
    image: str
    caption: str
    split_with: str | None = None
    style: str | None = None

    def led_in_by(self, style_tokens: Mapping[str, str]) -> str | None:
        """The token of its style."""
        return None if self.style is None else style_tokens[self.style]

    def __str__(self) -> str:
        """For messages."""
        return f"correction {self.correction}"
