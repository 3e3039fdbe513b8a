"""Captions in JSON files: plain ones, COCO's, and Karpathy's split, told apart by their shape.

    {"IMAGE": "caption", …} or {"IMAGE": ["caption", …], …}                                  plain
    [{"image_id": 42, "caption": "…"}, …]                                                    COCO results
    {"images": [{"id": 42, "file_name": "…"}, …], "annotations": [{"image_id": 42, "caption": "…"}, …]}
                                                                                             COCO annotations
    {"images": [{"split": "test", "filename": "…", "cocoid": 42, "sentences": [{"raw": "…"}, …]}, …]}
                                                                       Karpathy's split (`dataset_coco.json`)

An image is known by the text of its id ("42"); in a plain file by its key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from captionloop.errors import CaptionFileError, NotFoundError

SplitName = Literal["held-out", "train", "all"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

# What the names mean in Karpathy's file. Papers train on `restval` (the rest of COCO's validation images) as well.
_KARPATHY_SPLITS: Mapping[SplitName, frozenset[str]] = {
    "held-out": frozenset({"test"}),
    "train": frozenset({"train", "restval"}),
    "all": frozenset({"train", "restval", "val", "test"}),
}


@dataclass(slots=True)
class CaptionedImage:
    """An image in a file: its captions, and the picture's path relative to where pictures lie, if the file tells."""

    captions: list[str] = field(default_factory=list)
    picture: str | None = None


def read_caption_file(path: Path, *, split: SplitName | None = None) -> dict[str, CaptionedImage]:
    """Read a file of captions in any of the formats.

    Args:
        path: the file.
        split: which images of a Karpathy split; None is "held-out", on which papers report. The other formats hold one
            split in a file, of which only "all" can be asked.

    Returns:
        The images by id, in the order of the file.

    Raises:
        NotFoundError: there is no such file.
        CaptionFileError: it cannot be read, or holds something else; the message names the field.
    """
    content = _read_json(path)
    if isinstance(content, dict) and _is_karpathy(content):
        return _read_karpathy(path, content["images"], _KARPATHY_SPLITS[split or "held-out"])
    if split not in (None, "all"):
        raise CaptionFileError(f"{path} is not divided into splits; leave out --split {split}.")
    if isinstance(content, list):
        return _read_results(path, content)
    if isinstance(content, dict) and "annotations" in content:
        return _read_annotations(path, content)
    if isinstance(content, dict):
        return _read_plain(path, content)
    raise CaptionFileError(f"{path} holds {_kind(content)}; expected an object or a list of captions.")


def read_references(path: Path, *, split: SplitName | None = None) -> dict[str, list[str]]:
    """What people wrote for each image: id → captions. Arguments and errors as in `read_caption_file`."""
    return {image: entry.captions for image, entry in read_caption_file(path, split=split).items()}


def read_captions(path: Path) -> dict[str, str]:
    """One caption for each image: id → caption.

    Raises:
        NotFoundError, CaptionFileError: as `read_caption_file`, and an image with several captions.
    """
    images = read_caption_file(path, split=None)
    for image, entry in images.items():
        if len(entry.captions) != 1:
            raise CaptionFileError(f"{path}: image {image} has {len(entry.captions)} captions; expected one.")
    return {image: entry.captions[0] for image, entry in images.items()}


def to_coco_results(captions: Mapping[str, str]) -> list[dict[str, Any]]:
    """COCO's result format, as its evaluation server and tools read it; ids that are numbers become numbers again."""
    return [{"image_id": _as_number(image), "caption": caption} for image, caption in captions.items()]


def _as_number(image: str) -> int | str:
    """The number that an id is the text of: "42", but not "042", which would come back as another id."""
    return int(image) if image.isascii() and image.isdigit() and str(int(image)) == image else image


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.") from error
    except OSError as error:
        raise CaptionFileError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CaptionFileError(f"{path} is not in UTF-8 (byte {error.start}); save it in that encoding.") from error
    except (ValueError, RecursionError) as error:
        raise CaptionFileError(f"{path} is no valid JSON: {error}.") from error


def _is_karpathy(content: Mapping[str, Any]) -> bool:
    images = content.get("images")
    return isinstance(images, list) and bool(images) and isinstance(images[0], dict) and "sentences" in images[0]


def _read_plain(path: Path, content: Mapping[str, Any]) -> dict[str, CaptionedImage]:
    images: dict[str, CaptionedImage] = {}
    for image, value in content.items():
        captions = value if isinstance(value, list) else [value]
        for caption in captions:
            if not isinstance(caption, str):
                raise CaptionFileError(
                    f"{path}: image {image!r} has {_kind(caption)} as a caption; expected a text or a list of texts."
                )
        images[image] = CaptionedImage(list(captions), picture=image)
    return images


def _read_results(path: Path, content: Sequence[Any]) -> dict[str, CaptionedImage]:
    images: dict[str, CaptionedImage] = {}
    for place, entry in _objects(path, content, "entry"):
        image = _id(path, place, entry, "image_id")
        images.setdefault(image, CaptionedImage()).captions.append(_text(path, place, entry, "caption"))
    return images


def _read_annotations(path: Path, content: Mapping[str, Any]) -> dict[str, CaptionedImage]:
    images: dict[str, CaptionedImage] = {}
    for place, entry in _objects(path, _list(path, content, "images"), "images"):
        picture = _text(path, place, entry, "file_name") if "file_name" in entry else None
        images[_id(path, place, entry, "id")] = CaptionedImage(picture=picture)
    for place, entry in _objects(path, _list(path, content, "annotations"), "annotations"):
        image = _id(path, place, entry, "image_id")
        if image not in images:
            raise CaptionFileError(f'{path}: {place}: there is no image with the id {image} in "images".')
        images[image].captions.append(_text(path, place, entry, "caption"))
    return images


def _read_karpathy(path: Path, content: Sequence[Any], splits: frozenset[str]) -> dict[str, CaptionedImage]:
    images: dict[str, CaptionedImage] = {}
    for place, entry in _objects(path, content, "images"):
        split = _text(path, place, entry, "split")
        if split not in _KARPATHY_SPLITS["all"]:
            raise CaptionFileError(
                f'{path}: {place}: "split" is {split!r}; expected {", ".join(sorted(_KARPATHY_SPLITS["all"]))}.'
            )
        if split not in splits:
            continue
        name = _text(path, place, entry, "filename")
        # Flickr's files of the same make have no COCO ids.
        image = _id(path, place, entry, "cocoid" if "cocoid" in entry else "imgid")
        sentences = _objects(path, _list(path, entry, "sentences", place), f"{place}, sentences")
        images[image] = CaptionedImage(
            [_text(path, inner, sentence, "raw") for inner, sentence in sentences],
            picture=f"{entry['filepath']}/{name}" if "filepath" in entry else name,
        )
    return images


def _objects(path: Path, entries: Sequence[Any], place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a list, each with where it stands, counted from 1."""
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise CaptionFileError(f"{path}: {place} {number} is {_kind(entry)}; expected an object.")
        yield f"{place} {number}", entry


def _list(path: Path, entry: Mapping[str, Any], name: str, place: str = "") -> Sequence[Any]:
    value = entry.get(name)
    if not isinstance(value, list):
        raise CaptionFileError(f'{path}: {place and place + ": "}"{name}" is {_found(entry, name)}; expected a list.')
    return value


def _text(path: Path, place: str, entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise CaptionFileError(f'{path}: {place}: "{name}" is {_found(entry, name)}; expected a text.')
    return value


def _id(path: Path, place: str, entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise CaptionFileError(f'{path}: {place}: "{name}" is {_found(entry, name)}; expected a number or a text.')
    return str(value)


def _found(entry: Mapping[str, Any], name: str) -> str:
    return _kind(entry[name]) if name in entry else "missing"


def _kind(value: object) -> str:
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "nothing (null)" if value is None else kinds.get(type(value), f"the number {value}")
