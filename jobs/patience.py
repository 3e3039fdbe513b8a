"""Waiting for a Label Studio that restarts, is busy or is slow: work that must not fail for it is done again later."""

import logging
import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import TypeVar

from captionloop.errors import LabelStudioError

_log = logging.getLogger(__name__)

T = TypeVar("T")

_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 15.0)
# Longer than an update of Label Studio with its migrations takes; a server that is gone is noticed all the same.
_GIVE_UP_AFTER_S = 1800.0


def patiently(work: Callable[[], T], *, on_wait: Callable[[], None], give_up_after_s: float = _GIVE_UP_AFTER_S) -> T:
    """Do something until Label Studio lets it through.

    Args:
        work: may be cut short anywhere by a `LabelStudioError`, and done again from its beginning.
        on_wait: called before each wait. What it raises ends the waiting.

    Raises:
        LabelStudioError: one that waiting does not help against, or the last one after half an hour of them.
    """
    begun = time.monotonic()
    for delay_s in chain(_DELAYS_S, repeat(_DELAYS_S[-1])):
        try:
            return work()
        except LabelStudioError as error:
            if not error.may_pass or time.monotonic() - begun > give_up_after_s:
                raise
            _log.warning("once more in %.0f s: %s", delay_s, error)
        on_wait()
        time.sleep(delay_s)
    raise AssertionError("unreachable")
