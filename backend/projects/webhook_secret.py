"""The secret of a project's webhook: in a header of each of its events, and encrypted in the project's row.

It is made when the project is connected, which is when Label Studio is told it. A project that was only seen has none,
and so takes no events but those that carry the lead's pair.
"""

import secrets

from captionloop.errors import LostKeyError
from captionloop.seal import Seal, is_sealed

SECRET_HEADER = "X-Captionloop-Secret"  # noqa: S105 (the name of a header)


def read(kept: str, seal: Seal | None) -> str:
    """The secret in what a row keeps; empty when there is none.

    Args:
        seal: None where none is encrypted.

    Raises:
        LostKeyError: it was encrypted with a key that is not known here.
    """
    if seal is None:
        return "" if is_sealed(kept) else kept
    return seal.decrypt(
        kept, what="The secret of the project's webhook", lost="run `captionloop connect --project ID` again."
    )


def kept_or_new(kept: str, seal: Seal) -> str:
    """What a row is to keep so that there is a secret in it that can be read, encrypted."""
    try:
        secret = read(kept, seal)
    except LostKeyError:  # Label Studio is told the new one in a moment
        secret = ""
    return kept if secret and is_sealed(kept) else seal.encrypt(secret or secrets.token_urlsafe(32))
