"""Login and protection of the pages: sessions, roles, CSRF tokens, headers.

A session is a signed cookie with the account's name; signing out ends it in every backend, and a password change makes
it invalid. Without a session every request gets the login form: pages, images and downloads alike. Only the lead may
change anything.
"""

import hmac
import re
import secrets
from dataclasses import dataclass
from typing import cast

from flask import Flask, Response, current_app, flash, g, redirect, render_template, request, session, url_for
from flask.sessions import SessionMixin
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Response as AnyResponse

from captionloop.backend.access.ended_sessions import end_session, has_ended
from captionloop.backend.access.gatekeeper import Gatekeeper, Role
from captionloop.backend.access.session_key import session_key
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.home import Home
from captionloop.seal import Seal

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = frozenset({"pages.login", "pages.sign_in", "pages.static"})
# For readers, too: signing out changes nothing for others, and a picture to try is sent as a form and not kept.
UPLOAD = "pages.try_it_with"
_FOR_ALL = frozenset({"pages.logout", UPLOAD})
_FORM_BYTES = 1_000_000  # many times what any form of the pages sends, except with a picture
_OWN_ADDRESS = re.compile(r"/(?![/\\])[^\x00-\x20\\]*\Z")
# Nothing from elsewhere, no script and no style within a page, no frame around it.
_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Visitor:
    """The signed-in account."""

    name: str
    role: Role

    @property
    def may_change(self) -> bool:
        return self.role is Role.LEAD


def protect(app: Flask, gatekeeper: Gatekeeper, *, home: Home, seal: Seal, is_https: bool) -> None:
    """Add sessions and CSRF tokens to the app.

    Args:
        home: of the cookies' signing key, created when first needed.
        seal: encrypts that key.
        is_https: whether people reach the pages by https, so that the cookie can be `Secure`.

    Raises:
        LostKeyError: the signing key was encrypted with an unknown key.
    """
    key = session_key(home, seal)
    app.secret_key = key
    app.config.update(
        SESSION_COOKIE_NAME="captionloop",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=is_https,
        WTF_CSRF_CHECK_DEFAULT=False,  # Label Studio has no tokens; the pages are checked in `_admit`
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
    )
    app.extensions["captionloop_csrf"] = CSRFProtect(app)
    app.extensions["captionloop_fingerprint"] = gatekeeper.fingerprint(key)


def visitor() -> Visitor:
    """The account of the request; only after `_admit`."""
    return cast(Visitor, g.visitor)


def signed_in() -> Visitor | None:
    """The account of the request's session; None without one, or when it has ended."""
    found = visitor_of(current_app, session)
    return None if found and has_ended(current_room().context.database, session["id"]) else found


def visitor_of(app: Flask, session: SessionMixin) -> Visitor | None:
    """The account of a session of an app, if no password has changed. Does not check for a sign-out."""
    known = str(app.extensions["captionloop_fingerprint"])
    if "id" not in session or not hmac.compare_digest(str(session.get("fingerprint")), known):
        return None
    return Visitor(session["name"], Role(session["role"]))


def require_token() -> None:
    """Refuse a change without the session's CSRF token."""
    cast(CSRFProtect, current_app.extensions["captionloop_csrf"]).protect()


def require_lead(who: Visitor) -> None:
    """Refuse a change by a reader."""
    if not who.may_change:
        raise Forbidden(f"The account {who.name!r} may look at everything and change nothing.")


@pages.before_request
def _admit() -> AnyResponse | None:
    # Said before the token is looked for, which reads the whole form.
    uploaded = current_room().context.image_limits.max_bytes if request.endpoint == UPLOAD else 0
    request.max_content_length = uploaded + _FORM_BYTES
    if request.endpoint in _OPEN:
        return None
    found = signed_in()
    if found is None:
        address = url_for("pages.login", next=request.full_path if request.method == "GET" else None)
        if "HX-Request" in request.headers:  # htmx would put the form into a corner of the page
            return Response(status=401, headers={"HX-Redirect": address})
        return redirect(address)
    g.visitor = found
    if request.method not in SAFE_METHODS:
        require_token()
        if request.endpoint not in _FOR_ALL:
            require_lead(found)
    return None


@pages.after_request
def guard(response: Response) -> Response:
    """Set security headers: only content of this server, no inline script, no framing."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


@pages.get("/login")
def login() -> str | AnyResponse:
    if signed_in():
        return redirect(_destination())
    return render_template("login.html", is_open=current_gatekeeper().is_open, destination=_destination())


@pages.post("/login")
def sign_in() -> AnyResponse | tuple[str, int]:
    """Start a session; a wrong pair is answered with the form and 401."""
    require_token()
    name = request.form.get("user", "").strip()
    role = current_gatekeeper().sign_in(request, name, request.form.get("password", ""))
    if role is None:
        page = render_template(
            "login.html", is_open=current_gatekeeper().is_open, destination=_destination(), failed=name
        )
        return page, 401
    session.clear()
    session.update(
        id=secrets.token_urlsafe(16),
        name=name,
        role=role.value,
        fingerprint=current_app.extensions["captionloop_fingerprint"],
    )
    return redirect(_destination())


@pages.post("/logout")
def logout() -> AnyResponse:
    end_session(current_room().context.database, session["id"])
    session.clear()
    flash("You are signed out.")
    return redirect(url_for("pages.login"))


def _destination() -> str:
    """The page that was requested before signing in."""
    return own_address(request.values.get("next"), otherwise=url_for("pages.start"))


def own_address(wanted: str | None, *, otherwise: str) -> str:
    """An address from a browser, if it is one of ours, so that redirects never lead to another site.

    Browsers take `//host` and `/\\host` for another host, and ignore tabs and line breaks.
    """
    is_ours = bool(_OWN_ADDRESS.match(wanted or ""))
    return wanted if wanted and is_ours else otherwise


def current_gatekeeper() -> Gatekeeper:
    return cast(Gatekeeper, current_app.extensions["captionloop_gatekeeper"])
