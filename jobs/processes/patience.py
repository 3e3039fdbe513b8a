"""Retrying while Label Studio restarts, is busy or slow."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from captionloop.errors import LabelStudioError
from captionloop.jobs.queue.attempt import Attempt

_log = logging.getLogger(__name__)

T = TypeVar("T")

WAITING = "waiting for Label Studio"
"""The stage that a run reports meanwhile."""

_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 15.0)
# Longer than an update of Label Studio with its migrations, but finite, so that a permanent outage is reported.
_GIVE_UP_AFTER_S = 1800.0


class Patience:
    """A run's retries: until no request has succeeded for half an hour."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._failures = 0  # since the last success
        self._since = 0.0  # time.monotonic() of the first of them

    def until_done(self, work: Callable[[], T]) -> T:
        """Retry until it succeeds.

        Args:
            work: may fail anywhere with a `LabelStudioError`; then it is repeated from its beginning.

        Raises:
            LabelStudioError: a permanent one, or the last one after half an hour without success.
            RunCancelled: the run was cancelled.
            RunLost: another worker has taken over the run.
        """
        while True:
            try:
                done = work()
            except LabelStudioError as error:
                if not error.may_pass or self._is_at_its_end():
                    raise
                delay_s = _DELAYS_S[min(self._failures, len(_DELAYS_S)) - 1]
                _log.warning("once more in %.0f s: %s", delay_s, error)
            else:
                self.got_through()
                return done
            self.say_waiting()
            time.sleep(delay_s)

    def got_through(self) -> None:
        """Restart the half hour: Label Studio has answered, if only to a part of a long work."""
        self._failures = 0

    def say_waiting(self) -> None:
        """Report that the run is waiting, which is also a heartbeat.

        Raises:
            RunCancelled: the run was cancelled.
            RunLost: another worker has taken over the run.
        """
        self._attempt.report(stage=WAITING)

    def _is_at_its_end(self) -> bool:
        """Count a failure; whether it is the last."""
        now = time.monotonic()
        if self._failures == 0:
            self._since = now
        self._failures += 1
        return now - self._since > _GIVE_UP_AFTER_S
