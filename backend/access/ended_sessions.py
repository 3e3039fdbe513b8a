"""Sessions that were signed out of.

A session is a signed cookie, which the browser forgets when somebody signs out. A copy of it would go on being valid
until a password changes, so the database remembers which sessions have ended, for all backends.
"""

import hashlib

from captionloop.model.database import Database, SignedOut


def end_session(database: Database, session_id: str) -> None:
    with database.session() as session:
        session.merge(SignedOut(session=_digest(session_id)))


def has_ended(database: Database, session_id: str) -> bool:
    with database.reading() as session:
        return session.get(SignedOut, _digest(session_id)) is not None


def _digest(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()
