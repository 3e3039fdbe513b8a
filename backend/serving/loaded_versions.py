"""Versions loaded for the page Try, apart from the serving champions."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from captionloop.model.versions.store import VersionInfo

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner

_KEPT_S = 300


class LoadedVersions:
    """One version at a time, kept for a few minutes after its last use, for several pictures in a row."""

    def __init__(self, *, kept_s: float = _KEPT_S) -> None:
        self._kept_s = kept_s
        self._lock = threading.Lock()  # held while the version is used, so that a second one is never loaded beside it
        self._captioner: Captioner | None = None
        self._drop: threading.Timer | None = None

    @contextmanager
    def lease(self, version: VersionInfo, load: "Callable[[VersionInfo], Captioner]") -> "Iterator[Captioner]":
        """The version's model for the length of a block; loading it may take seconds.

        Raises:
            CheckpointError: its files are damaged or gone.
        """
        with self._lock:
            if self._drop:
                self._drop.cancel()
            if self._captioner is None or self._captioner.version != version.version:
                self._captioner = None  # its memory is free before the next one takes some
                self._captioner = load(version)
            try:
                yield self._captioner
            finally:
                self._drop = threading.Timer(self._kept_s, self._forget, [self._captioner])
                self._drop.daemon = True
                self._drop.start()

    def _forget(self, captioner: "Captioner") -> None:
        with self._lock:
            if self._captioner is captioner:
                self._captioner = None
