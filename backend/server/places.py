"""Places for `/predict`, shared fairly among projects.

A request holds a thread for up to a minute when its pictures come slowly. A project may take another place only while
it holds fewer than are free: of 48, the first gets 24, the second 12, and so on, as `serving.readers` does with
readers.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.exceptions import ServiceUnavailable

PLACES = 48
_COME_AGAIN_S = 10


class Places:
    """Thread-safe."""

    def __init__(self, count: int = PLACES) -> None:
        self._free = count
        self._held: Counter[int] = Counter()  # by project
        self._lock = threading.Lock()

    @contextmanager
    def of(self, project: int) -> Iterator[None]:
        """A place for one request of a project.

        Raises:
            ServiceUnavailable: the project holds its share.
        """
        with self._lock:
            if (held := self._held[project]) >= self._free:
                raise ServiceUnavailable(
                    f"Project {project} has {held} requests in progress, as many as one project may. The next one is "
                    "taken when one of them has ended.",
                    retry_after=_COME_AGAIN_S,
                )
            self._free -= 1
            self._held[project] += 1
        try:
            yield
        finally:
            with self._lock:
                self._free += 1
                self._held[project] -= 1
                if not self._held[project]:
                    del self._held[project]  # so that there are no more entries than places
