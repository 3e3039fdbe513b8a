"""A limit on guessing passwords: whoever was wrong too often has to wait.

Counted by address and in memory. The library `limits`, which was looked at, counts requests and not failures, in a
store that grows with the number of addresses; and Redis, which may be lost, must not decide about who can sign in.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from captionloop.backend.access.networks import network_of

T = TypeVar("T")

MOST_FAILURES = 10
WINDOW_S = 300.0
_MOST_ADDRESSES = 10_000


class TooManyFailuresError(Exception):
    """An address has to wait before it may try again."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"wait for {wait_s} s")
        self.wait_s = wait_s


class FailedLogins:
    """Counts the failures of each address from its first one on. Safe to use from several threads."""

    def __init__(
        self,
        *,
        most_failures: int = MOST_FAILURES,
        window_s: float = WINDOW_S,
        most_addresses: int = _MOST_ADDRESSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            window_s: so long after its first failure an address starts anew.
            most_addresses: of more, the one is forgotten whose first failure is the longest ago.
        """
        self._most_failures = most_failures
        self._window_s = window_s
        self._most_addresses = most_addresses
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address -> first one at, how many

    def attempt(self, address: str | None, check: Callable[[], T | None]) -> T | None:
        """What `check` finds for a login from an address; None counts as a failure.

        `check` runs while nobody else tries, so that many tries at once are no more than the limit; it must be quick.

        Raises:
            TooManyFailuresError: the address has to wait, whether or not the login is right this time.
        """
        key = network_of(address or "")
        with self._lock:
            since, failures = self._of(key)
            if failures >= self._most_failures:
                raise TooManyFailuresError(math.ceil(since + self._window_s - self._clock()))
            found = check()
            if found is None:
                self._failures[key] = (since, failures + 1)
                while len(self._failures) > self._most_addresses:
                    self._failures.popitem(last=False)
            return found

    def _of(self, key: str) -> tuple[float, int]:
        now = self._clock()
        since, failures = self._failures.get(key, (now, 0))
        if now >= since + self._window_s:
            del self._failures[key]
            return now, 0
        return since, failures
