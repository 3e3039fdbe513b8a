"""Settings that are stored as JSON or typed by people: frozen dataclasses whose values pydantic validates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from captionloop.errors import CaptionloopError, SettingsError

PrecisionSetting = Literal["auto", "fp32", "bf16"]
"""The number format for captioning that is asked for; "auto" is bf16 where the hardware computes in it, else fp32."""


@dataclass(frozen=True)
class Expected:
    """In a field's annotation: what its value should be, for the message about a wrong one."""

    text: str


def _storable(text: str) -> str:
    """Refuse what UTF-8 has no bytes for (of arguments that are no text), and NUL, which PostgreSQL does not store."""
    if _UNSTORABLE.search(text):
        raise ValueError("no text")
    return text


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

Whole = Annotated[int, Field(ge=1), Expected("a whole number above 0")]
Share = Annotated[float, Field(ge=0, lt=1), Expected("a number from 0 to below 1")]
Switch = Annotated[bool, Expected("true or false")]
Text = Annotated[str, AfterValidator(_storable), Expected("a text")]


@dataclass(frozen=True)
class StoredSettings:
    """Base of the settings classes. Their annotations say what pydantic accepts, in its strict mode.

    Attributes:
        called: what messages call one of them, as "generation setting".
        error: the error about a wrong name or value.
    """

    called: ClassVar[str]
    error: ClassVar[type[CaptionloopError]] = SettingsError

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        try:
            valid = self._model().model_validate({name: getattr(self, name) for name in names})
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            raise self.wrong(name, self.expected(name)) from error
        for name in names:  # as pydantic converted it: a list of JSON to a tuple
            object.__setattr__(self, name, getattr(valid, name))

    def wrong(self, name: str, expected: str) -> CaptionloopError:
        """The error that says what a field has and what is expected."""
        return self.error(f"{_capitalised(self.called)} {name} is {getattr(self, name)!r}; expected {expected}.")

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The mirror of `to_dict`; what is missing takes its default.

        Raises:
            CaptionloopError: `error`, about an unknown name, a wrong value, or a missing one that has no default.
        """
        cls.refuse_unknown(values)
        for field in fields(cls):
            if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
                raise cls.error(f"There is no {cls.called} {field.name}; expected {cls.expected(field.name)}.")
        return cls(**values)

    @classmethod
    def refuse_unknown(cls, names: Iterable[str]) -> None:
        """Check that each name is that of a setting.

        Raises:
            CaptionloopError: `error`, with the names that are not, and the settings there are.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise cls.error(f"Unknown {cls.called} {', '.join(unknown)}; known are {', '.join(known)}.")

    @classmethod
    def expected(cls, name: str) -> str:
        """What values a field takes, in words: as its annotation says, or the choices of a Literal."""
        field = cls._model().model_fields[name]
        said = [found.text for found in field.metadata if isinstance(found, Expected)]
        return said[-1] if said else f"one of {', '.join(get_args(field.annotation))}"

    @classmethod
    @cache
    def _model(cls) -> type[BaseModel]:
        """The pydantic model with the same fields."""
        kinds = get_type_hints(cls, include_extras=True)
        required: dict[str, Any] = {field.name: (kinds[field.name], ...) for field in fields(cls)}
        config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
        return create_model(cls.__name__, __config__=config, **required)


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def read_pairs(cls: type[StoredSettings], pairs: Iterable[str], *, example: str) -> dict[str, Any]:
    """`name=value` pairs as typed → values by name, converted to the field types of `cls` but not validated.

    Args:
        example: a valid pair.

    Raises:
        CaptionloopError: `cls.error`, about what is not a pair, or an unknown name.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise cls.error(f"{pair!r} is no {cls.called}; expected name=value, such as {example}.")
        values[name.strip()] = text.strip()
    cls.refuse_unknown(values)
    kinds = get_type_hints(cls)  # without what `Annotated` adds: limits are for validation to check
    return {name: _typed(text, kinds[name]) for name, text in values.items()}


def _typed(text: str, kind: Any) -> Any:
    """Convert a text to a field's type; an unconvertible text is returned, for validation to reject."""
    try:
        return TypeAdapter(kind).validate_strings(text)
    except ValidationError:
        return text
