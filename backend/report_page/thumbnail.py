"""Small copies of pictures, for pages that need no other file."""

import base64
import io

from PIL import Image

_LONGEST_SIDE_PIXELS = 288  # shown at half of it, sharp on dense screens
_JPEG_QUALITY = 80


def thumbnail_url(picture: Image.Image) -> str:
    """The picture as a `data:` URL.

    Args:
        picture: RGB; it stays as it is.
    """
    small = picture.copy()
    small.thumbnail((_LONGEST_SIDE_PIXELS, _LONGEST_SIDE_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
