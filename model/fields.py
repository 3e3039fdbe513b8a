"""The fields of a settings class, when its values come back from JSON."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from captionloop.errors import CaptionloopError


def refuse_unknown(cls: type, values: Mapping[str, Any], *, called: str, error: type[CaptionloopError]) -> None:
    """Check that each value belongs to a field of the dataclass `cls`.

    Args:
        called: what the message calls such a value, as "generation setting".

    Raises:
        error: it names the values that do not, and the fields there are.
    """
    known = [field.name for field in fields(cls)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise error(f"Unknown {called} {', '.join(unknown)}; known are {', '.join(known)}.")
