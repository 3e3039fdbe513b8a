"""Who may call: Basic auth for Label Studio's own calls, a secret header for its webhook events.

Label Studio sends the Basic pair with every call to an ML backend except annotation events, which carry only the
headers stored on the webhook itself (docs/label-studio.md).
"""

import hmac

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from captionloop.backend.connect import SECRET_HEADER
from captionloop.settings import Secret


class Gatekeeper:
    def __init__(self, user: str | None, password: Secret | None) -> None:
        """Without a password everybody may call."""
        self._user = user or ""
        self._password = password

    @property
    def is_open(self) -> bool:
        return self._password is None

    def admits(self, request: Request) -> bool:
        """True when the request carries the right Basic pair, or none is asked for."""
        if self._password is None:
            return True
        given = request.authorization
        if given is None or given.type != "basic":
            return False
        return _equal(given.username, self._user) and _equal(given.password, self._password.reveal())

    def require(self, request: Request) -> None:
        if not self.admits(request):
            raise Unauthorized(
                "User and password are needed. In Label Studio they are set on the model's card under Basic Auth.",
                # Werkzeug puts only a realm with spaces between the quotation marks that RFC 9110 (11.2) asks for.
                www_authenticate=WWWAuthenticate("basic", {"realm": "Captionloop ML backend"}),
            )


def carries_secret(request: Request, secret: str) -> bool:
    return _equal(request.headers.get(SECRET_HEADER), secret)


def _equal(given: str | None, expected: str) -> bool:
    return hmac.compare_digest((given or "").encode(), expected.encode())
