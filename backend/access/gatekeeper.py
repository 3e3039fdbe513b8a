"""Authentication: Basic auth for Label Studio's calls, a secret header for its webhook events, accounts for people.

Label Studio sends the Basic pair with every call to an ML backend except annotation events, which carry only the
headers stored on the webhook itself (docs/label-studio.md). The same pair signs a person in to the pages as lead.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import TooManyRequests, Unauthorized

from captionloop.backend.access.failed_logins import FailedLogins, TooManyFailuresError
from captionloop.backend.access.roles import Role, Roles
from captionloop.backend.projects import webhook_secret
from captionloop.backend.projects.webhook_secret import SECRET_HEADER
from captionloop.errors import LostKeyError
from captionloop.seal import Seal
from captionloop.settings import Secret

READER = "reader"  # the user who sees the pages and changes nothing
T = TypeVar("T")
_NO_ROLES = Roles()


class Gatekeeper:
    """Checks credentials. Repeated wrong passwords are answered with 429 and the time to wait.

    The form and Basic auth are counted separately: a Label Studio with an old password locks nobody on the same machine
    out of the pages, nor does a person's typing error lock out Label Studio.
    """

    def __init__(
        self,
        user: str | None,
        password: Secret | None,
        *,
        reader_password: Secret | None = None,
        seal: Seal | None = None,
        roles: Roles = _NO_ROLES,
    ) -> None:
        """Without a password everybody may call the protocol, and nobody can sign in to the pages.

        Args:
            seal: decrypts webhook secrets; None if none is encrypted.
            roles: of people who sign in with Label Studio.
        """
        self._seal = seal
        self.roles = roles
        self._user = user or ""
        self._password = password
        self._reader_password = reader_password
        self._failed_on_form = FailedLogins()
        self._failed_basic = FailedLogins()
        self._event_secrets: frozenset[str] = frozenset()

    @property
    def is_open(self) -> bool:
        return self._password is None

    def admits(self, request: Request) -> bool:
        """True if the request has the lead's Basic pair, or none is required."""
        return self._password is None or self.basic(request) == (self._user, Role.LEAD)

    def basic(self, request: Request) -> tuple[str, Role] | None:
        """The account of the request's Basic pair; None without a valid one.

        Raises:
            TooManyRequests: there were too many wrong ones for the same account from the same address.
        """
        given = request.authorization
        if given is None or given.type != "basic":
            return None
        user = given.username or ""
        role = self._attempt(self._failed_basic, request, user, given.password or "")
        return (user, role) if role else None

    def sign_in(self, request: Request, user: str, password: str) -> Role | None:
        """The role of an account from the login form; None if user or password is wrong.

        Raises:
            TooManyRequests: there were too many wrong ones for the same account from the same address.
        """
        return self._attempt(self._failed_on_form, request, user, password)

    def is_own(self, user: str) -> bool:
        """Whether an account's name is one of the two that this server has itself."""
        return user in {self._user, READER}

    def sign_in_elsewhere(self, request: Request, account: str, secret: str, check: Callable[[], T | None]) -> T | None:
        """What a check at another server finds for an account and its password or token, if it was not wrong too often.

        Raises:
            TooManyRequests: as above.
        """
        with _explained():
            return self._failed_on_form.attempt_elsewhere(request.remote_addr, account, secret, check)

    def _attempt(self, failed: FailedLogins, request: Request, user: str, password: str) -> Role | None:
        with _explained():
            return failed.attempt(request.remote_addr, user, password, lambda: self._role(user, password))

    def _role(self, user: str, password: str) -> Role | None:
        accounts = ((self._user, self._password, Role.LEAD), (READER, self._reader_password, Role.READER))
        for name, secret, role in accounts:
            # Both are always compared, so that timing reveals nothing.
            if secret and _equal(user, name) & _equal(password, secret.reveal()):
                return role
        return None

    def fingerprint(self, key: bytes) -> str:
        """Changes with every password, so that sessions are invalid after a change."""
        secrets = [secret.reveal() if secret else "" for secret in (self._password, self._reader_password)]
        return hmac.new(key, "\0".join([self._user, *secrets]).encode(), "sha256").hexdigest()

    def admits_event(self, request: Request, kept_secret: str) -> bool:
        """True if a webhook event has its project's secret, given in stored form.

        Raises:
            LostKeyError: the secret cannot be decrypted.
        """
        expected = webhook_secret.read(kept_secret, self._seal)
        return bool(expected) and _equal(request.headers.get(SECRET_HEADER), expected)

    def learn_events(self, kept_secrets: Iterable[str]) -> None:
        """Know the secrets of all webhooks, which are given as they are kept."""
        found = set()
        for kept in kept_secrets:
            with suppress(LostKeyError):  # told of where an event comes that needs it
                found.add(webhook_secret.read(kept, self._seal))
        self._event_secrets = frozenset(found - {""})

    def knows_event(self, request: Request) -> bool:
        """True when a request carries a secret that was learnt, of whichever project; no database is asked."""
        given = request.headers.get(SECRET_HEADER)
        return any(_equal(given, secret) for secret in self._event_secrets)

    def require(self, request: Request) -> None:
        """Refuse requests that may not call the protocol."""
        if not self.admits(request):
            raise _unauthorized(
                "User and password are needed. In Label Studio they are set on the model's card under Basic Auth."
            )

    def require_account(self, request: Request) -> None:
        """Refuse requests without an account, the reader's included, if accounts are required."""
        if not self.is_open and self.basic(request) is None:
            raise _unauthorized("User and password are needed: the lead's, or those of the user `reader`.")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except TooManyFailuresError as error:
        raise TooManyRequests(
            f"There were too many wrong passwords from your address. Try again in {error.wait_s} seconds.",
            retry_after=error.wait_s,
        ) from error


def _unauthorized(message: str) -> Unauthorized:
    # Werkzeug puts only a realm with spaces between the quotation marks that RFC 9110 (11.2) asks for.
    return Unauthorized(message, www_authenticate=WWWAuthenticate("basic", {"realm": "Captionloop ML backend"}))


def _equal(given: str | None, expected: str) -> bool:
    return hmac.compare_digest((given or "").encode(errors="surrogatepass"), expected.encode())
