"""Time zones by their names in the IANA database."""

import os
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

_LOCAL = Path("/etc/localtime")


def time_zone(name: str) -> tzinfo:
    """
    Raises:
        ValueError: there is no such zone.
    """
    if name == "UTC":  # also where the database is not installed
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, LookupError, ValueError) as error:
        raise ValueError(f"no time zone is called {name!r}") from error


def local_zone() -> str | None:
    """The name of this machine's zone; None if it has none, but a rule of its own."""
    given = os.environ.get("TZ", "").removeprefix(":")
    name = given or (str(_LOCAL.resolve()).rpartition("/zoneinfo/")[2] if _LOCAL.is_symlink() else "UTC")
    name = "UTC" if name.rpartition("/")[2] == "UTC" else name
    try:
        time_zone(name)
    except ValueError:
        return None
    return name
