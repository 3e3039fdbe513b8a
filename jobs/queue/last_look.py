"""Whether a process that watches others was paused itself.

After a suspended machine or a paused database continues, all heartbeats are old. Whoever looks then gives the others
the time until the next look.
"""

from datetime import datetime, timedelta

# Several times as long as there is between two looks of a worker or a backend.
_AWAY_S = 45


class LastLook:
    """When this process last looked, by the clock of the database."""

    def __init__(self) -> None:
        self._at: datetime | None = None

    def was_long_ago(self, now: datetime) -> bool:
        """Whether there was a look before this one, and it was so long ago that this process must have been away."""
        before, self._at = self._at, now
        return before is not None and now - before > timedelta(seconds=_AWAY_S)
