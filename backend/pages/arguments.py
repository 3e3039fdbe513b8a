"""What stands behind the question mark of a page's address."""

from collections.abc import Mapping
from contextlib import suppress

from captionloop.model.database import LARGEST_ID


def number_in(given: Mapping[str, str], name: str) -> int | None:
    """A whole number that the database can hold; anything else is as good as not given."""
    with suppress(ValueError):
        number = int(given.get(name, ""))
        return number if abs(number) <= LARGEST_ID else None
    return None
