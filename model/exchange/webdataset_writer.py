"""WebDataset shards: tar files in which each sample is adjacent files with one stem.

train-000000.tar     HASH.jpg   the picture, byte for byte
                     HASH.txt   its first caption
                     HASH.json  {"captions": [all of them]}, and "styles" likewise where they have some
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

MOST_BYTES = 500_000_000  # of a shard, about: WebDataset's documentation recommends some hundred megabytes
MOST_SAMPLES = 10_000  # of a shard, as in `img2dataset`
_MODE = 0o644


@dataclass(frozen=True)
class Sample:
    """A picture with its file extension ("jpg"), captions, and the style of each where there are several."""

    picture: Path
    kind: str
    captions: Sequence[str]
    styles: Sequence[str | None] = ()


def write_shards(
    directory: Path,
    samples: Iterable[Sample],
    *,
    name: str,
    most_bytes: int = MOST_BYTES,
    most_samples: int = MOST_SAMPLES,
) -> None:
    """Write samples to `directory/NAME-000000.tar` and so on. Pictures are copied in chunks.

    Args:
        samples: in their order.
        most_bytes: a shard of this size gets no further sample.
        most_samples: likewise.

    Raises:
        OSError: a picture cannot be read, or a shard not be written.
    """
    remaining = iter(samples)
    sample = next(remaining, None)
    for number in count():
        if sample is None:
            return
        with tarfile.open(directory / f"{name}-{number:06}.tar", "w") as shard:
            for _ in range(most_samples):
                _add(shard, sample)
                sample = next(remaining, None)
                if sample is None or shard.offset >= most_bytes:
                    break


def _add(shard: tarfile.TarFile, sample: Sample) -> None:
    name = sample.picture.name
    with sample.picture.open("rb") as file:
        picture = _member(f"{name}.{sample.kind}", sample.picture.stat().st_size)
        shard.addfile(picture, file)
    styles = {"styles": list(sample.styles)} if sample.styles else {}
    texts = {"txt": sample.captions[0], "json": json.dumps({"captions": list(sample.captions), **styles})}
    for kind, text in texts.items():
        data = text.encode()
        shard.addfile(_member(f"{name}.{kind}", len(data)), io.BytesIO(data))


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Without time and owner, so that equal samples give equal files."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, _MODE
    return member
