"""Slow services, started once for all processes of the suite."""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

Facts = dict[str, Any]
"""How to reach what was started, as JSON."""


@contextmanager
def shared(directory: Path, start: Callable[[], AbstractContextManager[Facts]]) -> Iterator[Facts]:
    """What the first process that asks has started; all get the same facts about it.

    The one that started it waits at its end until nobody uses it any more. All locks are the kernel's, so they go with
    a process that is killed.

    Args:
        directory: the same for all processes, and for this thing alone.
    """
    directory.mkdir(exist_ok=True)
    known = directory / "facts.json"
    with ExitStack() as stack, (directory / "users").open("w") as users:
        with _alone(directory / "door"):
            if is_first := not known.exists():
                known.write_text(json.dumps(stack.enter_context(start())))
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield json.loads(known.read_text())
        finally:
            if is_first:
                with _alone(directory / "door"):
                    known.unlink()  # who comes from now on starts another one
                fcntl.flock(users, fcntl.LOCK_EX)


@contextmanager
def _alone(lock: Path) -> Iterator[TextIO]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
