"""Cached results of `captionloop doctor`, for the pages.

A checkup reads the champion's weights from disk, sends Label Studio a dozen requests and may wait for a model to load.
So it is made by a thread of its own, and its result is used for a minute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Lock, Thread

from captionloop.backend.health.doctor import NOT_LOOKED_AT, Check, Examination
from captionloop.model.database import Project, utc_now
from captionloop.settings import Settings

# How long to wait for all parts where the result is shown once, in seconds.
PATIENCE_S = 8.0
_KEPT_FOR = timedelta(minutes=1)


@dataclass(frozen=True)
class Checkup:
    """The result of a checkup of a project.

    Args:
        checks: one for each part that has answered.
        missing: the names of the others; they are still being asked.
        looked_at: when, in UTC.
    """

    checks: Sequence[Check]
    missing: Sequence[str]
    looked_at: datetime

    @property
    def broken(self) -> Sequence[Check]:
        """Failed checks, without those that were skipped because of another failure."""
        return [check for check in self.checks if not check.ok and check.message != NOT_LOOKED_AT]


class Checkups:
    """The last checkup of each project, shared by all who ask. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._last: dict[int, _Look] = {}  # by project

    def of(self, project: Project, *, patience_s: float) -> Checkup:
        """A checkup at most a minute old.

        Args:
            patience_s: how long to wait for parts that have not answered yet, in seconds.
        """
        with self._lock:
            look = self._last.get(project.id)
            if look is None or look.is_old:
                look = self._last[project.id] = _Look(
                    Examination(self._settings, label_studio_id=project.label_studio_id)
                )
        return look.result(patience_s)


class _Look:
    def __init__(self, examination: Examination) -> None:
        self._examination = examination
        self._over = Event()
        self._checkup: Checkup | None = None
        Thread(target=self._carry_out, name="checkup", daemon=True).start()

    @property
    def is_old(self) -> bool:
        return self._checkup is not None and utc_now() - self._checkup.looked_at > _KEPT_FOR

    def result(self, patience_s: float) -> Checkup:
        self._over.wait(patience_s)
        return self._checkup or Checkup(self._examination.checks, self._examination.missing, utc_now())

    def _carry_out(self) -> None:
        self._checkup = Checkup(self._examination.carry_out(), (), utc_now())
        self._over.set()
