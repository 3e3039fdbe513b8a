"""Evaluation sets: pictures with human captions, from a snapshot of corrections or from files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from captionloop.batches import batches
from captionloop.errors import CaptionFileError, CaptionloopError, ImageError, NotFoundError
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.dataset.corrections import Snapshot, read_snapshot
from captionloop.model.dataset.images import content_hash, open_image
from captionloop.model.exchange.reading import BadRow, PictureBytes, Row, Source, SplitName, find_source
from captionloop.model.exchange.reading.rows import is_in
from captionloop.model.exchange.usable_rows import usable_rows

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner

# Pictures in memory at a time.
_BATCH = 32


@dataclass(frozen=True)
class JudgedStyle:
    """The style in which captions are judged.

    Args:
        name: None is the one without a name.
        is_chosen: the dataset has others as well, or somebody named it.
    """

    name: str | None
    is_chosen: bool

    def __str__(self) -> str:
        return "the style without a name" if self.name is None else f"the style {self.name!r}"


@dataclass(frozen=True)
class EvaluationSet:
    """Pictures with human captions.

    Args:
        pictures: image id → location of its bytes.
        references: the same image ids → at least one caption.
        corpus: captions of further images, for CIDEr-D's document frequencies (see `evaluate_captions`).
        has_hashes: the image ids are content hashes, usable as keys of the feature cache.
        bad: how many rows of the dataset could not be used; nothing of them is here.
        style: the one that the references are in, which a model writes in if it was taught it; None says nothing of
            styles, and a model writes in its own.
    """

    pictures: Mapping[str, PictureBytes]
    references: Mapping[str, Sequence[str]]
    corpus: Sequence[Sequence[str]] = ()
    has_hashes: bool = False
    bad: int = 0
    style: JudgedStyle | None = None

    def without(self, hashes: Collection[str], *, limits: ImageLimits) -> EvaluationSet:
        """The same without some pictures.

        Args:
            hashes: the SHA-256 of those pictures' bytes.
            limits: which pictures are too large.

        Raises:
            NotFoundError: none is left.
            ImageError: a picture cannot be read.
        """
        if not hashes:
            return self
        kept = {
            image: picture
            for image, picture in self.pictures.items()
            if content_hash(picture.read(max_bytes=limits.max_bytes)) not in hashes
        }
        if not kept:
            raise NotFoundError("A model was trained on every image of the dataset, so there is nothing to score.")
        return replace(self, pictures=kept, references={image: self.references[image] for image in kept})

    def caption(
        self, captioner: Captioner, *, limits: ImageLimits, on_progress: Callable[[int, int], None]
    ) -> dict[str, str]:
        """Caption every picture in the set's style, with one batch in memory at a time: image id → caption.

        Raises:
            ImageError: a picture cannot be read; the message names it.
        """
        if self.style is not None:
            captioner = captioner.in_style(captioner.generation.written_in(self.style.name))
        captions: dict[str, str] = {}
        for batch in batches(self.pictures, _BATCH):
            pictures = [_open(self.pictures[image], limits) for image in batch]
            suggestions = captioner.caption(pictures, image_hashes=batch if self.has_hashes else None)
            captions |= {image: found.caption for image, found in zip(batch, suggestions, strict=True)}
            on_progress(len(captions), len(self.pictures))
        return captions


def open_evaluation_set(
    dataset: str,
    *,
    home: Home,
    limits: ImageLimits,
    on_bad: Callable[[BadRow], None],
    images: Path | None = None,
    split: SplitName | None = None,
    by_line: bool = False,
    style: str | None = None,
    served: str | None = None,
) -> EvaluationSet:
    """Open an evaluation set by name. Each picture of a dataset in files is decoded once, to see whether it can be.

    Args:
        dataset: a directory or file that `reading.find_source` recognises, or else a snapshot in `home`.
        limits: which pictures are too large.
        on_bad: told of each row of a dataset in files that cannot be used.
        images, by_line: as in `find_source`.
        split: which of the images; None is "held-out" if the dataset has such a part, else all.
        style: to judge in; an empty one is the style without a name.
        served: a snapshot is judged in this style if `style` is None; in its latest if it has no captions in that.

    Raises:
        NotFoundError: the dataset does not exist, no picture of it does, or a snapshot has no captions in the style.
        CaptionFileError: the format is not recognised, or no row can be used.
    """
    path = Path(dataset).expanduser()
    if path.exists():
        source = find_source(path, images=images, by_line=by_line)
        found = _from_files(source, split, str(path), limits, on_bad)
        return found if style is None else replace(found, style=JudgedStyle(style or None, is_chosen=True))
    snapshot = find_snapshot(home, dataset)
    judged_in = snapshot.judged_in(served) if style is None else style or None
    is_chosen = style is not None or len(snapshot.styles) > 1
    return _from_snapshot(snapshot, home, split, JudgedStyle(judged_in, is_chosen))


def find_snapshot(home: Home, name: str) -> Snapshot:
    """The snapshot with this hash, or a unique prefix of it.

    Raises:
        NotFoundError: there is none, or more than one.
        CaptionloopError: its file was changed.
    """
    found = sorted(path for path in home.datasets.glob("*.jsonl") if name and path.stem.startswith(name))
    if not found:
        raise NotFoundError(f"There is no dataset {name!r}: no snapshot with such a hash, no such file or directory.")
    if len(found) > 1:
        hashes = ", ".join(path.stem[: len(name) + 6] for path in found[:5])
        raise NotFoundError(f"Several snapshots begin with {name!r} ({hashes}); give more digits of the hash.")
    return read_snapshot(found[0])


def _from_snapshot(snapshot: Snapshot, home: Home, split: SplitName | None, style: JudgedStyle) -> EvaluationSet:
    """With document frequencies of all captions in the style, as in the gate, so that its metrics are reproduced."""
    if not snapshot.examples:
        raise NotFoundError(f"The snapshot {snapshot.hash} is empty, so there is nothing to score.")
    references = snapshot.references(style.name)
    if not references:
        known = ", ".join("the one without a name" if name is None else repr(name) for name in snapshot.styles)
        raise NotFoundError(f"The snapshot {snapshot.hash[:12]} has no caption in {style}. Its styles: {known}.")
    divided = snapshot.split()
    part = {"held-out": divided.held_out, "train": divided.train, "all": tuple(references)}[split or "held-out"]
    chosen = [image for image in part if image in references]
    return _checked(
        EvaluationSet(
            pictures={image: PictureBytes(home.image(image)) for image in chosen},
            references={image: references[image] for image in chosen},
            corpus=list(references.values()),
            has_hashes=True,
            style=style,
        ),
        f"The split {(split or 'held-out')!r} of snapshot {snapshot.hash}" + f" in {style}" * style.is_chosen,
    )


def _from_files(
    source: Source, split: SplitName | None, called: str, limits: ImageLimits, on_bad: Callable[[BadRow], None]
) -> EvaluationSet:
    parts = source.splits()
    if split not in (None, "all") and not parts:
        raise CaptionFileError(f"{called} is not divided into splits; leave out --split {split}.")
    has_held_out = any(is_in("held-out", part) for part in parts)
    wanted: SplitName = split or ("held-out" if has_held_out else "all")
    pictures: dict[str, PictureBytes] = {}
    references: dict[str, list[str]] = {}
    bad: list[BadRow] = []
    for item in usable_rows(replace(source, split=wanted).rows(), partial(_decode, limits=limits)):
        row = item if isinstance(item, BadRow) else _of_one_picture(item.row, _id(item.row, source), pictures)
        if isinstance(row, BadRow):
            on_bad(row)
            bad.append(row)
        else:
            references.setdefault(_id(row, source), []).extend(row.captions)
    if not pictures:
        raise _nothing(called, bad)
    return EvaluationSet(pictures=pictures, references=references, bad=len(bad))


def _decode(picture: PictureBytes, *, limits: ImageLimits) -> None:
    open_image(picture.read(max_bytes=limits.max_bytes), limits=limits)


def _of_one_picture(row: Row, image: str, pictures: dict[str, PictureBytes]) -> Row | BadRow:
    if pictures.setdefault(image, row.picture) == row.picture:
        return row
    return BadRow(row.place, f"Its id {image} stands for another picture already; give each its own.", row.share)


def _nothing(called: str, bad: Sequence[BadRow]) -> CaptionloopError:
    if not bad:
        return NotFoundError(f"{called} has no image, so there is nothing to score.")
    message = f"No row of {called} can be used, so there is nothing to score. {bad[0].place}: {bad[0].reason}"
    return NotFoundError(message) if bad[0].is_missing else CaptionFileError(message)


def _id(row: Row, source: Source) -> str:
    """An image's id in the dataset, or its name; in shards together with the shard's name."""
    if source.format == "webdataset":
        return f"{row.place.file.stem}/{row.image_id}"
    return row.image_id if row.image_id is not None else row.name


def _checked(chosen: EvaluationSet, called: str) -> EvaluationSet:
    """Check that all pictures of a snapshot exist, before a model is loaded."""
    missing = [str(picture.path) for picture in chosen.pictures.values() if not picture.path.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NotFoundError(f"There is no picture {missing[0]}{more}, which {called} names.")
    if not chosen.pictures:
        raise _nothing(called, [])
    return chosen


def _open(picture: PictureBytes, limits: ImageLimits) -> Image.Image:
    try:
        return open_image(picture.read(max_bytes=limits.max_bytes), limits=limits)
    except ImageError as error:
        raise ImageError(f"{picture.path}: {error}") from error
