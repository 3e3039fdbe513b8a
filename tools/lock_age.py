"""Say how old the versions in requirements.lock are, and fail where they are too old to have recent repairs."""

import datetime
import re
import sys
from pathlib import Path

MOST_DAYS = 90
_LOCK = Path(__file__).parents[1] / "requirements.lock"
# Written by `make lock ARGS=--upgrade`; without it, what is pinned stays, and so does the date.
_VERSIONS = re.compile(r"# Versions of (\d{4}-\d{2}-\d{2})\b")


def age(lock: str, today: datetime.date) -> int:
    """In days.

    Raises:
        ValueError: the first line has no date.
    """
    found = _VERSIONS.match(lock)
    if found is None:
        raise ValueError(
            "The first line of requirements.lock does not say of when it is; run `make lock ARGS=--upgrade`."
        )
    return (today - datetime.date.fromisoformat(found[1])).days


def main() -> None:
    days = age(_LOCK.read_text(encoding="utf-8"), datetime.datetime.now(datetime.UTC).date())
    if days > MOST_DAYS:
        sys.exit(f"requirements.lock is {days} days old, more than {MOST_DAYS}. Run: make lock ARGS=--upgrade")
    print(f"requirements.lock is {days} days old; {MOST_DAYS} is the most.")


if __name__ == "__main__":
    main()
