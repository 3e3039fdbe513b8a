"""Signing in to Label Studio with a password, as its login page does.

The cookies of such a session serve in place of a token. They need no kind of token to be allowed, create nothing in
the account, and end when Label Studio ends a session: after two weeks, or when the password changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from captionloop.backend.label_studio import messages
from captionloop.backend.label_studio.transport import Transport

if TYPE_CHECKING:
    import httpx

_FORM = "/user/login/"
_SESSION, _CSRF = "sessionid", "csrftoken"
_TIMEOUT_S = 10.0  # somebody waits in front of a form


@dataclass(frozen=True)
class BrowserSession:
    """The credentials of a session: its cookies, with what Django checks of a change."""

    url: str
    cookies: Mapping[str, str]

    def headers(self) -> Mapping[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Cookie": cookies, "X-CSRFToken": self.cookies.get(_CSRF, ""), "Referer": self.url}

    def forget(self) -> bool:
        """False: there is no other session to be had."""
        return False


def sign_in(url: str, email: str, password: str) -> Mapping[str, str] | None:
    """The cookies of a new session; None if Label Studio accepts no such pair.

    Raises:
        LabelStudioError: it does not answer, or has no such form.
    """
    transport = Transport(url.rstrip("/"), retry_delays_s=())
    try:
        form = transport.send("GET", _FORM, credentials={}, timeout_s=_TIMEOUT_S)
        found = _cookies(form)
        if _CSRF not in found:
            raise messages.unexpected(transport.url, f"GET {_FORM}", "which is no login form")
        answer = transport.send(
            "POST",
            _FORM,
            credentials=BrowserSession(transport.url, found).headers(),
            timeout_s=_TIMEOUT_S,
            data={"email": email, "password": password, "csrfmiddlewaretoken": found[_CSRF]},
        )
    finally:
        transport.close()
    found |= _cookies(answer)
    return found if answer.is_redirect and _SESSION in found else None


def _cookies(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.cookies.items() if name in (_SESSION, _CSRF)}
