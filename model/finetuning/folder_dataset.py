"""Reads a dataset in files for training: each usable row is an example, each other one is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from captionloop.errors import ImageError, RunError
from captionloop.image_limits import ImageLimits
from captionloop.model.captions.example import Example
from captionloop.model.dataset.corrections import Snapshot, freeze
from captionloop.model.dataset.images import content_hash, open_image
from captionloop.model.dataset.near_duplicates import fingerprint, which_look_alike
from captionloop.model.exchange.reading import BadRow, PictureBytes, Source
from captionloop.model.exchange.usable_rows import usable_rows


@dataclass(frozen=True)
class FolderDataset:
    """Captions of pictures, in the order of the rows; the same caption of the same picture counts once.

    Args:
        captions: (image hash, caption) of each example.
        split_with: image → the one whose side of the split it is on; itself where it looks like no other.
        pictures: image → where its bytes lie.
        bad: how many rows could not be used.
    """

    captions: tuple[tuple[str, str], ...]
    split_with: Mapping[str, str]
    pictures: Mapping[str, PictureBytes]
    bad: int

    def freeze(self, directory: Path) -> Snapshot:
        """Write the examples to a snapshot's file in a directory."""
        return freeze(
            (
                Example(number, image, caption, like if (like := self.split_with[image]) != image else None)
                for number, (image, caption) in enumerate(self.captions, start=1)
            ),
            directory,
        )

    def read(self, image: str, *, limits: ImageLimits) -> bytes:
        """The bytes of a picture.

        Raises:
            ImageError: it is gone, or is another one now.
        """
        picture = self.pictures[image]
        data = picture.read(max_bytes=limits.max_bytes)
        if content_hash(data) != image:
            raise ImageError(f"{picture.path} has changed since the training began.")
        return data


def read_folder(
    source: Source,
    *,
    limits: ImageLimits,
    limit: int | None = None,
    on_bad: Callable[[BadRow], None],
    on_progress: Callable[[float], None],
) -> FolderDataset:
    """Read a dataset, and decode each of its pictures once.

    Args:
        limits: which pictures are too large.
        limit: how many rows to look at; None: all.
        on_bad: told of each row that cannot be used.
        on_progress: told the share of the source that is done, 0 to 1.

    Raises:
        CaptionFileError: the file of captions as a whole cannot be read.
        RunError: fewer than two pictures are left.
    """
    captions: dict[tuple[str, str], None] = {}
    fingerprints: dict[str, bytes] = {}
    pictures: dict[str, PictureBytes] = {}
    bad = 0
    for item in usable_rows(islice(source.rows(), limit), partial(_look, limits=limits)):
        if isinstance(item, BadRow):
            on_bad(item)
            bad += 1
            on_progress(item.share)
            continue
        image = item.found.image
        fingerprints.setdefault(image, item.found.fingerprint)
        pictures.setdefault(image, item.row.picture)
        captions |= dict.fromkeys((image, caption) for caption in item.row.captions)
        on_progress(item.row.share)
    if len(pictures) < 2:
        raise RunError(
            f"There are {len(pictures)} captioned pictures that can be used, and at least two are needed: one to learn "
            "from, one to see whether it helped."
        )
    return FolderDataset(tuple(captions), which_look_alike(fingerprints), pictures, bad)


@dataclass(frozen=True, slots=True)
class _Picture:
    image: str  # SHA-256 of its bytes
    fingerprint: bytes


def _look(picture: PictureBytes, *, limits: ImageLimits) -> _Picture:
    data = picture.read(max_bytes=limits.max_bytes)
    return _Picture(content_hash(data), fingerprint(open_image(data, limits=limits)))
