"""Waiting for a Label Studio that restarts, is busy or is slow: work that must not fail for it is done again later."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from captionloop.errors import LabelStudioError
from captionloop.jobs.queue.runs import Runs

_log = logging.getLogger(__name__)

T = TypeVar("T")

WAITING = "waiting for Label Studio"
"""The stage that a run says it is in meanwhile."""

_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 15.0)
# Longer than an update of Label Studio with its migrations takes; a server that is gone is noticed all the same.
_GIVE_UP_AFTER_S = 1800.0


class Patience:
    """A run's patience with Label Studio: half an hour in which nothing gets through."""

    def __init__(self, runs: Runs, run_id: str) -> None:
        self._runs, self._run_id = runs, run_id
        self._failures = 0  # since something got through
        self._since = 0.0  # when the first of them was, by time.monotonic()

    def until_done(self, work: Callable[[], T]) -> T:
        """Do something until Label Studio lets it through.

        Args:
            work: may be cut short anywhere by a `LabelStudioError`, and done again from its beginning.

        Raises:
            LabelStudioError: one that waiting does not help against, or the last one when the patience is at its end.
            RunCancelled: somebody cancelled the run.
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
        """Begin the half hour anew: Label Studio has answered, if only to a part of a long work."""
        self._failures = 0

    def say_waiting(self) -> None:
        """Say on the run what it waits for, which is also a sign of life.

        Raises:
            RunCancelled: somebody cancelled the run.
        """
        run = self._runs.get(self._run_id)
        self._runs.report(self._run_id, run.progress if run else 0.0, stage=WAITING)

    def _is_at_its_end(self) -> bool:
        """Count one more failure, and whether it is the last."""
        now = time.monotonic()
        if self._failures == 0:
            self._since = now
        self._failures += 1
        return now - self._since > _GIVE_UP_AFTER_S
