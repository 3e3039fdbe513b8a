"""The Authorization header, from an API key of Label Studio.

A legacy token is sent as it is. A personal access token is a JWT of the type `refresh`, which Label Studio exchanges
for access tokens that are valid for a few minutes.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from captionloop.backend.label_studio.transport import Transport, json_of

# Margin, so that a token does not expire in transit; Label Studio's are valid for five minutes.
_MARGIN_S = 20.0


class Credentials(Protocol):
    """What says to Label Studio who asks."""

    def headers(self) -> Mapping[str, str]:
        """The headers that the server accepts now."""

    def forget(self) -> bool:
        """Drop what the server refused; True if something new can be requested."""


class Authorization:
    """The credentials of one account, by a token. Thread-safe."""

    def __init__(self, api_key: str, transport: Transport) -> None:
        """Makes no request yet.

        Args:
            api_key: a legacy token, a personal access token, or one of the short-lived tokens that these are
                exchanged for.
        """
        self._api_key = api_key.strip()
        self._claims = _jwt_claims(self._api_key)
        self._transport = transport
        self._access: str | None = None
        self._renew_at = 0.0  # by time.monotonic()
        self._lock = threading.Lock()

    def header(self) -> str:
        """The value of the Authorization header that the server accepts now.

        Raises:
            LabelStudioError: the server does not exchange the personal access token.
        """
        if self._claims is None:
            return f"Token {self._api_key}"
        if self._claims.get("token_type") != "refresh":
            return f"Bearer {self._api_key}"
        with self._lock:
            if self._access is None or time.monotonic() >= self._renew_at:
                self._exchange()
            return f"Bearer {self._access}"

    def headers(self) -> Mapping[str, str]:
        """As `header`, with its name."""
        return {"Authorization": self.header()}

    def forget(self) -> bool:
        """Drop a short-lived token that the server refused; True if a new one can be requested."""
        with self._lock:
            had, self._access = self._access, None
            return had is not None

    def _exchange(self) -> None:
        # Safe to retry: it only creates a token. The token's times are compared only with each other, since this
        # machine's clock may be wrong.
        path, body = "/api/token/refresh/", {"refresh": self._api_key}
        response = self._transport.send("POST", path, credentials={}, json=body)
        answer = json_of(self._transport.url, response, what="personal access token")
        access = str(answer.get("access", "")) if isinstance(answer, dict) else ""
        claims = _jwt_claims(access) or {}
        lifetime_s = float(claims.get("exp", 0)) - float(claims.get("iat", 0))
        self._access = access
        self._renew_at = time.monotonic() + max(lifetime_s - _MARGIN_S, lifetime_s / 2)


def _jwt_claims(token: str) -> dict[str, Any] | None:
    """The claims of a JWT, unverified (the server does that); None for a legacy token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None
