"""Whether a process that watches heartbeats was paused itself.

After a suspended machine or a paused database continues, all heartbeats are old. Then the others get the time until the
next check.
"""

from datetime import datetime, timedelta

# Several times the interval between two checks of a worker or a backend.
_AWAY_S = 45


class LastLook:
    """The time of this process's last check, by the clock of the database."""

    def __init__(self) -> None:
        self._at: datetime | None = None

    def was_long_ago(self, now: datetime) -> bool:
        """Whether the previous check, if any, was so long ago that this process must have been paused."""
        before, self._at = self._at, now
        return before is not None and now - before > timedelta(seconds=_AWAY_S)
