"""A thread pool that reads pictures, shared fairly: slow pictures of one request or project leave threads for others.

A server may take a minute to send a picture. A project may occupy another thread only while it occupies fewer than are
free: of 32, the first gets 16, the second 8, and so on (dynamic thresholds with alpha 1: Choudhury and Hahne, "Dynamic
queue length thresholds", 1998). Likewise a request, of the threads that its project may still take: a first one gets
11, a second one 4.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

# Reading images is mostly waiting for the network, so more threads than cores help.
THREADS = 32


class Readers:
    """The pool. Thread-safe."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read-image")
        self._lock = threading.Lock()  # guards the three below
        self._free = threads
        self._held: Counter[int] = Counter()  # by project
        self._requests: deque[_Request] = deque()  # whose turn is next stands first

    @contextmanager
    def of(self, project_id: int) -> Iterator[Executor]:
        """An executor for one request of a project; at the end of the block, what has not started is cancelled."""
        request = _Request(self, project_id)
        with self._lock:
            self._requests.append(request)
        try:
            yield request
        finally:
            with self._lock:
                self._requests.remove(request)
            request.shutdown(cancel_futures=True)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self) -> None:
        """Start what may start, round-robin over the requests."""
        with self._lock:
            while (request := self._next()) is not None:
                work, future = request.waiting.popleft()
                self._free -= 1
                request.held += 1
                self._held[request.project_id] += 1
                self._pool.submit(self._do, request, work, future)

    def _next(self) -> _Request | None:
        for _ in range(len(self._requests)):
            request = self._requests[0]
            self._requests.rotate(-1)
            left = self._free - self._held[request.project_id]  # what the project may still take
            if request.waiting and request.held < left:
                return request
        return None

    def _do(self, request: _Request, work: Callable[[], Any], future: Future[Any]) -> None:
        try:
            if future.set_running_or_notify_cancel():
                _settle(future, work)
        finally:
            with self._lock:
                self._free += 1
                request.held -= 1
                self._held[request.project_id] -= 1
            self.begin()


@dataclass(eq=False)
class _Request(Executor):
    readers: Readers
    project_id: int
    held: int = 0
    waiting: deque[tuple[Callable[[], Any], Future[Any]]] = field(default_factory=deque)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((partial(copy_context().run, fn, *args, **kwargs), future))
        self.readers.begin()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Never waits: the result of a picture that is still being read is dropped."""
        while cancel_futures and self.waiting:
            self.waiting.popleft()[1].cancel()


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 (whoever waits for it is told)
        future.set_exception(error)
