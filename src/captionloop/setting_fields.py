"""Parsing of a settings class from JSON or from typed `name=value` pairs."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Literal

from captionloop.errors import CaptionloopError, SettingsError

PrecisionSetting = Literal["auto", "fp32", "bf16"]
"""The number format for captioning that is asked for; "auto" is bf16 where the hardware computes in it, else fp32."""


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


def read_pairs(cls: type, pairs: Iterable[str], *, called: str, example: str) -> dict[str, Any]:
    """`name=value` pairs as typed → values by name, converted to the field types of `cls` but not validated.

    Args:
        called: what messages call such a value, as "fine-tuning setting".
        example: a valid pair.

    Raises:
        SettingsError: not a pair, or an unknown name.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise SettingsError(f"{pair!r} is no {called}; expected name=value, such as {example}.")
        values[name.strip()] = text.strip()
    refuse_unknown(cls, values, called=called, error=SettingsError)
    types = {item.name: str(item.type) for item in fields(cls)}
    return {name: _typed(text, types[name]) for name, text in values.items()}


def _typed(text: str, kind: str) -> Any:
    """Convert a text to a field's type; an unconvertible text is returned, for validation to reject."""
    if kind == "bool":
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return int(text) if kind.startswith("int") else float(text) if kind.startswith("float") else text
    except ValueError:
        return text
