"""Our copies of annotated images, and thumbnails."""

import io
import logging
import re
from pathlib import Path

from flask import Response, request
from werkzeug.exceptions import NotFound

from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.errors import ImageError, StorageError
from captionloop.home import write_atomically
from captionloop.model.dataset.images import open_image

_log = logging.getLogger(__name__)

# Longest side in pixels: for rows and galleries, and for one picture large on a page. Twice what is shown, for screens
# with small pixels.
_LONGEST_SIDE_PX = {"small": 320, "large": 1600}
_JPEG_QUALITY = 85
_NAME = re.compile(r"[0-9a-f]{64}")
_A_YEAR_S = 365 * 24 * 3600


@pages.get("/images/<sha256>")
def image(sha256: str) -> Response:
    """A picture as JPEG, cached per size. The browser never gets the uploaded file, only what we decoded."""
    size = request.args.get("size", "large")
    if not _NAME.fullmatch(sha256) or size not in _LONGEST_SIDE_PX:
        raise NotFound("There is no such picture.")
    path = current_room().home.thumbnails / size / f"{sha256}.jpg"
    data = path.read_bytes() if path.exists() else _kept(path, _shrunk(sha256, _LONGEST_SIDE_PX[size]))
    response = Response(data, mimetype="image/jpeg")
    # The address contains the content's hash, so the response never changes.
    response.headers["Cache-Control"] = f"private, max-age={_A_YEAR_S}, immutable"
    return response


def _kept(path: Path, data: bytes) -> bytes:
    """Cache a picture, if possible."""
    try:
        write_atomically(path, data)
    except StorageError as error:
        _log.warning("a small picture is not kept: %s", error)
    return data


def _shrunk(sha256: str, longest_side_px: int) -> bytes:
    room = current_room()
    try:
        picture = open_image(room.home.image(sha256).read_bytes(), limits=room.context.image_limits)
    except (OSError, ImageError) as error:
        raise NotFound("Our copy of this picture is gone or damaged.") from error
    picture.thumbnail((longest_side_px, longest_side_px))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
