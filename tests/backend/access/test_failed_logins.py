"""Who gives wrong passwords again and again has to wait, and nobody else has."""

import threading
from collections.abc import Callable

import pytest

from captionloop.backend.access.failed_logins import FailedLogins, TooManyFailuresError


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logins(clock: Clock) -> FailedLogins:
    return FailedLogins(most_failures=3, window_s=60.0, most_addresses=4, clock=clock)


def fail(logins: FailedLogins, address: str, times: int = 1) -> None:
    for _ in range(times):
        assert logins.attempt(address, lambda: None) is None


def wait_s(logins: FailedLogins, address: str, check: Callable[[], str | None] = lambda: "right") -> int:
    with pytest.raises(TooManyFailuresError) as caught:
        logins.attempt(address, check)
    return caught.value.wait_s


def test_after_too_many_failures_not_even_the_right_password_is_looked_at(logins: FailedLogins) -> None:
    fail(logins, "192.0.2.1", 3)

    def never() -> str:
        pytest.fail("it was looked at")

    assert wait_s(logins, "192.0.2.1", never) == 60


def test_the_time_to_wait_gets_shorter_and_ends(logins: FailedLogins, clock: Clock) -> None:
    fail(logins, "192.0.2.1", 3)
    clock.now += 45.5
    assert wait_s(logins, "192.0.2.1") == 15

    clock.now += 14.5
    assert logins.attempt("192.0.2.1", lambda: "right") == "right"


def test_another_address_does_not_wait(logins: FailedLogins) -> None:
    fail(logins, "192.0.2.1", 3)

    assert logins.attempt("192.0.2.2", lambda: "right") == "right"


def test_right_ones_count_nothing_and_take_nothing_back(logins: FailedLogins) -> None:
    for _ in range(10):
        logins.attempt("192.0.2.1", lambda: "right")
    fail(logins, "192.0.2.1", 2)
    logins.attempt("192.0.2.1", lambda: "right")
    fail(logins, "192.0.2.1")

    assert wait_s(logins, "192.0.2.1") > 0


@pytest.mark.parametrize(
    ("first", "second"),
    [("2001:db8:1:2::1", "2001:db8:1:2:ffff::7"), ("::ffff:192.0.2.1", "::ffff:c000:201")],
)
def test_addresses_that_one_person_has_count_as_one(logins: FailedLogins, first: str, second: str) -> None:
    fail(logins, first, 3)

    assert wait_s(logins, second) > 0


def test_only_so_many_addresses_are_remembered(logins: FailedLogins) -> None:
    fail(logins, "192.0.2.1", 3)
    for number in range(2, 6):
        fail(logins, f"192.0.2.{number}")

    assert len(logins._failures) == 4
    assert logins.attempt("192.0.2.1", lambda: "right") == "right"


def test_many_tries_at_once_are_no_more_than_the_limit() -> None:
    logins = FailedLogins(most_failures=5)
    looked_at: list[int] = []
    refused: list[int] = []

    def guess(number: int) -> None:
        def check() -> None:
            looked_at.append(number)

        try:
            logins.attempt("192.0.2.1", check)
        except TooManyFailuresError:
            refused.append(number)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(looked_at), len(refused)) == (5, 45)
