"""A side of the benchmark as a process that takes turns."""

import sys

import pytest

from captionloop.backend.bench.turns import Side
from captionloop.errors import ServiceError

WORKS = """
import time
from captionloop.backend.bench.turns import take_turns
print("a library says something")
take_turns({"sleep": lambda: time.sleep(0.05) or 3}, facts={"tokens": 7.5})
"""
IS_KILLED = """
import os, signal
from captionloop.backend.bench.turns import say
say({})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_turn_is_what_was_done_and_how_long_it_took() -> None:
    with Side("sleep", [sys.executable, "-c", WORKS], {}) as side:
        turn = side.turn("sleep")

    assert (turn.amount, side.facts) == (3, {"tokens": 7.5})
    assert 0.05 <= turn.seconds < 5


def test_a_side_that_ends_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no weights')"]
    with pytest.raises(ServiceError, match=r"process for bulk \(ours\) ended"), Side("bulk (ours)", command, {}):
        pass

    assert "no weights" in capfd.readouterr().err


def test_a_side_that_was_killed_between_its_turns_is_named_with_what_kills() -> None:
    def take_turns() -> None:
        with Side("train (ours)", [sys.executable, "-c", IS_KILLED], {}) as side:
            while True:
                side.turn("train")

    with pytest.raises(ServiceError, match=r"process for train \(ours\) was killed, .* no memory left"):
        take_turns()
