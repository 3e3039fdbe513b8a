"""The key that the cookies of the pages' sessions are signed with.

It follows from CAPTIONLOOP_KEY, so that backends with separate homes have the same one. Without that, it is in the home
directory, encrypted.
"""

import secrets

from captionloop.home import Home, make_once, write_atomically
from captionloop.seal import Seal, is_sealed


def session_key(home: Home, seal: Seal) -> bytes:
    """The key, which all backends of one installation share; in the home directory it is made when there is none.

    Raises:
        LostKeyError: it was encrypted with an unknown key.
    """
    return seal.derived("session key") or session_key_in_home(home, seal)


def session_key_in_home(home: Home, seal: Seal) -> bytes:
    """
    Raises:
        LostKeyError: as above.
    """
    if not home.session_key.exists():
        make_once(home.session_key, seal.encrypt(secrets.token_hex(32)).encode())
    kept = home.session_key.read_bytes()
    if not is_sealed(kept.decode("latin-1")):  # an earlier release kept it as it was
        return kept
    lost = "delete the file; everybody then has to sign in again."
    opened = seal.decrypt(kept.decode(), what=f"The key of the pages' sessions in {home.session_key}", lost=lost)
    return opened.encode("latin-1")


def seal_session_key_again(home: Home, seal: Seal) -> int:
    """Encrypt the key in the home again; returns the number of keys, 1 or 0.

    Raises:
        LostKeyError: as above.
    """
    if not home.session_key.exists():
        return 0
    key = session_key_in_home(home, seal)
    write_atomically(home.session_key, seal.encrypt(key.decode("latin-1")).encode())
    return 1
