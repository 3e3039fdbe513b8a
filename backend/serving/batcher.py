"""Dynamic batching: pictures that arrive while a batch runs form the next one.

An idle batcher starts at once, without waiting for more pictures.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from captionloop.model.captioning.captioner import Captioner, ScoredCaption

# Saturates a CPU or a small GPU; larger batches only add latency.
_MAX_BATCH = 32


OnBatch = Callable[[int, float], None]
"""Called with the size and the duration in seconds of each batch."""


class Retired(Exception):
    """The batcher accepts no more requests, since another version has replaced it."""


@dataclass(frozen=True)
class _Request:
    image: "Image"
    image_hash: str
    writers: "Sequence[Captioner]"
    answer: "Future[list[ScoredCaption]]"


class Batcher:
    """One captioner with its thread. All captions of a batcher are by the same version, each in one of its styles.

    A request leases the batcher while it submits pictures. After `retire` the batcher stops once all leases have ended,
    so that a swap neither fails a request nor mixes versions in it.
    """

    def __init__(self, captioner: "Captioner", *, on_batch: OnBatch = lambda size, seconds: None) -> None:
        self.captioner = captioner
        self._writers: dict[str | None, Captioner] = {}  # by the style that is wanted
        self._on_batch = on_batch
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards the two below
        self._leases = 0
        self._retired = False
        self._thread = threading.Thread(target=self._run, name=f"captions-{captioner.version}", daemon=True)
        self._thread.start()

    @property
    def version(self) -> str:
        return self.captioner.version

    @property
    def waiting(self) -> int:
        """About how many pictures wait for the next batch."""
        return self._requests.qsize()

    @contextmanager
    def lease(self) -> "Iterator[Batcher]":
        """Keep the batcher open for the length of a `with` block.

        Raises:
            Retired: it was retired before the lease began; ask the one that took its place.
        """
        with self._lock:
            if self._retired:
                raise Retired(self.version)
            self._leases += 1
        try:
            yield self
        finally:
            with self._lock:
                self._leases -= 1
                self._stop_if_unused()

    def writer(self, style: str | None) -> "Captioner":
        """The model writing in a style; in its own, if it was not taught that one."""
        if style not in self._writers:
            self._writers[style] = self.captioner.in_style(self.captioner.generation.written_in(style))
        return self._writers[style]

    def submit(
        self, image: "Image", image_hash: str, writers: "Sequence[Captioner]" = ()
    ) -> "Future[list[ScoredCaption]]":
        """Enqueue an RGB picture, within a lease. The future can be cancelled until its batch starts.

        Args:
            writers: of this batcher, in their order; none: the version in its own style.
        """
        answer: Future[list[ScoredCaption]] = Future()
        self._requests.put(_Request(image, image_hash, writers or (self.captioner,), answer))
        return answer

    def retire(self) -> None:
        """Stop once the last lease has ended. Idempotent."""
        with self._lock:
            if not self._retired:
                self._retired = True
                self._stop_if_unused()

    def join(self) -> None:
        """Wait until a retired batcher has stopped."""
        self._thread.join()

    def _stop_if_unused(self) -> None:
        if self._retired and self._leases == 0:
            self._requests.put(None)

    def _run(self) -> None:
        while True:
            batch, last = self._gather()
            if batch:
                self._answer(batch)
            if last:
                return

    def _gather(self) -> tuple[list[_Request], bool]:
        """The next request and all waiting ones, and whether the batcher should stop after them."""
        batch: list[_Request] = []
        request = self._requests.get()
        while request is not None:
            batch.append(request)
            if len(batch) == _MAX_BATCH or self._requests.empty():
                return batch, False
            request = self._requests.get()
        return batch, True

    def _answer(self, gathered: Sequence[_Request]) -> None:
        batches: dict[tuple[int, ...], list[_Request]] = {}
        for request in gathered:
            if request.answer.set_running_or_notify_cancel():
                batches.setdefault(tuple(map(id, request.writers)), []).append(request)
        for batch in batches.values():
            self._caption(batch)

    def _caption(self, batch: Sequence[_Request]) -> None:
        """Caption pictures that are to be written in the same styles."""
        images, hashes = [request.image for request in batch], [request.image_hash for request in batch]
        begun = time.monotonic()
        try:
            suggestions = self.captioner.caption_by(batch[0].writers, images, image_hashes=hashes)
        except Exception as error:  # noqa: BLE001 (each caller gets it from its future, and the thread must live on)
            for request in batch:
                request.answer.set_exception(error)
            return
        self._on_batch(len(batch), time.monotonic() - begun)
        for request, suggestion in zip(batch, suggestions, strict=True):
            request.answer.set_result(suggestion)
