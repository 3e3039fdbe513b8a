"""Pictures of tasks and corrections, as JPEGs."""

import re

from flask import Response, request
from werkzeug.exceptions import NotFound

from captionloop.backend.page_data.thumbnails import LONGEST_SIDE_PX, thumbnail
from captionloop.backend.pages.blueprint import current_room, pages

_NAME = re.compile(r"[0-9a-f]{64}")
_A_YEAR_S = 365 * 24 * 3600


@pages.get("/images/<sha256>")
def image(sha256: str) -> Response:
    """A picture as JPEG, cached per size. The browser never gets the uploaded file, only what we decoded."""
    size = request.args.get("size", "large")
    if not _NAME.fullmatch(sha256) or size not in LONGEST_SIDE_PX:
        raise NotFound("There is no such picture.")
    response = Response(thumbnail(current_room(), sha256, size), mimetype="image/jpeg")
    # The address contains the content's hash, so the response never changes.
    response.headers["Cache-Control"] = f"private, max-age={_A_YEAR_S}, immutable"
    return response
