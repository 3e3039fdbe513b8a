"""A disk cache of image encoder outputs.

The image encoder is most of a caption's cost, and in the loop its weights stay the same: later epochs, evaluations and
re-captioning start from its stored output. The key is the image's content hash and the encoder's hash, so that no entry
is ever stale:

    <directory>/<encoder hash>/<first two digits of the image hash>/<image hash>.safetensors

Several processes may use one directory at once: an entry appears by rename, complete or not at all, and one that cannot
be read (or was just evicted by another process) is a miss.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import uuid
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_KEEP_AFTER_EVICTION = 0.9  # share of the bound that is left after eviction, so that not every write evicts
_RECOUNT_AFTER = 1 / 16  # share of the bound that is written between two counts, which include other processes' writes
_PART_BYTES = 2**30  # about the bytes of a part of the cache, which is counted and evicted by itself
_MOST_PARTS = 256  # by the first two digits of an image's hash
_ABANDONED_SECONDS = 3600  # a temporary file this old belongs to a process that was killed


class FeatureCache:
    """A bounded cache of encoder outputs with least-recently-used eviction.

    A large one has parts of about a gigabyte, each with its share of the bound: hashes fill them evenly, and nobody has
    to list the whole cache to keep the bound.

    Args:
        directory: of the entries; created at the first write.
        max_bytes: bound of all entries together. Concurrent writers may exceed it temporarily by a sixteenth each.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        self.directory = Path(directory)
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._parts = min(1 << max(max_bytes // _PART_BYTES, 1).bit_length() - 1, _MOST_PARTS)
        # Of each part, the bytes that may still be written before it is counted again.
        self._room: defaultdict[int, float] = defaultdict(float)
        self.hits = self.misses = 0  # of this process, for monitoring

    def get_many(self, hashes: Collection[str], encoder: str) -> dict[str, torch.Tensor]:
        """The cached entries, by image hash.

        Args:
            hashes: content hashes of images.
            encoder: the encoder's hash.

        Returns:
            The features of each cached image on the CPU, (patches + 1, hidden) in the dtype they were stored in.
        """
        found = {}
        for name in hashes:
            tensor = _read(self._path(name, encoder))
            if tensor is not None:
                found[name] = tensor
        with self._lock:
            self.hits += len(found)
            self.misses += len(set(hashes)) - len(found)
        return found

    def put_many(self, features: Mapping[str, torch.Tensor], encoder: str) -> None:
        """Store features by image hash. A failing disk is logged only: a cache must not prevent captions."""
        for name, tensor in features.items():
            path = self._path(name, encoder)
            try:
                size = _write(path, tensor)
            except OSError as error:
                logger.warning("Cannot keep image features in %s: %s", self.directory, error)
                return
            self._make_room(self._part(name), size)

    def total_bytes(self) -> int:
        """Size of all entries of all encoders together, counted on disk."""
        return sum(entry.stat().st_size for part in range(self._parts) for entry in self._entries(part))

    def _path(self, name: str, encoder: str) -> Path:
        for value in (name, encoder):
            if not re.fullmatch(r"[0-9a-f]{8,128}", value):
                raise ValueError(f"{value!r} is no hash; expected hexadecimal digits")
        return self.directory / encoder / name[:2] / f"{name}.safetensors"

    def _part(self, name: str) -> int:
        """The part of the cache that an image's hash, or the shard of these two digits, belongs to."""
        return int(name[:2], 16) * self._parts // 256

    def _make_room(self, part: int, written: int) -> None:
        bound = self.max_bytes / self._parts
        with self._lock:
            self._room[part] -= written
            if self._room[part] < 0:
                free = bound - self._evict(part, bound)
                self._room[part] = min(free, bound * _RECOUNT_AFTER)

    def _evict(self, part: int, bound: float) -> int:
        """Delete a part's least recently used entries if its bound is exceeded; returns the bytes that remain."""
        entries = []
        for entry in self._entries(part):
            try:
                status = entry.stat()
            except FileNotFoundError:  # another process evicted it
                continue
            entries.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in entries)
        if total <= bound:
            return total
        for _, size, path in sorted(entries):
            Path(path).unlink(missing_ok=True)
            total -= size
            if total <= bound * _KEEP_AFTER_EVICTION:
                break
        return total

    def _entries(self, part: int) -> Iterator[os.DirEntry[str]]:
        """All entries of a part; partial files of killed processes are removed on the way."""
        shards = [f"{number:02x}" for number in range(256) if self._part(f"{number:02x}") == part]
        for encoder in _scan(self.directory):
            for shard in shards:
                for entry in _scan(os.path.join(encoder.path, shard)):
                    if entry.name.endswith(".safetensors"):
                        yield entry
                    else:
                        _remove_if_abandoned(entry)


def _scan(directory: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove_if_abandoned(entry: os.DirEntry[str]) -> None:
    try:
        if time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS:
            os.unlink(entry.path)
    except FileNotFoundError:
        pass


def _read(path: Path) -> torch.Tensor | None:
    try:
        with safe_open(path, framework="pt") as file:
            checksum = (file.metadata() or {}).get("crc32")
            tensor: torch.Tensor = file.get_tensor("features")
        if checksum != _checksum(tensor):
            raise SafetensorError("checksum differs")
        os.utime(path)  # the time of last use, for eviction
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, RuntimeError) as error:
        if path.exists():  # else it was just evicted; torch, which maps the file, raises a RuntimeError then
            logger.warning("Ignoring damaged image features in %s: %s", path, error)
        return None
    return tensor


def _write(path: Path, tensor: torch.Tensor) -> int:
    """Write one entry, atomically; returns its size in bytes."""
    from safetensors.torch import save

    tensor = tensor.detach().cpu().contiguous()
    data = save({"features": tensor}, metadata={"crc32": _checksum(tensor)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.tmp")  # numbers of processes repeat on other hosts
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return len(data)


def _checksum(tensor: torch.Tensor) -> str:
    import torch

    return str(zlib.crc32(tensor.contiguous().view(torch.uint8).numpy().data))
