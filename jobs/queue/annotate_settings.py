"""The settings of a captioning run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from captionloop.setting_fields import Expected, StoredSettings, Switch


@dataclass(frozen=True)
class AnnotateSettings(StoredSettings):
    """Which of the unlabelled tasks without the champion's suggestion to caption.

    Args:
        only_missing: only those without any suggestion.
        limit: at most this many; None: all; 0: only delete surplus suggestions.

    Raises:
        SettingsError: an invalid value.
    """

    called = "captioning setting"

    only_missing: Switch = False
    limit: Annotated[Annotated[int, Field(ge=0)] | None, Expected("a whole number from 0 on, or none")] = None

    def joined(self, other: AnnotateSettings) -> AnnotateSettings:
        """Settings that satisfy both."""
        limits = (self.limit, other.limit)
        return AnnotateSettings(
            only_missing=self.only_missing and other.only_missing,
            limit=None if None in limits else max(limit for limit in limits if limit is not None),
        )
