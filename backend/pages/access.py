"""Signing in to the pages, and what protects them: sessions, roles, CSRF tokens, headers.

A session is a signed cookie that names the account; it ends with signing out, and when a password is changed. Whoever
has no session gets the form, whatever was asked for: pages, images and downloads alike. Only the lead may change
anything.
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
_FORM_BYTES = 1_000_000  # many times what any form of the pages sends beside a picture
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
    """Who looks at a page."""

    name: str
    role: Role

    @property
    def may_change(self) -> bool:
        return self.role is Role.LEAD


def protect(app: Flask, gatekeeper: Gatekeeper, *, home: Home, seal: Seal, is_https: bool) -> None:
    """Give the app sessions and CSRF tokens.

    Args:
        home: where the key lies that cookies are signed with; made when first needed.
        seal: what it is encrypted with there.
        is_https: whether people reach the pages encrypted, so that the cookie may insist on it.

    Raises:
        LostKeyError: the key that cookies are signed with was encrypted with another one.
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
    """Who asks; only behind `_admit`."""
    return cast(Visitor, g.visitor)


def signed_in() -> Visitor | None:
    """The account of the session that comes with the request; None without one, or when it has ended."""
    found = visitor_of(current_app, session)
    return None if found and has_ended(current_room().context.database, session["id"]) else found


def visitor_of(app: Flask, session: SessionMixin) -> Visitor | None:
    """The account of any session of an app's, if no password has changed; whether it was signed out of is not asked."""
    known = str(app.extensions["captionloop_fingerprint"])
    if "id" not in session or not hmac.compare_digest(str(session.get("fingerprint")), known):
        return None
    return Visitor(session["name"], Role(session["role"]))


def require_token() -> None:
    """Refuse a change that does not carry the session's CSRF token."""
    cast(CSRFProtect, current_app.extensions["captionloop_csrf"]).protect()


def require_lead(who: Visitor) -> None:
    """Refuse a change by somebody who may only look."""
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
    """Tell the browser what an answer may do: nothing but show what comes from here."""
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
    """The page that somebody wanted before signing in."""
    return own_address(request.values.get("next"), otherwise=url_for("pages.start"))


def own_address(wanted: str | None, *, otherwise: str) -> str:
    """An address that a browser brought, if it is one of ours; a redirect never leads to another site.

    A browser takes `//host` and `/\\host` for another one, and leaves out tabs and line ends before it looks.
    """
    is_ours = bool(_OWN_ADDRESS.match(wanted or ""))
    return wanted if wanted and is_ours else otherwise


def current_gatekeeper() -> Gatekeeper:
    return cast(Gatekeeper, current_app.extensions["captionloop_gatekeeper"])
