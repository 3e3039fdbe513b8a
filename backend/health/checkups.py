"""What `captionloop doctor` finds, for pages that people open again and again.

A look reads the champion's weights from disk and asks Label Studio a dozen questions, so it is not done for every
visit: whoever comes within a minute is told the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from captionloop.backend.health.doctor import NOT_LOOKED_AT, Check, examine
from captionloop.model.database import Project, utc_now
from captionloop.settings import Settings

_WITHIN_S = 8  # what has not answered by then is called broken
_KEPT_FOR = timedelta(minutes=1)


@dataclass(frozen=True)
class Checkup:
    """What was found when all parts of a project's loop were last looked at.

    Args:
        checks: one for each part.
        looked_at: when.
    """

    checks: Sequence[Check]
    looked_at: datetime

    @property
    def broken(self) -> Sequence[Check]:
        """What needs somebody; parts behind a broken one are left out, as nothing is known of them."""
        return [check for check in self.checks if not check.ok and check.message != NOT_LOOKED_AT]


class Checkups:
    """The last checkup of each project. One at a time: who comes meanwhile waits for it and takes what it found."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._last: dict[int, Checkup] = {}

    def of(self, project: Project) -> Checkup:
        """The state of all parts, at most a minute old; takes some seconds when nothing so new is known."""
        with self._lock:
            known = self._last.get(project.id)
            if known is None or utc_now() - known.looked_at > _KEPT_FOR:
                checks = examine(self._settings, label_studio_id=project.label_studio_id, within_s=_WITHIN_S)
                known = self._last[project.id] = Checkup(checks, utc_now())
            return known
