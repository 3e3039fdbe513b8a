"""Captioned pictures in files, as a sequence with its split."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict, overload

from captionloop.backend.python.html import Card, gallery
from captionloop.backend.python.progress import bar
from captionloop.model.dataset.images import open_image
from captionloop.model.dataset.split import split_images
from captionloop.model.exchange.evaluation_set import EvaluationSet
from captionloop.model.exchange.reading import BadRow, Format, SplitName, find_source
from captionloop.model.finetuning.folder_dataset import FolderDataset, read_folder
from captionloop.settings import Settings

if TYPE_CHECKING:
    from PIL import Image

    from captionloop.image_limits import ImageLimits

_SHOWN = 12


class Item(TypedDict):
    """A picture, upright in RGB, with what people wrote about it, and its file."""

    image: Image.Image
    captions: list[str]
    path: str


class Problem(NamedTuple):
    """A row that cannot be used: where it is, and why."""

    place: str
    reason: str


class Dataset(Sequence[Item]):
    """Captioned pictures. Each distinct picture is one item; it is decoded when it is asked for.

    Args:
        data: of these pictures alone.
        limits: which pictures are too large.
        problems: rows that could not be used.
        name: for people.
        corpus: human captions of each picture of the dataset that this is a part of; document frequencies of CIDEr-D
            come from all of them. None: it is the whole.
    """

    def __init__(
        self,
        data: FolderDataset,
        *,
        limits: ImageLimits,
        problems: Sequence[Problem] = (),
        name: str,
        corpus: Sequence[Sequence[str]] | None = None,
    ) -> None:
        self.data, self.name = data, name
        self.problems = tuple(problems)
        self.limits = limits
        self._images = tuple(data.pictures)
        self._corpus = list(self._references.values()) if corpus is None else corpus

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Dataset: ...
    def __getitem__(self, place: int | slice) -> Item | Dataset:
        """A picture; of a slice a dataset.

        Raises:
            ImageError: the picture is gone, or is another one now.
        """
        if isinstance(place, slice):
            return self._part(self._images[place], self.name)
        image = self._images[place]
        picture = open_image(self.data.read(image, limits=self.limits), limits=self.limits)
        return Item(image=picture, captions=list(self._references[image]), path=self.path(image))

    def __iter__(self) -> Iterator[Item]:
        return (self[place] for place in range(len(self)))

    @cached_property
    def split(self) -> Mapping[str, Dataset]:
        """What is trained on, "train", and what is held out, "held_out": about a fifth, near-duplicates together.

        It goes by the pictures' content, so that it stays when others come, and is that of `captionloop train`.
        """
        found = split_images(self._images, split_with=self.data.split_with)
        return {
            "train": self._part(found.train, f"{self.name}, train"),
            "held_out": self._part(found.held_out, f"{self.name}, held out"),
        }

    @property
    def train(self) -> Dataset:
        """The pictures that `finetune` learns from."""
        return self.split["train"]

    @property
    def held_out(self) -> Dataset:
        """The pictures that `finetune` never sees, and compares the models on."""
        return self.split["held_out"]

    @property
    def hashes(self) -> tuple[str, ...]:
        """The SHA-256 of each picture's bytes."""
        return self._images

    def path(self, image: str) -> str:
        """The file of a picture, by its hash."""
        return str(self.data.pictures[image].path)

    def as_evaluation_set(self) -> EvaluationSet:
        """The same for the metrics."""
        return EvaluationSet(
            pictures=self.data.pictures, references=self._references, corpus=self._corpus, has_hashes=True
        )

    def __repr__(self) -> str:
        problems = f", {len(self.problems)} problems" if self.problems else ""
        return f"Dataset({self.name!r}, {len(self)} pictures, {len(self.data.captions)} captions{problems})"

    def _repr_html_(self) -> str:
        cards = [Card(item["image"], [(None, text) for text in item["captions"]]) for item in self[:_SHOWN]]
        more = f" The first {_SHOWN}:" if len(self) > _SHOWN else ""
        return gallery(f"{self!r}{more}", cards)

    @cached_property
    def _references(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for image, caption in self.data.captions:
            found.setdefault(image, []).append(caption)
        return found

    def _part(self, images: Sequence[str], name: str) -> Dataset:
        chosen = {image: self.data.pictures[image] for image in images}
        captions = tuple((image, caption) for image, caption in self.data.captions if image in chosen)
        data = replace(self.data, captions=captions, pictures=chosen)
        return Dataset(data, limits=self.limits, name=name, corpus=self._corpus)


def load_dataset(
    path: str | Path,
    *,
    images: str | Path | None = None,
    format: Format | None = None,
    lines: bool = False,
    split: SplitName = "all",
    limit: int | None = None,
) -> Dataset:
    """Read captioned pictures: a directory with a `.txt` beside each, an imagefolder, JSONL, CSV, COCO, WebDataset, …

    What `captionloop train` reads; docs/dataset.md has the formats. Each picture is decoded once. A warning says that
    rows cannot be used; `problems` of the dataset names them.

    Args:
        path: the directory, or the file of captions.
        images: where the pictures lie; None: beside the captions.
        format: None: recognised.
        lines: each line of a text beside a picture is a caption of its own.
        split: only this part of a dataset that is divided.
        limit: rows to look at; None: all.

    Raises:
        NotFoundError: there is no such file or directory.
        CaptionFileError: the dataset is not what it should be.
        RunError: fewer than two pictures can be used.
    """
    limits = Settings.read().image_limits
    source = find_source(
        Path(path).expanduser(),
        images=Path(images).expanduser() if images is not None else None,
        form=format,
        by_line=lines,
        split=split,
    )
    bad: list[BadRow] = []
    with bar("Reading", total=1.0) as moving:
        data = read_folder(source, limits=limits, limit=limit, on_bad=bad.append, on_progress=moving.to)
    problems = [Problem(str(row.place), row.reason) for row in bad]
    if problems:
        first = f"{problems[0].place}: {problems[0].reason}"
        warnings.warn(
            f"{len(problems)} rows of {path} cannot be used, the first of them {first} All are in `problems`.",
            stacklevel=2,
        )
    return Dataset(data, limits=limits, problems=problems, name=Path(path).expanduser().resolve().name)
