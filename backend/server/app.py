"""The Flask app: blueprints, state, and error handling.

Every error is returned as `{"error": "a sentence", "type": "…"}` with a suitable status; on the pages, as a page with
that sentence.
"""

import logging
from typing import TYPE_CHECKING, cast

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException, InternalServerError

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.server.monitoring import add_watching
from captionloop.backend.server.places import Places
from captionloop.backend.server.protocol import protocol
from captionloop.backend.server.request_log import follow_requests
from captionloop.backend.server.requests import take_any_request
from captionloop.backend.serving.caption_service import CaptionService
from captionloop.errors import (
    BusyError,
    CaptionloopError,
    LabelConfigError,
    NotFoundError,
    ServiceError,
    SettingsError,
)

if TYPE_CHECKING:
    from captionloop.backend.page_data.room import Room

_log = logging.getLogger(__name__)

# A request holds at most some thousands of tasks, each a few kilobytes of JSON (or an image as a `data:` address).
_MAX_REQUEST_BYTES = 512 * 1024 * 1024

# How to authenticate, and when to come again.
_HEADERS_OF_ERRORS = frozenset({"WWW-Authenticate", "Retry-After"})

_STATUS: dict[type[CaptionloopError], int] = {
    SettingsError: 400,
    LabelConfigError: 400,
    NotFoundError: 404,
    BusyError: 409,
    ServiceError: 503,
}


def create_app(service: CaptionService, gatekeeper: Gatekeeper, room: "Room | None" = None) -> Flask:
    """The app; without a `room` it has only the protocol."""
    app = Flask("captionloop", static_folder=None)
    take_any_request(app)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_REQUEST_BYTES
    app.extensions["captionloop"] = service
    app.extensions["captionloop_gatekeeper"] = gatekeeper
    app.extensions["captionloop_places"] = Places()
    follow_requests(app, service.metrics)
    app.register_blueprint(protocol)
    if room is not None:
        from captionloop.backend.api import add_api
        from captionloop.backend.pages import add_pages

        add_pages(app, room, gatekeeper)
        add_api(app)
        add_watching(app, room)
    app.register_error_handler(CaptionloopError, _on_own_error)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(Exception, _on_surprise)
    return app


def _on_own_error(error: CaptionloopError) -> tuple[Response, int] | tuple[str, int]:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    if status >= 500:
        _count(error)
        _log.error("%s", error)
    if _is_for_people():
        return _as_page(status, str(error))
    return jsonify(error=str(error), type=type(error).__name__), status


def _on_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if _is_for_people():
        response = current_app.make_response(_as_page(status, error.description or error.name))
    else:
        response = jsonify(error=error.description, type=error.name)
        response.status_code = status
    response.headers.extend({name: value for name, value in error.get_headers() if name in _HEADERS_OF_ERRORS})
    return response


def _on_surprise(error: Exception) -> Response:
    _count(error)
    _log.exception("unexpected error")
    return _on_http_error(InternalServerError(f"Unexpected {type(error).__name__}. The log of the backend says more."))


def _count(error: Exception) -> None:
    cast(CaptionService, current_app.extensions["captionloop"]).metrics.failed(error)


def _is_for_people() -> bool:
    """Whether to return an error page: the error happened on a page, or a browser requested an unknown address."""
    if request.blueprint is None and "pages" in current_app.blueprints:
        asked = request.accept_mimetypes.best_match(["application/json", "text/html"])
        return asked == "text/html" and not request.path.startswith("/api/")
    return request.blueprint == "pages"


def _as_page(status: int, message: str) -> tuple[str, int]:
    from captionloop.backend.pages.frame import render_error

    return render_error(status, message), status
