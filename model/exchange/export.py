"""Export of a snapshot in formats that other tools read.

Each format but the last is a directory with the pictures in `images/`, named by their content hash, and the captions
beside them:

* `imagefolder`: `metadata.jsonl` of Hugging Face `datasets`, a line for each picture and caption;
* `jsonl`: `captions.jsonl` with `image`, `captions` and `split`;
* `csv`: `captions.csv` with a row for each picture and caption;
* `coco`: `captions.json`, COCO's caption annotations;
* `webdataset`: shards with pictures and captions, see `webdataset_writer`; held-out ones are in `test-….tar`.

Where the captions are of more than one style, each has the name of its own with it: null, or nothing in `csv`, without
a name.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image

from captionloop.errors import CaptionloopError
from captionloop.home import Home, storing, unfinished_directory
from captionloop.model.captions.example import Example
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.exchange.reading import SplitName
from captionloop.model.exchange.webdataset_writer import Sample, write_shards

Format = Literal["imagefolder", "jsonl", "csv", "coco", "webdataset"]
FORMATS: tuple[Format, ...] = get_args(Format)
_TRAIN, _HELD_OUT = "train", "held-out"


@dataclass(frozen=True)
class _Written:
    """A caption with its style by the name of the field: empty where all captions are of one style."""

    caption: str
    style: Mapping[str, str | None]


_Captions = Mapping[str, Sequence[_Written]]  # picture's file name → its captions


def export(snapshot: Snapshot, home: Home, target: Path, *, form: Format, split: SplitName = "all") -> int:
    """Write a snapshot to a directory, which appears complete or not at all.

    Returns:
        The number of pictures.

    Raises:
        CaptionloopError: the directory exists and is not empty, the split is empty, or one of our copies of the
            pictures is gone.
        StorageError: the disk is full or read-only.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CaptionloopError(f"{target} is there already and not empty; name another directory.")
    chosen, held_out = _with_styles(snapshot, split), set(snapshot.split().held_out)
    with storing(target), unfinished_directory(target.parent, prefix=f".{target.name}.") as unfinished:
        if form == "webdataset":
            _write_shards(unfinished, home, chosen, held_out)
        else:
            (unfinished / "images").mkdir()
            names = {image: _copy_picture(home.image(image), unfinished / "images") for image in chosen}
            found = {names[image]: captions for image, captions in chosen.items()}
            _WRITERS[form](unfinished, found, {names[image] for image in chosen if image in held_out})
        unfinished.replace(target)
    return len(chosen)


def chosen_captions(snapshot: Snapshot, split: SplitName) -> dict[str, list[str]]:
    """Image → its captions, of those images that are in a part of the dataset.

    Raises:
        CaptionloopError: there are none.
    """
    chosen = _chosen(snapshot, split)
    return {image: [example.caption for example in examples] for image, examples in chosen.items()}


def _with_styles(snapshot: Snapshot, split: SplitName) -> dict[str, list[_Written]]:
    """The same captions with their styles."""
    has_several = len(snapshot.styles) > 1
    return {
        image: [_Written(example.caption, {"style": example.style} if has_several else {}) for example in examples]
        for image, examples in _chosen(snapshot, split).items()
    }


def _chosen(snapshot: Snapshot, split: SplitName) -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for example in snapshot.examples:
        found.setdefault(example.image, []).append(example)
    held_out = set(snapshot.split().held_out)
    chosen = {
        image: examples
        for image, examples in found.items()
        if split == "all" or (image in held_out) == (split == "held-out")
    }
    if not chosen:
        raise CaptionloopError(f"No picture is in the split {split!r} of snapshot {snapshot.hash[:12]}.")
    return chosen


def _write_shards(directory: Path, home: Home, captions: _Captions, held_out: set[str]) -> None:
    # By these names Hugging Face's `datasets` tells the splits apart; it leaves out files whose names tell nothing.
    for split, name in ((_TRAIN, "train"), (_HELD_OUT, "test")):
        samples = (
            Sample(home.image(image), kind_of(home.image(image)), **_fields(texts))
            for image, texts in captions.items()
            if _split_of(image, held_out) == split
        )
        write_shards(directory, samples, name=name)


def _fields(written: Sequence[_Written]) -> dict[str, list[Any]]:
    """All captions of a picture, and all their styles where there are some."""
    styles = [style for each in written for style in each.style.values()]
    return {"captions": [each.caption for each in written]} | ({"styles": styles} if styles else {})


def _copy_picture(path: Path, directory: Path) -> str:
    """Copy one of our pictures; returns its new name, with the extension of its format."""
    name = f"{path.name}.{kind_of(path)}"
    shutil.copyfile(path, directory / name)
    return name


def kind_of(path: Path) -> str:
    """The file extension of a picture's format."""
    try:
        with Image.open(path) as picture:
            found = (picture.format or "bin").lower()
    except OSError as error:
        raise CaptionloopError(f"Our copy of a corrected picture, {path}, cannot be read ({error}).") from error
    return {"jpeg": "jpg", "mpo": "jpg"}.get(found, found)  # MPO: a JPEG followed by more, from many phones


def _imagefolder(directory: Path, captions: _Captions, held_out: set[str]) -> None:
    rows = (
        {"file_name": f"images/{name}", "text": each.caption, **each.style, "split": _split_of(name, held_out)}
        for name, written in captions.items()
        for each in written
    )
    _write_lines(directory / "metadata.jsonl", map(json.dumps, rows))


def _jsonl(directory: Path, captions: _Captions, held_out: set[str]) -> None:
    rows = (
        {"image": f"images/{name}", **_fields(written), "split": _split_of(name, held_out)}
        for name, written in captions.items()
    )
    _write_lines(directory / "captions.jsonl", map(json.dumps, rows))


def _csv(directory: Path, captions: _Captions, held_out: set[str]) -> None:
    with (directory / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        style = list(next(iter(captions.values()))[0].style)
        writer.writerow(["image", "caption", *style, "split"])
        for name, written in captions.items():
            split = _split_of(name, held_out)
            writer.writerows([f"images/{name}", each.caption, *each.style.values(), split] for each in written)


def _coco(directory: Path, captions: _Captions, held_out: set[str]) -> None:
    images = [
        {"id": number, "file_name": f"images/{name}", "split": _split_of(name, held_out)}
        for number, name in enumerate(captions, start=1)
    ]
    written = [(number, each) for number, found in enumerate(captions.values(), start=1) for each in found]
    annotations = [
        {"id": number, "image_id": image, "caption": each.caption, **each.style}
        for number, (image, each) in enumerate(written, start=1)
    ]
    content = {"images": images, "annotations": annotations}
    (directory / "captions.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _split_of(name: str, held_out: set[str]) -> str:
    return _HELD_OUT if name in held_out else _TRAIN


def _write_lines(path: Path, lines: map[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


_WRITERS: Mapping[str, Callable[[Path, _Captions, set[str]], None]] = {
    "imagefolder": _imagefolder,
    "jsonl": _jsonl,
    "csv": _csv,
    "coco": _coco,
}
