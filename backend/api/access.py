"""Authentication of the API: a session of the pages, or an account's Basic pair, without a browser prompt.

A change is accepted only if no other site can have caused it (CSRF): with the session's token in the header
X-CSRFToken, or as JSON with a Basic pair, which no form on another site can send.
"""

from flask import g, request
from werkzeug.exceptions import Unauthorized, UnsupportedMediaType

from captionloop.backend.api.endpoints import api
from captionloop.backend.pages.access import (
    SAFE_METHODS,
    Visitor,
    current_gatekeeper,
    guard,
    require_lead,
    require_pages,
    require_reviewer,
    require_token,
    signed_in,
)

# The changes that are about captions.
_REVIEWING = frozenset({"api.post_decision", "api.post_undo"})

api.blueprint.after_request(guard)


@api.blueprint.before_request
def _admit() -> None:
    is_change = request.method not in SAFE_METHODS
    if request.authorization is not None:
        g.visitor = _of_basic_pair()
        if is_change and not request.is_json:
            raise UnsupportedMediaType("A change is sent with the header `Content-Type: application/json`.")
    else:
        g.visitor = _of_session()
        if is_change:
            require_token()
    require_pages(g.visitor)
    if is_change:
        (require_reviewer if request.endpoint in _REVIEWING else require_lead)(g.visitor)


def _of_basic_pair() -> Visitor:
    account = current_gatekeeper().basic(request)
    if account is None:
        raise Unauthorized("User and password do not fit. `captionloop status` prints them.")
    name, role = account
    return Visitor(name, role)


def _of_session() -> Visitor:
    found = signed_in()
    if found is None:
        raise Unauthorized("Send user and password as Basic auth, or sign in on the page /login first.")
    return found
