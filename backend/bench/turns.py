"""One side of a comparison as a process that takes turns: the name of the work in, a line of JSON out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from captionloop.errors import ServiceError

_ENDS_WITHIN_S = 60


@dataclass(frozen=True)
class Turn:
    """The result of a turn: number of pictures (or captions, or examples), and seconds."""

    amount: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.amount / self.seconds


def take_turns(work: Mapping[str, Callable[[], int]], *, facts: Mapping[str, float] | None = None) -> None:
    """In the process of a side: report that it is ready, and do the named work, until the input ends.

    Args:
        work: functions by name; each returns the amount that was done.
        facts: sent to the other end.
    """
    say(facts or {})
    for name in sys.stdin:
        begun = time.perf_counter()
        amount = work[name.strip()]()
        say({"amount": amount, "seconds": time.perf_counter() - begun})


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


class Side:
    """The other end: use it in a `with` block, which waits until the process is ready.

    Args:
        name: for errors.
        command: of the process.
        environment: variables in addition to ours.
    """

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        self._name, self._command = name, command
        self._environment = os.environ | environment

    def __enter__(self) -> Side:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            self.facts = self._hear()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):  # it ended before
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def turn(self, name: str) -> Turn:
        """Run a turn of this work.

        Raises:
            ServiceError: the process ended; what it said on stderr has been seen.
        """
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{name}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
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
            if isinstance(found, dict):
                return found
        raise self._ended()

    def _ended(self) -> ServiceError:
        with suppress(subprocess.TimeoutExpired):  # then it has only stopped talking
            self._process.wait(_ENDS_WITHIN_S)
        if self._process.returncode == -signal.SIGKILL:
            return ServiceError(
                f"The benchmark's process for {self._name} was killed, as the system does when there is no memory left."
            )
        return ServiceError(f"The benchmark's process for {self._name} ended; its error is above.")
