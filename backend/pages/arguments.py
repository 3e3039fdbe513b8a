"""Parsing of query and form arguments."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import TypeVar

from werkzeug.exceptions import BadRequest

from captionloop.model.database import LARGEST_ID

Value = TypeVar("Value")

YES_NO = {"yes": True, "no": False}
_LONGEST_SEARCH = 1000  # characters
_MOST_NUMBERS = 500
_DIGITS = len(str(LARGEST_ID))


def number_in(given: Mapping[str, str], name: str) -> int | None:
    """A whole number in the database's range; None for anything else."""
    with suppress(ValueError):
        number = int(given.get(name, ""))
        return number if abs(number) <= LARGEST_ID else None
    return None


def one_of(given: Mapping[str, str], name: str, values: Mapping[str, Value]) -> Value | None:
    """The meaning of a value; None if it is missing or empty.

    Raises:
        BadRequest: it is not one of them.
    """
    value = given.get(name, "")
    if value and value not in values:
        raise BadRequest(f"{name} is {value!r}; expected one of {', '.join(values)}.")
    return values[value] if value else None


def numbers_of(given: Mapping[str, str], name: str) -> tuple[int, ...]:
    """Whole numbers with commas or spaces between them; none if they are missing.

    Raises:
        BadRequest: one is no number of the database's range, or there are too many.
    """
    found = given.get(name, "").replace(",", " ").split()
    if len(found) > _MOST_NUMBERS:
        raise BadRequest(f"{name} are {len(found)} numbers; there is room for {_MOST_NUMBERS}.")
    if wrong := [text for text in found if not (text.isascii() and text.isdigit() and len(text) < _DIGITS)]:
        raise BadRequest(f"{name} has {wrong[0][:40]!r}; expected whole numbers such as 214, 215.")
    return tuple(map(int, found))


def share_of(given: Mapping[str, str], name: str) -> float | None:
    """A number between 0 and 1; None if it is missing or empty.

    Raises:
        BadRequest: it is not a number.
    """
    value = given.get(name, "").strip()
    try:
        return float(value) if value else None
    except ValueError as error:
        raise BadRequest(f"{name} is {value!r}; expected a number between 0 and 1.") from error


def day_of(given: Mapping[str, str], name: str) -> date | None:
    """A date as 2026-11-24; None if it is missing or empty.

    Raises:
        BadRequest: it is not a date.
    """
    value = given.get(name, "").strip()
    try:
        return date.fromisoformat(value) if value else None
    except ValueError as error:
        raise BadRequest(f"{name} is {value!r}; expected a day as 2026-11-24.") from error


def search_of(given: Mapping[str, str], name: str) -> str:
    """A text to search for; empty if it is missing.

    Raises:
        BadRequest: it is too long.
    """
    value = given.get(name, "").strip()
    if len(value) > _LONGEST_SEARCH:
        raise BadRequest(f"{name} has {len(value)} characters; there is room for {_LONGEST_SEARCH}.")
    return value
