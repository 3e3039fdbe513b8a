"""Rate limit of failed logins.

Counted in memory per address and account, so that typing errors for one account block no other account, nor the same
one from another address. Label Studio lets its users send any password from its own address, so a pair that was right
from an address recently is accepted while others wait. Guessing is still limited, by a second, much higher limit.

The library `limits` counts requests instead of failures, in a store that grows with the number of addresses; and Redis,
which may be lost, must not decide who can sign in.
"""

import hashlib
import hmac
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from captionloop.backend.access.networks import network_of

T = TypeVar("T")

MOST_FAILURES = 10
WINDOW_S = 300.0
# At three guesses a second a password of six random letters takes years.
MOST_FAILURES_OF_ALL = 1000
RIGHT_FOR_S = 3600.0
_MOST_KEPT = 10_000


class TooManyFailuresError(Exception):
    """An address must wait before the next attempt on an account."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"wait for {wait_s} s")
        self.wait_s = wait_s


@dataclass
class _Failures:
    since: float
    count: int = 0


class FailedLogins:
    """Counts the failures of each address and account in a window from the first one on. Thread-safe."""

    def __init__(
        self,
        *,
        most_failures: int = MOST_FAILURES,
        most_failures_of_all: int = MOST_FAILURES_OF_ALL,
        window_s: float = WINDOW_S,
        right_for_s: float = RIGHT_FOR_S,
        most_kept: int = _MOST_KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            most_failures_of_all: the second limit, beyond which even a recently right pair is refused.
            window_s: length of the window, in seconds.
            right_for_s: how long a right pair counts as recent, in seconds.
            most_kept: beyond this number of entries, that with the oldest first failure is dropped.
        """
        self._most_failures = most_failures
        self._most_failures_of_all = most_failures_of_all
        self._window_s = window_s
        self._right_for_s = right_for_s
        self._most_kept = most_kept
        self._clock = clock
        self._key = secrets.token_bytes(32)  # memory holds digests, no passwords
        self._lock = threading.Lock()
        self._failures: OrderedDict[bytes, _Failures] = OrderedDict()
        self._right: OrderedDict[bytes, float] = OrderedDict()  # address and pair -> when it was right

    def attempt(self, address: str | None, account: str, password: str, check: Callable[[], T | None]) -> T | None:
        """The result of `check` for a login from an address; None counts as a failure.

        `check` runs under a lock, so that concurrent attempts cannot exceed the limit; it must be fast.

        Raises:
            TooManyFailuresError: the address must wait before the next attempt on this account, even if the password
                is right this time.
        """
        network = network_of(address or "")
        who, pair = self._digest(network, account), self._digest(network, account, password)
        with self._lock:
            failures = self._of(who)
            if not self._may_try(failures, pair):
                failures.count += 1
                raise TooManyFailuresError(math.ceil(failures.since + self._window_s - self._clock()))
            found = check()
            if found is None:
                failures.count += 1
                self._keep(self._failures, who, failures)
            else:
                self._keep(self._right, pair, self._clock())
            return found

    def attempt_elsewhere(
        self, address: str | None, account: str, password: str, check: Callable[[], T | None]
    ) -> T | None:
        """The same with a check that takes its time, at another server: others need not wait for it.

        Raises:
            TooManyFailuresError: as above.
        """
        self.attempt(address, account, password, lambda: None)  # counts as wrong until it has turned out right
        if (found := check()) is not None:
            network = network_of(address or "")
            with self._lock:
                failures = self._of(self._digest(network, account))
                failures.count = max(failures.count - 1, 0)
                self._keep(self._right, self._digest(network, account, password), self._clock())
        return found

    def _may_try(self, failures: _Failures, pair: bytes) -> bool:
        if failures.count < self._most_failures:
            return True
        right_at = self._right.get(pair, -math.inf)
        return failures.count < self._most_failures_of_all and self._clock() < right_at + self._right_for_s

    def _of(self, who: bytes) -> _Failures:
        found = self._failures.get(who)
        if found is None or self._clock() >= found.since + self._window_s:
            self._failures.pop(who, None)
            return _Failures(self._clock())
        return found

    def _keep(self, kept: OrderedDict[bytes, T], key: bytes, value: T) -> None:
        kept[key] = value
        while len(kept) > self._most_kept:
            kept.popitem(last=False)

    def _digest(self, *parts: str) -> bytes:
        data = b"".join(hashlib.sha256(part.encode(errors="surrogatepass")).digest() for part in parts)
        return hmac.digest(self._key, data, "sha256")
