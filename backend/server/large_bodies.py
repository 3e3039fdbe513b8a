"""Whose large bodies are read, decided by the headers: a temporary file is not for everybody who finds the port."""

from collections.abc import Callable
from typing import Any, cast

from flask import Flask, Request
from werkzeug.exceptions import TooManyRequests

from captionloop.backend.access.gatekeeper import Gatekeeper


def may_send_much(app: Flask) -> Callable[[dict[str, Any]], bool]:
    """Says of a WSGI environment whether it is that of somebody with a session, an account or a webhook's secret.

    What it says is quick, and asks no database: one thread reads for all connections.
    """
    gatekeeper = cast(Gatekeeper, app.extensions["captionloop_gatekeeper"])

    def is_known(environ: dict[str, Any]) -> bool:
        request = app.request_class(environ)
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
