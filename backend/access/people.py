"""People who have signed in with their account in Label Studio.

The cookie has only their session's id. What Label Studio knows them by, a token or the cookies of a session there, is
in the database, encrypted, until they sign out or Label Studio refuses it. Every few minutes it is asked whether it
still accepts it.
"""

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from captionloop.backend.label_studio.browser_session import sign_in
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.errors import BusyError, LabelStudioError, LostKeyError
from captionloop.model.database import Database, PersonSession, utc_now
from captionloop.seal import Seal

_log = logging.getLogger(__name__)

ASK_AGAIN_AFTER = timedelta(minutes=5)
_MOST_CLIENTS = 64
# A Label Studio that hangs may occupy so many of the server's threads with sign-ins, and no more.
_SIGN_INS_AT_ONCE = 4


@dataclass(frozen=True)
class Person:
    """Somebody with an account in Label Studio.

    Args:
        email: in lower case.
        number: of the account there.
        credential: what it accepts: `{"token": …}`, or the cookies of a session.
    """

    email: str
    number: int
    credential: Mapping[str, str]


class People:
    """Their sessions, for one Label Studio. Thread-safe."""

    def __init__(self, database: Database, seal: Seal, *, url: str | None) -> None:
        """
        Args:
            url: of Label Studio; None: there is none, and nobody can sign in.
        """
        self._database = database
        self._seal = seal
        self._url = url
        self._lock = threading.Lock()  # guards the clients
        self._clients: OrderedDict[str, LabelStudio] = OrderedDict()
        self._signing_in = threading.BoundedSemaphore(_SIGN_INS_AT_ONCE)

    @property
    def are_known(self) -> bool:
        """Whether there is a Label Studio to sign in with."""
        return self._url is not None

    def with_password(self, email: str, password: str) -> Person | None:
        """The person of an e-mail and a password there; None if they do not fit.

        Raises:
            LabelStudioError: it does not answer.
            BusyError: too many people are signing in.
        """
        with _one_of(self._signing_in):
            cookies = sign_in(self._url, email, password) if self._url else None
            return None if cookies is None else self._verified(cookies)

    def with_token(self, token: str) -> Person | None:
        """The person of an access token, legacy or personal; None if it is not accepted. Raises as above."""
        if not (token and token.isascii() and token.isprintable()):  # no header can carry it
            return None
        with _one_of(self._signing_in):
            return self._verified({"token": token}) if self._url else None

    def _verified(self, credential: Mapping[str, str]) -> Person | None:
        with closing(self._opened(credential)) as client:
            try:
                account = client.who_am_i()
            except LabelStudioError as error:
                if error.status == HTTPStatus.UNAUTHORIZED:
                    return None
                raise
        return Person(str(account["email"]).lower(), int(account["id"]), credential)

    def begin(self, session_id: str, person: Person) -> None:
        """Keep a person's credential for a session."""
        kept = self._seal.encrypt(json.dumps(dict(person.credential)))
        row = PersonSession(
            session=digest(session_id), email=person.email, number=person.number, credential=kept, verified_at=utc_now()
        )
        with self._database.session() as session:
            session.merge(row)
        self._drop(session_id)

    def end(self, session_id: str) -> None:
        """Forget it. Idempotent."""
        with self._database.session() as session:
            session.execute(delete(PersonSession).where(PersonSession.session == digest(session_id)))
        self._drop(session_id)

    def find(self, session_id: str) -> PersonSession | None:
        with self._database.reading() as session:
            return session.get(PersonSession, digest(session_id))

    def still_accepted(self, session_id: str) -> bool:
        """Whether Label Studio accepts a session's credential, or did so minutes ago, or does not answer now."""
        found = self.find(session_id)
        if found is None:
            return False
        if utc_now() - found.verified_at < ASK_AGAIN_AFTER:
            return True
        try:
            client = self.client(session_id)
            if client is None or str(client.who_am_i()["email"]).lower() != found.email:
                self.end(session_id)
                return False
        except LabelStudioError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                self.end(session_id)
                return False
            _log.warning("whether %s is still signed in could not be asked: %s", found.email, error)
            return True
        with self._database.session() as session:
            session.get_one(PersonSession, found.session).verified_at = utc_now()
        return True

    def client(self, session_id: str) -> LabelStudio | None:
        """Label Studio as the person of a session; None if there is none."""
        with self._lock:
            if (known := self._clients.get(session_id)) is not None:
                self._clients.move_to_end(session_id)
                return known
        found = self.find(session_id)
        credential = None if found is None else self._credential(found)
        if credential is None:
            return None
        opened = self._opened(credential)
        with self._lock:
            self._clients[session_id] = opened
            dropped = self._clients.popitem(last=False)[1] if len(self._clients) > _MOST_CLIENTS else None
        if dropped is not None:
            dropped.close()
        return opened

    def _credential(self, found: PersonSession) -> Mapping[str, str] | None:
        try:
            opened = self._seal.decrypt(
                found.credential, what="A person's access to Label Studio", lost="everybody signs in again."
            )
        except LostKeyError as error:
            _log.warning("%s has to sign in again: %s", found.email, error)
            return None
        credential: Mapping[str, str] = json.loads(opened)
        return credential

    def _opened(self, credential: Mapping[str, str]) -> LabelStudio:
        assert self._url is not None
        if "token" in credential:
            return LabelStudio(self._url, credential["token"], retry_delays_s=())
        return LabelStudio.of_browser(self._url, credential)

    def _drop(self, session_id: str) -> None:
        with self._lock:
            dropped = self._clients.pop(session_id, None)
        if dropped is not None:
            dropped.close()

    def close(self) -> None:
        """Close all connections. Idempotent."""
        with self._lock:
            clients, self._clients = self._clients, OrderedDict()
        for client in clients.values():
            client.close()


def digest(session_id: str) -> str:
    """Whoever reads the table gets no cookie."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def seal_people_again(session: Session, seal: Seal) -> int:
    """Encrypt all credentials again; returns their number. Whose cannot be decrypted signs in again."""
    rows = list(session.scalars(select(PersonSession)))
    for row in rows:
        try:
            row.credential = seal.encrypt(seal.decrypt(row.credential, what="", lost=""))
        except LostKeyError:
            session.delete(row)
    return len(rows)


@contextmanager
def _one_of(places: threading.BoundedSemaphore) -> Iterator[None]:
    if not places.acquire(blocking=False):
        raise BusyError("Many people are signing in just now. Try again in a moment.")
    try:
        yield
    finally:
        places.release()
