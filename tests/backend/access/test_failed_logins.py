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
    return FailedLogins(most_failures=3, most_failures_of_all=20, window_s=60.0, most_kept=4, clock=clock)


def fail(logins: FailedLogins, address: str, times: int = 1, *, account: str = "lead") -> None:
    for number in range(times):
        assert logins.attempt(address, account, f"guess {number}", lambda: None) is None


def succeed(logins: FailedLogins, address: str, *, account: str = "lead") -> None:
    assert logins.attempt(address, account, "right", lambda: "right") == "right"


def wait_s(logins: FailedLogins, address: str, check: Callable[[], str | None] = lambda: "right") -> int:
    with pytest.raises(TooManyFailuresError) as caught:
        logins.attempt(address, "lead", "right", check)
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
    succeed(logins, "192.0.2.1")


def test_another_address_does_not_wait(logins: FailedLogins) -> None:
    fail(logins, "192.0.2.1", 3)

    succeed(logins, "192.0.2.2")


def test_another_account_does_not_wait(logins: FailedLogins) -> None:
    fail(logins, "192.0.2.1", 3, account="reader")

    succeed(logins, "192.0.2.1")


def test_right_ones_count_nothing_and_take_nothing_back(logins: FailedLogins) -> None:
    for _ in range(10):
        succeed(logins, "192.0.2.1")
    fail(logins, "192.0.2.1", 2)
    succeed(logins, "192.0.2.1")
    fail(logins, "192.0.2.1")

    with pytest.raises(TooManyFailuresError):
        fail(logins, "192.0.2.1")


class TestAPairThatWasRightLately:
    def test_is_let_in_while_others_wait(self, logins: FailedLogins) -> None:
        succeed(logins, "192.0.2.1")
        fail(logins, "192.0.2.1", 3)
        for _ in range(5):
            with pytest.raises(TooManyFailuresError):
                fail(logins, "192.0.2.1")

        succeed(logins, "192.0.2.1")

    def test_is_one_of_its_own_address_alone(self, logins: FailedLogins) -> None:
        succeed(logins, "192.0.2.1")
        fail(logins, "192.0.2.2", 3)

        assert wait_s(logins, "192.0.2.2") > 0

    def test_is_looked_at_again_each_time(self, logins: FailedLogins) -> None:
        succeed(logins, "192.0.2.1")
        fail(logins, "192.0.2.1", 3)

        assert logins.attempt("192.0.2.1", "lead", "right", lambda: None) is None  # it has been changed

    def test_is_no_longer_one_after_an_hour(self, logins: FailedLogins, clock: Clock) -> None:
        succeed(logins, "192.0.2.1")
        clock.now += 3601
        fail(logins, "192.0.2.1", 3)

        assert wait_s(logins, "192.0.2.1") == 60

    def test_does_not_let_anybody_guess_on_for_ever(self, logins: FailedLogins) -> None:
        succeed(logins, "192.0.2.1")
        fail(logins, "192.0.2.1", 3)
        for _ in range(17):
            with pytest.raises(TooManyFailuresError):
                fail(logins, "192.0.2.1")

        assert wait_s(logins, "192.0.2.1") == 60


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
    succeed(logins, "192.0.2.1")


def test_many_tries_at_once_are_no_more_than_the_limit() -> None:
    logins = FailedLogins(most_failures=5)
    looked_at: list[int] = []
    refused: list[int] = []

    def guess(number: int) -> None:
        def check() -> None:
            looked_at.append(number)

        try:
            logins.attempt("192.0.2.1", "lead", str(number), check)
        except TooManyFailuresError:
            refused.append(number)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(looked_at), len(refused)) == (5, 45)
