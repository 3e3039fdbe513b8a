"""Encryption of secrets on disk and in the database.

The key is CAPTIONLOOP_KEY, else one in the home directory (`seal.keys`), created when first needed. There may be
several, newest first: the first one encrypts, all of them decrypt. Those in the home are read each time, since
`captionloop key rotate` may have changed them.

Encrypted values begin with `sealed:`. Others were written by a release without encryption.
"""

import base64
import binascii
import os
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from captionloop.errors import LostKeyError, SettingsError
from captionloop.home import Home, make_once, write_atomically
from captionloop.settings import Secret

_MARK = "sealed:"
_KEY_BYTES = 32
_MAKE_ONE = "Make one with `openssl rand -base64 32`."


class Seal:
    """The keys of one installation. Thread-safe."""

    def __init__(self, home: Home, key: Secret | None = None) -> None:
        """
        Args:
            key: CAPTIONLOOP_KEY: one key or several, with commas in between.

        Raises:
            SettingsError: it contains an invalid key.
        """
        self._home = home
        self._given_keys = key.reveal().split(",") if key else []
        self._given = _read(self._given_keys, source="CAPTIONLOOP_KEY")

    def encrypt(self, secret: str) -> str:
        """Encrypt a secret to text."""
        keys = self._given or self._in_home() or self._made()
        return _MARK + keys[0].encrypt(secret.encode()).decode()

    def derived(self, purpose: str) -> bytes | None:
        """32 bytes for another purpose that follow from CAPTIONLOOP_KEY (its first key); None if it is not set.

        HKDF with SHA-256 (RFC 5869), which tells nothing about the key itself.
        """
        if not self._given_keys:
            return None
        key = base64.urlsafe_b64decode(_checked(self._given_keys[0].strip(), "CAPTIONLOOP_KEY"))
        return HKDF(hashes.SHA256(), length=_KEY_BYTES, salt=None, info=f"captionloop {purpose}".encode()).derive(key)

    def decrypt(self, kept: str, *, what: str, lost: str) -> str:
        """Decrypt a stored value.

        Args:
            what: its name in error messages.
            lost: what to do if the key is lost.

        Raises:
            LostKeyError: it was encrypted with another key.
        """
        if not is_sealed(kept):
            return kept
        keys = [*self._given, *self._in_home()]
        try:
            if not keys:
                raise InvalidToken
            return MultiFernet(keys).decrypt(kept.removeprefix(_MARK)).decode()
        except InvalidToken as error:
            found = "no key that is known fits" if keys else "no key is known"
            raise LostKeyError(
                f"{what} is encrypted, and {found}. Put the key with which it was written back into CAPTIONLOOP_KEY or "
                f"{self._home.seal_keys}. If it is lost for good: {lost}"
            ) from error

    def begin_rotation(self) -> list[str]:
        """Encrypt with a new key from now on, while the old ones still decrypt; returns the old ones in the home.

        With CAPTIONLOOP_KEY set, its first key is the new one.
        """
        old = self._lines()
        if not self._given:
            write_atomically(self._home.seal_keys, _text([_new_key(), *old]))
        return old

    def end_rotation(self, old: Sequence[str]) -> None:
        """Delete the old keys, once nothing is encrypted with them."""
        kept = [key for key in self._lines() if key not in old]
        if kept:
            write_atomically(self._home.seal_keys, _text(kept))
        else:
            self._home.seal_keys.unlink(missing_ok=True)

    def _made(self) -> list[Fernet]:
        """Created once; concurrent processes get the same."""
        self._home.create()
        made = make_once(self._home.seal_keys, _text([_new_key()]))
        return _read(made.decode().split(), source=str(self._home.seal_keys))

    def _in_home(self) -> list[Fernet]:
        return _read(self._lines(), source=str(self._home.seal_keys))

    def _lines(self) -> list[str]:
        """The keys in the home, newest first."""
        try:
            return self._home.seal_keys.read_text(encoding="ascii", errors="replace").split()
        except FileNotFoundError:
            return []


def is_sealed(kept: str) -> bool:
    return kept.startswith(_MARK)


def _new_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode()


def _text(keys: Sequence[str]) -> bytes:
    return "".join(f"{key}\n" for key in keys).encode()


def _read(keys: Sequence[str], *, source: str) -> list[Fernet]:
    return [Fernet(_checked(key.strip(), source)) for key in keys]


def _checked(key: str, source: str) -> bytes:
    """A key in Fernet's format. The error message does not contain it."""
    try:
        raw = base64.b64decode(key.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise SettingsError(f"{source} has to hold {_KEY_BYTES} random bytes in base64, and does not. {_MAKE_ONE}")
    return base64.urlsafe_b64encode(raw)
