"""The settings of a captioning run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from captionloop.errors import SettingsError
from captionloop.setting_fields import refuse_unknown


@dataclass(frozen=True)
class AnnotateSettings:
    """Which of the unlabelled tasks without the champion's suggestion to caption.

    Args:
        only_missing: only those without any suggestion.
        limit: at most this many; None: all.

    Raises:
        SettingsError: an invalid value.
    """

    only_missing: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.only_missing, bool):
            raise SettingsError(f"only_missing is {self.only_missing!r}; expected true or false.")
        whole = isinstance(self.limit, int) and not isinstance(self.limit, bool) and self.limit > 0
        if not (self.limit is None or whole):
            raise SettingsError(f"The limit is {self.limit!r}; expected a whole number above 0.")

    def joined(self, other: AnnotateSettings) -> AnnotateSettings:
        """Settings that satisfy both."""
        limits = (self.limit, other.limit)
        return AnnotateSettings(
            only_missing=self.only_missing and other.only_missing,
            limit=None if None in limits else max(limit for limit in limits if limit is not None),
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AnnotateSettings:
        """The mirror of `to_dict`; what is missing takes its default.

        Raises:
            SettingsError: an unknown name or a wrong value.
        """
        refuse_unknown(cls, values, called="setting of a captioning run", error=SettingsError)
        return cls(**values)
