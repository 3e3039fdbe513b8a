"""Rotation of the encryption key, while everything runs.

The new key is added before the old ones, all secrets are encrypted with it, and only then the old ones are deleted: if
this is interrupted, everything can still be decrypted, and repeating it completes the rotation.
"""

from dataclasses import dataclass

from sqlalchemy import select

from captionloop.backend.access.people import seal_people_again
from captionloop.backend.access.session_key import seal_session_key_again, session_key_in_home
from captionloop.backend.local import services
from captionloop.backend.projects import webhook_secret
from captionloop.errors import LostKeyError
from captionloop.home import Home
from captionloop.model.database import SECRETS_LOCK, Database, Project, wait_for_lock
from captionloop.seal import Seal
from captionloop.settings import Settings


@dataclass(frozen=True)
class Rotated:
    """Numbers of re-encrypted secrets."""

    logins: int  # of `captionloop up`: passwords and tokens
    session_keys: int
    webhooks: int
    people: int  # what people who signed in with Label Studio are known by there

    @property
    def total(self) -> int:
        return self.logins + self.session_keys + self.webhooks + self.people


def rotate_key(settings: Settings, database: Database) -> Rotated:
    """Encrypt everything with a new key: a generated one, or the first in CAPTIONLOOP_KEY.

    Raises:
        LostKeyError: something was encrypted with an unknown key. Nothing is changed then.
        SettingsError: CAPTIONLOOP_KEY is not a valid key.
    """
    home = Home(settings.home)
    seal = Seal(home, settings.key)
    # One rotation at a time, and none beside a secret that is being written.
    with database.session() as session:
        wait_for_lock(session.connection(), SECRETS_LOCK)
        projects = [row for row in session.scalars(select(Project)) if row.webhook_secret]
        services.login(home, key=settings.key)
        if home.session_key.exists():
            session_key_in_home(home, seal)
        plain = {row.id: _secret_of(row, seal) for row in projects}
        old = seal.begin_rotation()
        logins = services.seal_again(home, key=settings.key)
        session_keys = seal_session_key_again(home, seal)
        for row in projects:
            row.webhook_secret = seal.encrypt(plain[row.id])
        people = seal_people_again(session, seal)
    with database.session() as session:
        wait_for_lock(session.connection(), SECRETS_LOCK)
        seal.end_rotation(old)
    return Rotated(logins, session_keys, len(projects), people)


def _secret_of(row: Project, seal: Seal) -> str:
    try:
        return webhook_secret.read(row.webhook_secret, seal)
    except LostKeyError as error:
        raise LostKeyError(f"Project {row.label_studio_id}: {error}") from error
