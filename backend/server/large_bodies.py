"""Large bodies need credentials, checked by the headers, so that strangers cannot fill the disk."""

from collections.abc import Callable
from typing import Any, cast

from flask import Flask, Request
from werkzeug.exceptions import TooManyRequests

from captionloop.backend.access.gatekeeper import Gatekeeper


def may_send_much(
    app: Flask, seen_through: Callable[[dict[str, Any]], dict[str, Any]] = lambda environ: environ
) -> Callable[[dict[str, Any]], bool]:
    """A function that checks a WSGI environment for a session, an account or a webhook's secret.

    It is fast and does not use the database, since one thread reads for all connections.

    Args:
        seen_through: the environment with the client's address behind known proxies (`BehindProxies`).
    """
    gatekeeper = cast(Gatekeeper, app.extensions["captionloop_gatekeeper"])

    def is_known(environ: dict[str, Any]) -> bool:
        request = app.request_class(seen_through(environ))
        return gatekeeper.is_open or _has_session(app, request) or _has_secret(gatekeeper, request)

    return is_known


def _has_secret(gatekeeper: Gatekeeper, request: Request) -> bool:
    try:
        return gatekeeper.basic(request) is not None or gatekeeper.knows_event(request)
    except TooManyRequests:
        return False


def _has_session(app: Flask, request: Request) -> bool:
    if "pages" not in app.blueprints:
        return False
    from captionloop.backend.pages.access import visitor_of

    session = app.session_interface.open_session(app, request)
    return session is not None and visitor_of(app, session) is not None
