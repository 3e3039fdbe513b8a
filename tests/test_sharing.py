"""What the processes of the suite share is started once, and ends when nobody needs it any more."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.support.sharing import Facts, shared

_WITHIN_S = 60


class Thing:
    """Counts how often it was started, and knows whether it runs."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.runs = False

    @contextmanager
    def start(self) -> Iterator[Facts]:
        number, self.runs = next(self._numbers), True
        yield {"number": number}
        self.runs = False


def test_many_who_ask_at_once_get_the_same(tmp_path: Path) -> None:
    thing, together = Thing(), threading.Barrier(8)

    def use() -> int:
        together.wait(_WITHIN_S)
        with shared(tmp_path / "shared", thing.start) as facts:
            together.wait(_WITHIN_S)
            return int(facts["number"])

    with ThreadPoolExecutor(8) as people:
        assert [asked.result() for asked in [people.submit(use) for _ in range(8)]] == [1] * 8
    assert not thing.runs


def test_what_is_shared_runs_until_the_last_one_is_done_whoever_started_it(tmp_path: Path) -> None:
    thing, started, is_used, may_end = Thing(), threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with shared(tmp_path / "shared", thing.start):
            started.set()
            assert is_used.wait(_WITHIN_S)

    def second() -> bool:
        assert started.wait(_WITHIN_S)
        with shared(tmp_path / "shared", thing.start):
            is_used.set()
            assert may_end.wait(_WITHIN_S)
            return thing.runs

    with ThreadPoolExecutor(2) as people:
        starter, user = people.submit(first), people.submit(second)
        assert is_used.wait(_WITHIN_S)
        while (tmp_path / "shared" / "facts.json").exists():  # until the first wants to end
            assert not starter.done()
        may_end.set()
        assert user.result(_WITHIN_S)
        starter.result(_WITHIN_S)
    assert not thing.runs


def test_who_comes_after_its_end_starts_another_one(tmp_path: Path) -> None:
    thing = Thing()
    numbers = []
    for _ in range(2):
        with shared(tmp_path / "shared", thing.start) as facts:
            numbers.append(facts["number"])
    assert numbers == [1, 2]
