"""One side of a comparison as a process that works when it is its turn: a line in, a line of JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from captionloop.errors import ServiceError

READY = "ready"


@dataclass(frozen=True)
class Turn:
    """What was done in a turn: so many pictures (or captions, or examples) in so many seconds."""

    amount: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.amount / self.seconds


def take_turns(work: Callable[[], int]) -> None:
    """In the process of a side: say that it is ready, and work whenever a line comes, until there are no more.

    Args:
        work: a turn's; returns the amount that was done.
    """
    say(READY)
    for _ in sys.stdin:
        begun = time.perf_counter()
        amount = work()
        say({"amount": amount, "seconds": time.perf_counter() - begun})


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


class Side:
    """The other end: use it in a `with` block, which waits until the process is ready.

    Args:
        name: what an error calls it.
        command: of the process.
        environment: what it has beside ours.
    """

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        self._name, self._command = name, command
        self._environment = os.environ | environment

    def __enter__(self) -> Side:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._hear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        if error:
            self._process.kill()
        self._process.wait()

    def turn(self) -> Turn:
        """Let it work once.

        Raises:
            ServiceError: the process ended; what it said on stderr has been seen.
        """
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        heard = self._hear()
        return Turn(int(heard["amount"]), heard["seconds"])

    def _hear(self) -> dict[str, float]:
        """The next line of ours; libraries may print others."""
        assert self._process.stdout
        for line in self._process.stdout:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if found == READY or isinstance(found, dict):
                return found if isinstance(found, dict) else {}
        raise ServiceError(f"The benchmark's process for {self._name} ended; its error is above.")
