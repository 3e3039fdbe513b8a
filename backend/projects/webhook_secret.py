"""The secret of a project's webhook: in a header of each of its events, and encrypted in the project's row.

It is created when the project is connected. A project that was only seen has none, and so only accepts events with the
lead's pair.
"""

import secrets

from captionloop.errors import LostKeyError
from captionloop.seal import Seal, is_sealed

SECRET_HEADER = "X-Captionloop-Secret"  # noqa: S105 (the name of a header)


def read(kept: str, seal: Seal | None) -> str:
    """Decrypt a row's secret; empty if there is none.

    Args:
        seal: None if none is encrypted.

    Raises:
        LostKeyError: it was encrypted with an unknown key.
    """
    if seal is None:
        return "" if is_sealed(kept) else kept
    return seal.decrypt(
        kept, what="The secret of the project's webhook", lost="run `captionloop connect --project ID` again."
    )


def kept_or_new(kept: str, seal: Seal) -> str:
    """The stored secret encrypted with the present key, or a new one if it cannot be decrypted."""
    try:
        secret = read(kept, seal)
    except LostKeyError:  # Label Studio is told the new one in a moment
        secret = ""
    return kept if secret and is_sealed(kept) else seal.encrypt(secret or secrets.token_urlsafe(32))
