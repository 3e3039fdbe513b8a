"""Cached results of `captionloop doctor`, for the pages.

A checkup reads the champion's weights from disk and sends Label Studio a dozen requests, so its result is reused for a
minute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from captionloop.backend.health.doctor import NOT_LOOKED_AT, Check, examine
from captionloop.model.database import Project, utc_now
from captionloop.settings import Settings

_WITHIN_S = 8  # checks without a result by then count as broken
_KEPT_FOR = timedelta(minutes=1)


@dataclass(frozen=True)
class Checkup:
    """The result of the last checkup of a project.

    Args:
        checks: one for each part.
        looked_at: when.
    """

    checks: Sequence[Check]
    looked_at: datetime

    @property
    def broken(self) -> Sequence[Check]:
        """Failed checks, without those that were skipped because of another failure."""
        return [check for check in self.checks if not check.ok and check.message != NOT_LOOKED_AT]


class Checkups:
    """The last checkup of each project. One at a time: concurrent callers wait for it and share its result."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._last: dict[int, Checkup] = {}

    def of(self, project: Project) -> Checkup:
        """A checkup at most a minute old; a new one takes some seconds."""
        with self._lock:
            known = self._last.get(project.id)
            if known is None or utc_now() - known.looked_at > _KEPT_FOR:
                checks = examine(self._settings, label_studio_id=project.label_studio_id, within_s=_WITHIN_S)
                known = self._last[project.id] = Checkup(checks, utc_now())
            return known
