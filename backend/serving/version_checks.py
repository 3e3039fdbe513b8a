"""Cached integrity checks of versions' files, for the pages.

Checksums of gigabytes take seconds, so they are computed in a thread, and again only when a file's size or time has
changed, or after an hour (silent disk corruption changes neither).
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from captionloop.errors import CheckpointError
from captionloop.model.versions.store import VersionInfo

_KEPT_S = 3600.0

Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class _Found:
    """The result of a check of a version's files: `damage` is None if all are intact."""

    signature: Signature
    damage: str | None
    checked_at: float


class VersionChecks:
    """The last check of each version. One check at a time, in its own thread."""

    def __init__(self, verify: Callable[[Path], None]) -> None:
        """
        Args:
            verify: raises a CheckpointError that says what is wrong with a version's directory.
        """
        self._verify = verify
        self._found: dict[str, _Found] = {}
        self._lock = threading.Lock()  # guards the thread
        self._thread: threading.Thread | None = None

    def damage(self, versions: Sequence[VersionInfo], *, patience_s: float) -> Mapping[str, str]:
        """Damage of the versions whose files are damaged or lost, as far as known by then.

        Args:
            versions: deleted ones are skipped.
            patience_s: how long to wait for unfinished checks, in seconds.
        """
        there = [info for info in versions if info.deleted_at is None]
        if unknown := [info for info in there if not self._is_known(info)]:
            self._look_at(unknown).join(patience_s)
        found = {info.version: self._found.get(info.version) for info in there}
        return {name: known.damage for name, known in found.items() if known is not None and known.damage}

    def _is_known(self, info: VersionInfo) -> bool:
        known = self._found.get(info.version)
        return (
            known is not None
            and known.signature == signature_of(info.path)
            and time.monotonic() - known.checked_at < _KEPT_S
        )

    def _look_at(self, versions: Sequence[VersionInfo]) -> threading.Thread:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._check_all, args=(versions,), name="check-versions", daemon=True
                )
                self._thread.start()
            return self._thread

    def _check_all(self, versions: Sequence[VersionInfo]) -> None:
        for info in versions:
            signature = signature_of(info.path)  # before the check, so that changes meanwhile cause another
            try:
                self._verify(info.path)
                damage = None
            except (CheckpointError, OSError) as error:
                damage = str(error)
            self._found[info.version] = _Found(signature, damage, time.monotonic())


def signature_of(directory: Path) -> Signature:
    """The names, sizes and times of a directory's files, which change when somebody writes to one; empty without it."""
    found = []
    for path in sorted(directory.rglob("*")) if directory.is_dir() else ():
        if path.is_file():
            stat = path.stat()
            found.append((path.relative_to(directory).as_posix(), stat.st_size, stat.st_mtime_ns))
    return tuple(found)
