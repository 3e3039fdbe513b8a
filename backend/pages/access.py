"""Login and protection of the pages: sessions, roles, CSRF tokens, headers.

Two accounts are this server's own: the lead's, which Label Studio calls with, and the reader's. Everybody else signs
in with their account in Label Studio, or is named by a trusted proxy. A session is a signed cookie with the account's
name; signing out ends it in every backend. Those of the two accounts end when a password changes, the others when Label
Studio no longer accepts what was signed in with. Without a session every request gets the login form: pages, images
and downloads alike. What an account may change, its role says.
"""

import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass
from functools import partial
from typing import cast

from flask import Flask, Response, current_app, flash, g, redirect, render_template, request, session, url_for
from flask.sessions import SessionMixin
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Response as AnyResponse

from captionloop.backend.access.ended_sessions import end_session, has_ended
from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.access.people import Person
from captionloop.backend.access.roles import Role
from captionloop.backend.access.session_key import session_key
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.home import Home
from captionloop.seal import Seal

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = frozenset({"pages.login", "pages.sign_in", "pages.static"})
# For readers, too: signing out changes nothing for others, and a picture to try is sent as a form and not kept.
UPLOAD = "pages.try_it_with"
_FOR_ALL = frozenset({"pages.logout", UPLOAD})
# The changes that are about captions.
_REVIEWING = frozenset({
    "pages.decide", "pages.edit", "pages.undo", "pages.choose", "pages.set_training", "pages.dismiss",
    "pages.take_back",
})  # fmt: skip
_CAPTIONING = "pages.caption"  # begins the names of all that an annotator needs
_ANNOTATING = frozenset({"pages.start", "pages.image", "pages.logout"})
_FORM_BYTES = 1_000_000  # many times what any form of the pages sends, except with a picture
_OWN_ADDRESS = re.compile(r"/(?![/\\])[^\x00-\x20\\]*\Z")
_TOKEN_ACCOUNT = "an access token"  # noqa: S105 (under which wrong ones are counted)
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

    @property
    def may_review(self) -> bool:
        return self.role.may_review


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
    """The account that the trusted proxy names, else that of the request's session; None without one, or when it has
    ended."""
    if (email := _named_by_proxy()) is not None:
        if session.get("name") != email:  # whoever used this browser before
            _begin_session(email, is_person=True)
        return Visitor(email, current_gatekeeper().roles.of(email))
    found = visitor_of(current_app, session)
    if found is None or has_ended(current_room().context.database, session["id"]):
        return None
    if "person" in session and not current_room().people.still_accepted(session["id"]):
        return None
    return found


def visitor_of(app: Flask, session: SessionMixin) -> Visitor | None:
    """The account of a session of an app, if no password has changed. Checks neither for a sign-out nor with Label
    Studio."""
    known = str(app.extensions["captionloop_fingerprint"])
    if "id" not in session or not hmac.compare_digest(str(session.get("fingerprint")), known):
        return None
    if "person" in session:  # whose role is what the settings say now
        roles = cast(Gatekeeper, app.extensions["captionloop_gatekeeper"]).roles
        return Visitor(session["name"], roles.of(session["name"]))
    return Visitor(session["name"], Role(session["role"]))


def _named_by_proxy() -> str | None:
    settings = current_room().settings
    email = request.headers.get(settings.user_header, "").strip().lower() if settings.user_header else ""
    # Who is connected, also where that proxy is believed to tell whom it was asked by.
    connected = request.environ.get("werkzeug.proxy_fix.orig", {}).get("REMOTE_ADDR") or request.remote_addr or ""
    try:
        peer = ipaddress.ip_address(connected)
    except ValueError:  # a unix socket has none
        return None
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return email if email and settings.user_header_from.has("", peer) else None


def require_token() -> None:
    """Refuse a change without the session's CSRF token."""
    cast(CSRFProtect, current_app.extensions["captionloop_csrf"]).protect()


def require_lead(who: Visitor) -> None:
    """Refuse a change by a reader or a reviewer."""
    if not who.may_change:
        raise Forbidden(f"The account {who.name!r} may look at everything and change nothing of this.")


def require_reviewer(who: Visitor) -> None:
    """Refuse a decision about captions by a reader."""
    if not who.may_review:
        raise Forbidden(f"The account {who.name!r} may look at everything and change nothing.")


def require_pages(who: Visitor) -> None:
    """Refuse an annotator what is not the caption screen."""
    if not who.role.sees_pages:
        raise Forbidden(f"The account {who.name!r} writes captions; the other pages are for reviewers and leads.")


@pages.before_request
def _admit() -> AnyResponse | None:
    # Said before the token is looked for, which reads the whole form.
    uploaded = current_room().context.image_limits.max_bytes if request.endpoint == UPLOAD else 0
    request.max_content_length = uploaded + _FORM_BYTES
    endpoint = request.endpoint or ""
    if endpoint in _OPEN:
        return None
    found = signed_in()
    if found is None:
        return _to_login()
    g.visitor = found
    captions = endpoint.startswith(_CAPTIONING)
    if not captions and endpoint not in _ANNOTATING:
        require_pages(found)
    if request.method not in SAFE_METHODS:
        require_token()
        if endpoint in _REVIEWING:
            require_reviewer(found)
        elif endpoint not in _FOR_ALL and not captions:
            require_lead(found)
    return None


def _to_login() -> AnyResponse:
    address = url_for("pages.login", next=request.full_path if request.method == "GET" else None)
    if "HX-Request" in request.headers:  # htmx would put the form into a corner of the page
        return Response(status=401, headers={"HX-Redirect": address})
    return redirect(address)


@pages.after_request
def guard(response: Response) -> Response:
    """Set security headers: only content of this server, no inline script, no framing."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


@pages.get("/login")
def login() -> str | AnyResponse:
    return redirect(_destination()) if signed_in() else _form()


@pages.post("/login")
def sign_in() -> AnyResponse | tuple[str, int]:
    """Start a session; what does not fit is answered with the form and 401."""
    require_token()
    name, token = request.form.get("user", "").strip(), request.form.get("token", "").strip()
    if (found := _by_token(token) if token else _by_password(name)) is None:
        return _form(failed=name, failed_token=bool(token)), 401
    if isinstance(found, Role):
        _begin_session(name, role=found)
    else:
        _begin_session(found.email, is_person=True)
        current_room().people.begin(session["id"], found)
    return redirect(_destination())


def _by_password(name: str) -> Role | Person | None:
    password, gatekeeper, people = request.form.get("password", ""), current_gatekeeper(), current_room().people
    if gatekeeper.is_own(name) or "@" not in name or not people.are_known:
        return gatekeeper.sign_in(request, name, password)
    check = partial(people.with_password, name, password)
    return gatekeeper.sign_in_elsewhere(request, name.lower(), password, check)


def _by_token(token: str) -> Person | None:
    check = partial(current_room().people.with_token, token)
    return current_gatekeeper().sign_in_elsewhere(request, _TOKEN_ACCOUNT, token, check)


def _begin_session(name: str, *, role: Role | None = None, is_person: bool = False) -> None:
    session.clear()
    session.update(
        id=secrets.token_urlsafe(16), name=name, fingerprint=current_app.extensions["captionloop_fingerprint"]
    )
    session.update({"person": True} if is_person else {"role": str(role)})


def _form(*, failed: str | None = None, failed_token: bool = False) -> str:
    return render_template(
        "login.html",
        is_open=current_gatekeeper().is_open,
        destination=_destination(),
        failed=failed,
        failed_token=failed_token,
        has_label_studio=current_room().people.are_known,
    )


@pages.post("/logout")
def logout() -> AnyResponse:
    if "id" in session:
        end_session(current_room().context.database, session["id"])
        current_room().people.end(session["id"])
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
