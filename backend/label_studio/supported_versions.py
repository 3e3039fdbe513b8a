"""Whether a version of Label Studio is supported (docs/label-studio.md has the table)."""

import re

from captionloop.settings import LABEL_STUDIO_VERSION, OLDEST_LABEL_STUDIO

UPGRADE = (
    f"Upgrade it: `pip install label-studio=={LABEL_STUDIO_VERSION}`, or the image "
    f"heartexlabs/label-studio:{LABEL_STUDIO_VERSION}."
)
"""The remedy for a version that is too old."""

_NUMBERS = re.compile(r"\d+(?:\.\d+)+")


def too_old(version: str) -> str | None:
    """A message if the version is older than the oldest supported one, else None.

    Args:
        version: from `LabelStudio.version`; 1.10.1 calls itself `1.10.1dev`. None for one that does not begin with a
            number.
    """
    found = _NUMBERS.match(version)
    if found is None or _numbers(found.group()) >= _numbers(OLDEST_LABEL_STUDIO):
        return None
    return f"{version} is older than {OLDEST_LABEL_STUDIO}, the oldest that Captionloop was tried with"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
