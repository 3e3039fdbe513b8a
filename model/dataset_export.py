"""A snapshot of the corrections as a dataset that other tools read.

Each format is a directory with the pictures in `images/`, named by their content hash, and the captions beside them:

* `imagefolder`: `metadata.jsonl` of Hugging Face `datasets`, a line for each picture and caption;
* `jsonl`: `captions.jsonl` with `image`, `captions` and `split`;
* `csv`: `captions.csv` with a row for each picture and caption;
* `coco`: `captions.json`, COCO's caption annotations.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from PIL import Image

from captionloop.errors import CaptionloopError
from captionloop.home import Home
from captionloop.model.corrections import Snapshot
from captionloop.model.split import split_images

Format = Literal["imagefolder", "jsonl", "csv", "coco"]
FORMATS: tuple[Format, ...] = get_args(Format)
SplitName = Literal["all", "train", "held-out"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

Captions = Mapping[str, Sequence[str]]  # picture's file name → its captions


def export(snapshot: Snapshot, home: Home, target: Path, *, form: Format, split: SplitName = "all") -> int:
    """Write a snapshot to a directory, which appears whole or not at all.

    Returns:
        how many pictures it has.

    Raises:
        CaptionloopError: the directory is there and not empty, nothing is in the split, or one of our copies of the
            pictures is gone.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CaptionloopError(f"{target} is there already and not empty; name another directory.")
    captions: dict[str, list[str]] = {}
    for example in snapshot.examples:
        captions.setdefault(example.image, []).append(example.caption)
    divided = split_images(captions) if captions else None
    held_out = set(divided.held_out) if divided else set()
    chosen = [image for image in captions if split == "all" or (image in held_out) == (split == "held-out")]
    if not chosen:
        raise CaptionloopError(f"No picture is in the split {split!r} of snapshot {snapshot.hash[:12]}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        (unfinished / "images").mkdir()
        names = {image: _copy_picture(home.image(image), unfinished / "images") for image in chosen}
        found = {names[image]: captions[image] for image in chosen}
        _WRITERS[form](unfinished, found, {names[image] for image in chosen if image in held_out})
        unfinished.chmod(0o755)
        unfinished.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return len(chosen)


def _copy_picture(path: Path, directory: Path) -> str:
    """Copy one of our pictures; gives its new name, which says what kind of file it is."""
    try:
        with Image.open(path) as picture:
            suffix = f".{(picture.format or 'bin').lower()}".replace(".jpeg", ".jpg")
        shutil.copyfile(path, directory / (path.name + suffix))
    except OSError as error:
        raise CaptionloopError(f"Our copy of a corrected picture, {path}, cannot be read ({error}).") from error
    return path.name + suffix


def _imagefolder(directory: Path, captions: Captions, held_out: set[str]) -> None:
    rows = (
        {"file_name": f"images/{name}", "text": text, "split": _split_of(name, held_out)}
        for name, texts in captions.items()
        for text in texts
    )
    _write_lines(directory / "metadata.jsonl", map(json.dumps, rows))


def _jsonl(directory: Path, captions: Captions, held_out: set[str]) -> None:
    rows = (
        {"image": f"images/{name}", "captions": list(texts), "split": _split_of(name, held_out)}
        for name, texts in captions.items()
    )
    _write_lines(directory / "captions.jsonl", map(json.dumps, rows))


def _csv(directory: Path, captions: Captions, held_out: set[str]) -> None:
    with (directory / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "split"])
        for name, texts in captions.items():
            writer.writerows([f"images/{name}", text, _split_of(name, held_out)] for text in texts)


def _coco(directory: Path, captions: Captions, held_out: set[str]) -> None:
    images = [
        {"id": number, "file_name": f"images/{name}", "split": _split_of(name, held_out)}
        for number, name in enumerate(captions, start=1)
    ]
    texts = [(number, text) for number, found in enumerate(captions.values(), start=1) for text in found]
    annotations = [
        {"id": number, "image_id": image, "caption": text} for number, (image, text) in enumerate(texts, start=1)
    ]
    content = {"images": images, "annotations": annotations}
    (directory / "captions.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _split_of(name: str, held_out: set[str]) -> str:
    return "held-out" if name in held_out else "train"


def _write_lines(path: Path, lines: map[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


_WRITERS: Mapping[Format, Callable[[Path, Captions, set[str]], None]] = {
    "imagefolder": _imagefolder,
    "jsonl": _jsonl,
    "csv": _csv,
    "coco": _coco,
}
