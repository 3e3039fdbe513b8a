"""Pictures with what people wrote for them, to score a version on: from a snapshot of corrections or from files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from captionloop.batches import batches
from captionloop.errors import CaptionFileError, ImageError, NotFoundError
from captionloop.home import Home
from captionloop.model.dataset.corrections import Snapshot, read_snapshot
from captionloop.model.dataset.images import ImageLimits, open_image
from captionloop.model.exchange.coco import CaptionedImage, SplitName, read_caption_file

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner

METADATA = "metadata.jsonl"  # of a Hugging Face `imagefolder`
# Pictures in memory at a time.
_BATCH = 32


@dataclass(frozen=True)
class EvaluationSet:
    """Pictures and their captions by people.

    Args:
        pictures: image id → file.
        references: the same image ids → at least one caption.
        corpus: captions of more images, for CIDEr-D's document frequencies (see `evaluate_captions`).
        has_hashes: the image ids are content hashes, so that image features may be kept under them.
    """

    pictures: Mapping[str, Path]
    references: Mapping[str, Sequence[str]]
    corpus: Sequence[Sequence[str]] = ()
    has_hashes: bool = False

    def caption(
        self, captioner: Captioner, *, limits: ImageLimits, on_progress: Callable[[int, int], None]
    ) -> dict[str, str]:
        """Let a version caption every picture, a batch in memory at a time: image id → caption.

        Raises:
            ImageError: a picture cannot be read; it is named.
        """
        captions: dict[str, str] = {}
        for batch in batches(self.pictures, _BATCH):
            pictures = [_open(self.pictures[image], limits) for image in batch]
            suggestions = captioner.caption(pictures, image_hashes=batch if self.has_hashes else None)
            captions |= {image: found.caption for image, found in zip(batch, suggestions, strict=True)}
            on_progress(len(captions), len(self.pictures))
        return captions


def open_evaluation_set(
    dataset: str, *, home: Home, images: Path | None = None, split: SplitName | None = None
) -> EvaluationSet:
    """The pictures that a name stands for.

    Args:
        dataset: an `imagefolder` directory, a file that `model.coco` reads, or else a snapshot in `home`.
        images: where the pictures of a file lie.
        split: which of the images; None is "held-out" where the dataset is divided, and all of them elsewhere.

    Raises:
        NotFoundError: there is no such dataset, or a picture of it is missing.
        CaptionFileError: the dataset is not what it should be, or is one of files and has no `images`.
    """
    path = Path(dataset).expanduser()
    if path.is_dir():
        return _from_folder(path, split)
    if path.is_file():
        return _from_file(path, images, split)
    return _from_snapshot(find_snapshot(home, dataset), home, split)


def find_snapshot(home: Home, name: str) -> Snapshot:
    """The snapshot with this hash, or the only one whose hash begins so.

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


def _from_snapshot(snapshot: Snapshot, home: Home, split: SplitName | None) -> EvaluationSet:
    """Document frequencies come from the whole snapshot, as in the gate, so that its figures come out again."""
    references: dict[str, list[str]] = {}
    for example in snapshot.examples:
        references.setdefault(example.image, []).append(example.caption)
    if not references:
        raise NotFoundError(f"The snapshot {snapshot.hash} is empty, so there is nothing to score.")
    divided = snapshot.split()
    chosen = {"held-out": divided.held_out, "train": divided.train, "all": tuple(references)}[split or "held-out"]
    return _checked(
        EvaluationSet(
            pictures={image: home.image(image) for image in chosen},
            references={image: references[image] for image in chosen},
            corpus=list(references.values()),
            has_hashes=True,
        ),
        f"The split {(split or 'held-out')!r} of snapshot {snapshot.hash}",
    )


def _from_file(path: Path, images: Path | None, split: SplitName | None) -> EvaluationSet:
    if images is None:
        raise CaptionFileError(f"{path} names pictures; say with --images DIR where they lie.")
    return _of_files(path, read_caption_file(path, split=split), images)


def _from_folder(directory: Path, split: SplitName | None) -> EvaluationSet:
    if split not in (None, "all"):
        raise CaptionFileError(f"{directory} is not divided into splits; leave out --split {split}.")
    path = directory / METADATA
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise NotFoundError(f"{directory} has no {METADATA}, so it is no directory of captioned images.") from error
    found: dict[str, CaptionedImage] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, captions = _metadata(path, number, line)
            found.setdefault(name, CaptionedImage(picture=name)).captions.extend(captions)
    return _of_files(path, found, directory)


def _metadata(path: Path, number: int, line: str) -> tuple[str, list[str]]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise CaptionFileError(f"{path}, line {number} is no valid JSON: {error}.") from error
    name = row.get("file_name") if isinstance(row, dict) else None
    if not isinstance(name, str):
        raise CaptionFileError(f'{path}, line {number}: "file_name" is missing; expected the name of a picture.')
    text = next((row[field] for field in ("text", "caption", "captions") if field in row), None)
    texts = text if isinstance(text, list) else [text]
    captions = [caption for caption in texts if isinstance(caption, str)]
    if not captions or len(captions) < len(texts):
        raise CaptionFileError(f'{path}, line {number}: no caption; expected a text as "text" or "caption".')
    return name, captions


def _of_files(path: Path, found: Mapping[str, CaptionedImage], images: Path) -> EvaluationSet:
    for image, entry in found.items():
        if entry.picture is None:
            raise CaptionFileError(f"{path} does not say which file image {image} is; expected COCO's annotations.")
        if not entry.captions:
            raise CaptionFileError(f"{path} has no caption for image {image}.")
    return _checked(
        EvaluationSet(
            pictures={image: _locate(images, str(entry.picture)) for image, entry in found.items()},
            references={image: entry.captions for image, entry in found.items()},
        ),
        str(path),
    )


def _locate(images: Path, name: str) -> Path:
    """Below the directory; or right in it, as when somebody names COCO's `val2014` itself."""
    below = images / name
    return below if below.is_file() else images / Path(name).name


def _checked(chosen: EvaluationSet, called: str) -> EvaluationSet:
    """Look for all pictures before a model is loaded."""
    if not chosen.pictures:
        raise NotFoundError(f"{called} has no image, so there is nothing to score.")
    missing = [str(path) for path in chosen.pictures.values() if not path.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NotFoundError(f"There is no picture {missing[0]}{more}, which {called} names.")
    return chosen


def _open(path: Path, limits: ImageLimits) -> Image.Image:
    try:
        return open_image(path.read_bytes(), limits=limits)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.") from error
