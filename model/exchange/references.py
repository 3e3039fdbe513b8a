"""Captions in JSON files for scoring, references and generated ones, without pictures.

The formats are those of `reading.json_documents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captionloop.errors import CaptionFileError, NotFoundError
from captionloop.model.exchange.reading import BadRow, SplitName
from captionloop.model.exchange.reading.caption_text import shown
from captionloop.model.exchange.reading.json_documents import read_document, shape_of
from captionloop.model.exchange.reading.rows import is_in


@dataclass(slots=True)
class CaptionedImage:
    """An image in a file: its captions, and the picture's name if the file has it."""

    captions: list[str] = field(default_factory=list)
    picture: str | None = None


def read_caption_file(path: Path, *, split: SplitName | None = None) -> dict[str, CaptionedImage]:
    """Read a file of captions.

    Args:
        path: the file.
        split: which images of a Karpathy split; None is "held-out", on which papers report. Files of other formats are
            a single split, so only "all" is possible.

    Returns:
        The images by id, or by picture name if the file has no ids, in file order.

    Raises:
        NotFoundError: there is no such file.
        CaptionFileError: it cannot be read, has another format, or a bad entry, which the message names.
    """
    if not path.exists():
        raise NotFoundError(f"There is no file {path}.")
    is_divided = shape_of(path) == "karpathy"
    if not is_divided and split not in (None, "all"):
        raise CaptionFileError(f"{path} is not divided into splits; leave out --split {split}.")
    wanted: SplitName = split or ("held-out" if is_divided else "all")
    images: dict[str, CaptionedImage] = {}
    for entry in read_document(path):
        if isinstance(entry, BadRow):
            raise CaptionFileError(f"{entry.place}: {entry.reason}")
        if is_in(wanted, entry.split):
            image = entry.image_id if entry.image_id is not None else str(entry.picture)
            known = images.setdefault(image, CaptionedImage(picture=entry.picture))
            if known.picture != entry.picture:
                raise CaptionFileError(
                    f"{entry.place}: the id {image} stands for {known.picture} and {entry.picture}; give each its own."
                )
            known.captions += _texts(entry.captions, f"{entry.place}")
    return images


def read_references(path: Path, *, split: SplitName | None = None) -> dict[str, list[str]]:
    """The references of each image: id → captions. Arguments and errors as in `read_caption_file`."""
    return {image: entry.captions for image, entry in read_caption_file(path, split=split).items()}


def read_captions(path: Path) -> dict[str, str]:
    """One caption for each image: id → caption.

    Raises:
        NotFoundError, CaptionFileError: as `read_caption_file`, and for an image with several captions.
    """
    images = read_caption_file(path, split=None)
    for image, entry in images.items():
        if len(entry.captions) != 1:
            raise CaptionFileError(f"{path}: image {image} has {len(entry.captions)} captions; expected one.")
    return {image: entry.captions[0] for image, entry in images.items()}


def to_coco_results(captions: Mapping[str, str]) -> list[dict[str, Any]]:
    """COCO's result format, for its evaluation server and tools; numeric ids become numbers again."""
    return [{"image_id": _as_number(image), "caption": caption} for image, caption in captions.items()]


def _as_number(image: str) -> int | str:
    """A numeric id as a number: "42", but not "042", which would not round-trip."""
    return int(image) if image.isascii() and image.isdigit() and str(int(image)) == image else image


def _texts(captions: object, place: str) -> list[str]:
    texts: list[object] = captions if isinstance(captions, list) else [captions]
    return [_text(text, place) for text in texts]


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise CaptionFileError(f"{place}: the caption is {shown(value)}; expected a text, or a list of texts.")
    return value
