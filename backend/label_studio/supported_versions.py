"""Whether a Label Studio is one of those that Captionloop was tried with (docs/label-studio.md has the table)."""

import re

from captionloop.settings import LABEL_STUDIO_VERSION, OLDEST_LABEL_STUDIO

UPGRADE = (
    f"Upgrade it: `pip install label-studio=={LABEL_STUDIO_VERSION}`, or the image "
    f"heartexlabs/label-studio:{LABEL_STUDIO_VERSION}."
)
"""What to do about one that is too old."""

_NUMBERS = re.compile(r"\d+(?:\.\d+)+")


def too_old(version: str) -> str | None:
    """What to know of a Label Studio that is older than all that were tried; None for any other.

    Args:
        version: as `LabelStudio.version` gives it; 1.10.1 calls itself `1.10.1dev`. Of one that begins with no number
            nothing is known, and so nothing said.
    """
    found = _NUMBERS.match(version)
    if found is None or _numbers(found.group()) >= _numbers(OLDEST_LABEL_STUDIO):
        return None
    return f"{version} is older than {OLDEST_LABEL_STUDIO}, the oldest that Captionloop was tried with"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
