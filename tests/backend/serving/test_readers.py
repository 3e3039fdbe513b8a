"""Slow pictures of one request, or of one project, leave readers for all others."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from typing import Any

import pytest

from captionloop.backend.serving.readers import Readers


class Slow:
    """Pictures whose server does not answer until it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self._lock = threading.Lock()
        self.at_once = 0

    def read(self) -> str:
        with self._lock:
            self.at_once += 1
        self.let.wait(30)
        return "slow"


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.let.set()


@pytest.fixture
def readers(slow: Slow) -> Iterator[Readers]:
    made = Readers(16)
    yield made
    slow.let.set()
    made.close()


def ask(request: Executor, slow: Slow, count: int) -> list[Future[str]]:
    return [request.submit(slow.read) for _ in range(count)]


def begun(slow: Slow) -> int:
    time.sleep(0.2)
    return slow.at_once


def test_a_request_takes_as_many_as_it_leaves_its_project(readers: Readers, slow: Slow) -> None:
    with readers.of(1) as first, readers.of(2) as second:
        ask(first, slow, 100)
        assert begun(slow) == 6
        ask(second, slow, 100)
        assert begun(slow) == 10


@pytest.mark.parametrize("project", [1, 2])
def test_another_request_reads_on_of_the_same_project_or_another(readers: Readers, slow: Slow, project: int) -> None:
    with readers.of(1) as first, readers.of(project) as second:
        ask(first, slow, 8)
        begun(slow)

        assert [second.submit(lambda: "read").result(timeout=2) for _ in range(20)] == ["read"] * 20


def test_many_requests_of_several_projects_leave_readers_for_another_one(readers: Readers, slow: Slow) -> None:
    with ExitStack() as stack:
        held = []
        for project in (1, 2, 3):
            for _ in range(20):
                ask(stack.enter_context(readers.of(project)), slow, 10)
            held.append(begun(slow))
        assert held == [8, 12, 14]

        other = stack.enter_context(readers.of(4))
        assert other.submit(lambda: "read").result(timeout=2) == "read"


def test_what_waits_begins_when_there_is_room_one_of_each_request_in_turn(readers: Readers, slow: Slow) -> None:
    order: list[str] = []
    with readers.of(1) as first, readers.of(1) as second, readers.of(1) as blocking:
        futures: list[Future[Any]] = [*ask(blocking, slow, 12)]
        for _ in range(3):
            futures += [first.submit(order.append, "a"), second.submit(order.append, "b")]
        slow.let.set()
        for future in futures:
            future.result(timeout=5)

    assert sorted(order) == ["a"] * 3 + ["b"] * 3


def test_what_has_not_begun_at_the_end_of_a_request_is_cancelled_and_holds_nothing(
    readers: Readers, slow: Slow
) -> None:
    with readers.of(1) as request:
        futures = ask(request, slow, 100)
        begun(slow)
    slow.let.set()

    assert sum(future.cancelled() for future in futures) == 94
    with readers.of(1) as request:
        assert [request.submit(lambda: "read").result(timeout=2) for _ in range(20)]


def test_what_is_cancelled_before_it_begins_is_never_begun(readers: Readers, slow: Slow) -> None:
    with readers.of(1) as request:
        ask(request, slow, 8)
        begun(slow)
        waiting = request.submit(lambda: pytest.fail("it was begun"))
        assert waiting.cancel()
        slow.let.set()
        assert request.submit(lambda: "read").result(timeout=2) == "read"


def test_an_error_is_told_to_who_waits_and_frees_its_reader(readers: Readers) -> None:
    with readers.of(1) as request:
        for _ in range(40):
            with pytest.raises(ZeroDivisionError):
                request.submit(lambda: 1 / 0).result(timeout=2)
