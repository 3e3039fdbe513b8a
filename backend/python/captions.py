"""A caption with the model's confidence, and pictures as people hand them in."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from captionloop.backend.python.html import confident_words, picture_tag, table
from captionloop.errors import ImageError
from captionloop.model.dataset.images import open_image
from captionloop.model.exchange.reading import PictureBytes

if TYPE_CHECKING:
    from captionloop.image_limits import ImageLimits

_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_OF_NO_FILE = {"HSV": "RGB", "La": "LA", "RGBa": "RGBA"}


@dataclass(frozen=True)
class Word:
    """A word or mark of a caption.

    Args:
        confidence: 0 to 1, the model's probability of the word after the words before it.
    """

    text: str
    confidence: float


@dataclass(frozen=True)
class Caption:
    """What a model wrote for a picture; `str` is the caption alone.

    Args:
        score: the mean probability of its tokens, 0 to 1.
        image: the picture, upright in RGB.
    """

    caption: str
    score: float
    words: tuple[Word, ...]
    image: Image.Image

    def __str__(self) -> str:
        return self.caption

    def __repr__(self) -> str:
        return f"Caption({self.caption!r}, score={self.score:.2f})"

    def _repr_html_(self) -> str:
        words = confident_words((word.text, word.confidence) for word in self.words)
        return table("", [[picture_tag(self.image), f"{words}<br>score {self.score:.2f}"]])


def open_picture(given: str | Path | Image.Image, limits: ImageLimits) -> Image.Image:
    """A picture, upright in RGB, as the dataset's are.

    Args:
        given: a file, or a picture of Pillow's in any mode.

    Raises:
        ImageError: it cannot be read, decoded, or is too large.
    """
    if isinstance(given, Image.Image):
        buffer = io.BytesIO()
        upright = ImageOps.exif_transpose(given)
        picture = upright.convert(_OF_NO_FILE[given.mode]) if given.mode in _OF_NO_FILE else upright
        picture.save(buffer, "PNG" if picture.mode in _PNG_MODES else "TIFF", compress_level=1)
        return open_image(buffer.getvalue(), limits=limits)
    path = Path(given).expanduser()
    data = PictureBytes(path).read(max_bytes=limits.max_bytes)
    try:
        return open_image(data, limits=limits)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
