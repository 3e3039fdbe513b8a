"""What a directory or file of captioned pictures is, and the reader for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from captionloop.errors import CaptionFileError, NotFoundError
from captionloop.model.exchange.coco_stream import read_annotations
from captionloop.model.exchange.line_files import read_json_lines, read_table
from captionloop.model.exchange.rows import BadRow, Pictures, Place, Row
from captionloop.model.exchange.webdataset_reader import read_shard

Format = Literal["imagefolder", "jsonl", "csv", "coco", "webdataset"]
FORMATS: tuple[Format, ...] = get_args(Format)

_METADATA = ("metadata.jsonl", "metadata.csv")  # of a Hugging Face `imagefolder`
_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".token": "csv",  # Flickr8k.token.txt is also known without its last suffix
    ".json": "coco",
    ".tar": "webdataset",
}


@dataclass(frozen=True)
class Source:
    """Files of one format."""

    format: Format
    files: tuple[Path, ...]
    images: Path | None  # where the pictures lie; None: beside each file

    def rows(self) -> Iterator[Row | BadRow]:
        """All rows, as they stand; each file's share counts as its size does.

        Raises:
            CaptionFileError: the only file cannot be read. One of several is a bad row instead.
        """
        sizes = [file.stat().st_size for file in self.files]
        before = 0
        for file, size in zip(self.files, sizes, strict=True):
            try:
                for row in self._reader(file)():
                    yield replace(row, share=(before + row.share * size) / max(sum(sizes), 1))
            except CaptionFileError as error:
                if len(self.files) == 1:
                    raise
                yield BadRow(Place(file, entry="the whole file"), str(error), before / max(sum(sizes), 1))
            before += size

    def _reader(self, file: Path) -> Callable[[], Iterator[Row | BadRow]]:
        if self.format == "webdataset":
            return partial(read_shard, file)
        # An imagefolder says exactly where its pictures are; elsewhere they may lie in a directory beside the file.
        look_below = self.images is None and self.format != "imagefolder"
        pictures = Pictures(self.images or file.absolute().parent, look_below=look_below)
        if self.format == "coco":
            return partial(read_annotations, file, pictures)
        is_lines = _SUFFIXES.get(file.suffix.lower()) == "jsonl" or self.format == "jsonl"
        return partial(read_json_lines if is_lines else read_table, file, pictures)


def find_source(path: Path, *, images: Path | None = None, form: Format | None = None) -> Source:
    """
    Args:
        path: a directory, or a file of captions or shard of a dataset.
        images: where the pictures lie.
        form: None: recognised from the names of the files.

    Raises:
        NotFoundError: there is no such file or directory.
        CaptionFileError: it is not clear which file holds the captions, or what they are.
    """
    for wanted in (path, images):
        if wanted is not None and not wanted.exists():
            raise NotFoundError(f"There is no file or directory {wanted}.")
    if images is not None and not images.is_dir():
        raise CaptionFileError(f"{images} is no directory of pictures.")
    if path.is_dir():
        return _of_directory(path, images, form)
    found = form or _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise CaptionFileError(
            f"It cannot be told from the name of {path} what it is; say so with --format ({', '.join(FORMATS)})."
        )
    return Source(found, (path,), images)


def _of_directory(path: Path, images: Path | None, form: Format | None) -> Source:
    if form in (None, "imagefolder") and (metadata := _metadata(path)):
        return Source("imagefolder", metadata, images)
    if form in (None, "webdataset") and (shards := tuple(sorted(path.rglob("*.tar")))):
        return Source("webdataset", shards, None)
    candidates = [file for file in sorted(path.iterdir()) if _may_hold_captions(file, form)]
    if len(candidates) > 1:
        candidates = [file for file in candidates if "caption" in file.name.lower()] or candidates
    if not candidates:
        raise CaptionFileError(f"{path} has no file of captions{f' in the format {form}' if form else ''}; name it.")
    if len(candidates) > 1:
        names = ", ".join(file.name for file in candidates[:5])
        raise CaptionFileError(f"{path} has several files that may hold the captions ({names}); name one of them.")
    return Source(form or _SUFFIXES[candidates[0].suffix.lower()], (candidates[0],), images)


def _metadata(path: Path) -> tuple[Path, ...]:
    """Of the directory and those below it, as in `train/metadata.jsonl`; one for each."""
    found: Sequence[Path] = [file for name in _METADATA for file in sorted(path.rglob(name))]
    return tuple({file.parent: file for file in reversed(found)}.values())[::-1]


def _may_hold_captions(file: Path, form: Format | None) -> bool:
    found = _SUFFIXES.get(file.suffix.lower())
    is_prose = file.stem.lower() in {"readme", "license", "licence"}
    return file.is_file() and found is not None and form in (None, found) and not is_prose
