"""Pictures as the pages show them: JPEGs of at most some size, cached by the hash of the file they were made of."""

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from captionloop.backend.page_data.room import Room
from captionloop.errors import ImageError, NotFoundError, StorageError
from captionloop.home import write_atomically
from captionloop.model.dataset.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image

_log = logging.getLogger(__name__)

# Longest side in pixels: for rows and galleries, and for one picture large on a page. Twice what is shown, for screens
# with small pixels.
LONGEST_SIDE_PX = {"small": 320, "large": 1600}
_JPEG_QUALITY = 85


def thumbnail(room: Room, sha256: str, size: str) -> bytes:
    """
    Args:
        size: a key of `LONGEST_SIDE_PX`.

    Raises:
        NotFoundError: our copy of the picture is gone or damaged.
    """
    path = _path(room, sha256, size)
    if path.exists():
        return path.read_bytes()
    try:
        picture = open_image(room.home.image(sha256).read_bytes(), limits=room.context.image_limits)
    except (OSError, ImageError) as error:
        raise NotFoundError("Our copy of this picture is gone or damaged.") from error
    return _kept(path, _shrunk(picture, size))


def keep_large(room: Room, sha256: str, picture: "Image") -> None:
    """Cache a picture of which we have no copy, so that a page can show it."""
    path = _path(room, sha256, "large")
    if not path.exists():
        _kept(path, _shrunk(picture, "large"))


def _path(room: Room, sha256: str, size: str) -> Path:
    return room.home.thumbnails / size / f"{sha256}.jpg"


def _kept(path: Path, data: bytes) -> bytes:
    """Cache a picture, if possible."""
    try:
        write_atomically(path, data)
    except StorageError as error:
        _log.warning("a small picture is not kept: %s", error)
    return data


def _shrunk(picture: "Image", size: str) -> bytes:
    small = picture.copy()
    small.thumbnail((LONGEST_SIDE_PX[size], LONGEST_SIDE_PX[size]))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
