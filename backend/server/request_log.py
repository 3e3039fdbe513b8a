"""Request ids, access log and request metrics.

The id is the client's `X-Request-ID` if valid, else a new one; the response returns it.
"""

import logging
import time
import uuid
from contextlib import ExitStack
from urllib.parse import quote

from flask import Flask, Response, g, request

from captionloop.backend.serving.prometheus import Metrics
from captionloop.logs import belonging_to, sane_id

_log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
# Polled by programs and open pages.
_OFTEN = frozenset({"protocol.health", "watching.ready", "watching.metrics", "pages.static", "pages.live"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def follow_requests(app: Flask, metrics: Metrics) -> None:
    """Add logging and metrics to an app, before other hooks."""

    @app.before_request
    def begin() -> None:
        g.begun = time.monotonic()
        g.request_id = sane_id(request.headers.get(HEADER)) or uuid.uuid4().hex
        g.log_context = ExitStack()
        g.log_context.enter_context(belonging_to(request=g.request_id))

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.monotonic() - g.begun
        # As in the code, for a path is what anybody likes; likewise the method.
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(method, route, response.status_code).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        _log.log(
            logging.DEBUG if request.endpoint in _OFTEN else logging.INFO,
            "%s %s: %d in %.3f s",
            method,
            quote(request.path),
            response.status_code,
            seconds,
            extra={"method": method, "path": request.path, "status": response.status_code, "seconds": seconds},
        )
        response.headers[HEADER] = g.request_id
        return response

    @app.teardown_request
    def forget(_: BaseException | None) -> None:
        g.log_context.close()
