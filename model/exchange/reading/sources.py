"""Recognition of a dataset's format, and its rows."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from captionloop.errors import CaptionFileError, NotFoundError
from captionloop.model.exchange.reading.caption_text import checked_captions
from captionloop.model.exchange.reading.directory import FoundFile, files_below
from captionloop.model.exchange.reading.json_documents import Shape, read_document, shape_of
from captionloop.model.exchange.reading.json_lines import read_json_lines
from captionloop.model.exchange.reading.pictures import PICTURE_KINDS, Pictures, has_picture_name
from captionloop.model.exchange.reading.rows import (
    BadRow,
    Entry,
    NoPictureError,
    Place,
    Row,
    RowError,
    SplitName,
    is_in,
)
from captionloop.model.exchange.reading.sidecars import is_sidecar, read_sidecars
from captionloop.model.exchange.reading.tables import read_table
from captionloop.model.exchange.reading.webdataset import read_shard, shard_split

Format = Literal["imagefolder", "jsonl", "csv", "coco", "karpathy", "json", "sidecar", "webdataset"]
FORMATS: tuple[Format, ...] = get_args(Format)

_METADATA = ("metadata.jsonl", "metadata.csv")  # of a Hugging Face `imagefolder`
_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".token": "csv",  # Flickr8k.token.txt is also known without its last suffix
    ".json": "json",  # or, by its structure, "coco" or "karpathy"
    ".tar": "webdataset",
}
_DOCUMENTS: tuple[Shape, ...] = get_args(Shape)
# Directories of an `imagefolder` that are parts of a dataset, as Hugging Face's `datasets` knows them.
_DIRECTORIES = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"})
_BESIDE = frozenset({".txt", ".caption", ".json"})
_PICTURE_ENDINGS = [f".{kind}" for name in PICTURE_KINDS for kind in (name, name.upper())]
_PROSE = frozenset({"readme", "license", "licence", "requirements"})


@dataclass(frozen=True)
class Source:
    """A dataset of one format.

    Args:
        files: the caption files, in order; of sidecars their directory.
        directory: base of the names of rows.
        images: the user's directory of pictures; None: beside each caption file.
        by_line: whether each line of a picture's own text (a sidecar, a shard's `.txt`) is a caption; else the whole
            text is one caption.
        split: which part of the dataset to read.
    """

    format: Format
    files: tuple[Path, ...]
    directory: Path
    images: Path | None = None
    by_line: bool = False
    split: SplitName = "all"

    def splits(self) -> set[str]:
        """The parts of the dataset by their own names; empty if it has none.

        Raises:
            CaptionFileError: a file of it cannot be read.
        """
        if self.format in ("sidecar", "coco"):
            return set()
        if self.format == "webdataset":
            found = {shard_split(file) for file in self.files}
        else:
            found = {
                self._split(entry) for file in self.files for entry in self._entries(file) if isinstance(entry, Entry)
            }
        return {split for split in found if split is not None}

    def rows(self) -> Iterator[Row | BadRow]:
        """All rows in file order; a file's part of `share` is proportional to its size.

        Raises:
            CaptionFileError: the only file cannot be read; one of several is a bad row instead.
        """
        sizes = [file.stat().st_size for file in self.files]
        whole = max(sum(sizes), 1)
        before = 0
        for file, size in zip(self.files, sizes, strict=True):
            try:
                for row in self._rows_of(file):
                    yield replace(row, share=(before + row.share * size) / whole)
            except CaptionFileError as error:
                if len(self.files) == 1:
                    raise
                yield BadRow(Place(file, entry="the whole file"), str(error), before / whole)
            before += size

    def _rows_of(self, file: Path) -> Iterator[Row | BadRow]:
        if self.format == "webdataset":
            if is_in(self.split, shard_split(file)):
                yield from read_shard(file, by_line=self.by_line)
        elif self.format == "sidecar":
            yield from read_sidecars(file, by_line=self.by_line)
        else:
            with closing(self._pictures(file)) as pictures:
                for entry in self._entries(file):
                    if isinstance(entry, BadRow):
                        yield entry
                    elif is_in(self.split, self._split(entry)):
                        yield self._row(entry, pictures)

    def _entries(self, file: Path) -> Iterator[Entry | BadRow]:
        if self.format in _DOCUMENTS:
            return read_document(file)
        is_lines = self.format == "jsonl" or _SUFFIXES.get(file.suffix.lower()) == "jsonl"
        return read_json_lines(file) if is_lines else read_table(file)

    def _pictures(self, file: Path) -> Pictures:
        return Pictures(
            self.images or file.absolute().parent,
            names=lambda: (
                entry.picture for entry in self._entries(file) if isinstance(entry, Entry) and entry.picture is not None
            ),
            may_lie_elsewhere=self.format != "imagefolder",
        )

    def _row(self, entry: Entry, pictures: Pictures) -> Row | BadRow:
        try:
            if entry.picture is None:
                raise RowError(f"It does not say which file image {entry.image_id} is; {_NEEDS_NAMES}.")
            found = pictures.find(entry.picture)
            captions = checked_captions(entry.captions)
        except RowError as error:
            return BadRow(entry.place, str(error), entry.share, is_missing=isinstance(error, NoPictureError))
        name = self._own_name(entry.place.file, found.name)
        split = self._split(entry)
        return Row(entry.place, found.picture, name, captions, entry.share, image_id=entry.image_id, split=split)

    def _split(self, entry: Entry) -> str | None:
        """The split of an entry, or in an `imagefolder` that of its directories."""
        if entry.split is not None or entry.picture is None or self.format != "imagefolder":
            return entry.split
        directories = PurePosixPath(self._own_name(entry.place.file, entry.picture)).parts[:-1]
        return next((part.lower() for part in directories if part.lower() in _DIRECTORIES), None)

    def _own_name(self, file: Path, name: str) -> str:
        """A picture's name relative to the dataset's directory instead of its caption file's."""
        if self.images is not None:
            return name
        return (PurePosixPath(file.absolute().parent.relative_to(self.directory.absolute())) / name).as_posix()


_NEEDS_NAMES = 'COCO\'s annotations do, as "file_name" of each of their "images"'


# Recognising ---------------------------------------------------------------------------------------------------------


def find_source(
    path: Path,
    *,
    images: Path | None = None,
    form: Format | None = None,
    by_line: bool = False,
    split: SplitName = "all",
) -> Source:
    """
    Args:
        path: a directory, a caption file, or a shard.
        images: directory of the pictures.
        form: None: detected from file names, and for JSON from its structure.
        by_line, split: as in `Source`.

    Raises:
        NotFoundError: there is no such file or directory.
        CaptionFileError: the caption file or its format is ambiguous.
    """
    for wanted in (path, images):
        if wanted is not None and not wanted.exists():
            raise NotFoundError(f"There is no file or directory {wanted}.")
    if images is not None and not images.is_dir():
        raise CaptionFileError(f"{images} is no directory of pictures.")
    found = _of_directory(path, form) if path.is_dir() else _of_file(path, form)
    if images is not None and found.format in ("sidecar", "webdataset"):
        raise CaptionFileError(f"{path} has its pictures with the captions ({found.format}); leave out --images.")
    return replace(found, images=images, by_line=by_line, split=split)


def find_captions(directory: Path, *, by_line: bool) -> Source | None:
    """The captions in a directory of pictures; None if there are none.

    Raises:
        CaptionFileError: it is ambiguous which they are.
    """
    found = _Contents.of(directory)
    has_any = found.metadata or found.shards or found.candidates or found.has_sidecars
    return find_source(directory, by_line=by_line) if has_any else None


def _of_file(path: Path, form: Format | None) -> Source:
    is_metadata = path.name in _METADATA and form is None
    found = form or ("imagefolder" if is_metadata else _SUFFIXES.get(path.suffix.lower()))
    if found is None:
        raise CaptionFileError(
            f"It cannot be told from the name of {path} what it is; say so with --format ({', '.join(FORMATS)})."
        )
    if found == "sidecar":
        raise CaptionFileError(f"{path} is one file; name the directory in which pictures have such files beside them.")
    if found in _DOCUMENTS:
        found = shape_of(path)
        if form not in (None, "json", found):
            raise CaptionFileError(f"{path} is in the format {found}, not {form}.")
    return Source(found, (path,), path.parent)


@dataclass
class _Contents:
    """The possible caption files and shards in a directory; `candidates` are those at its top."""

    metadata: list[FoundFile] = field(default_factory=list)
    shards: list[FoundFile] = field(default_factory=list)
    candidates: list[FoundFile] = field(default_factory=list)
    has_sidecars: bool = False

    @classmethod
    def of(cls, directory: Path) -> _Contents:
        """Look through a directory once."""
        found = cls()
        for file in files_below(directory):
            name = file.path.rpartition("/")[2]
            if name in _METADATA:
                found.metadata.append(file)
            elif name.lower().endswith(".tar"):
                found.shards.append(file)
            elif file.path == name or not found.has_sidecars:
                found._look_at(directory, file)
        return found

    def _look_at(self, directory: Path, file: FoundFile) -> None:
        if _is_beside_a_picture(directory, file.path):
            self.has_sidecars = self.has_sidecars or is_sidecar(file.path)
        elif "/" not in file.path and _may_hold_captions(file.path):
            self.candidates.append(file)


def _of_directory(path: Path, form: Format | None) -> Source:
    found = _Contents.of(path)
    if form in (None, "imagefolder") and found.metadata:
        return Source("imagefolder", _metadata(path, found.metadata), path)
    candidates = [file for file in found.candidates if _fits(file, form)]
    named = [file for file in candidates if "caption" in file.path.lower()]
    if form in (None, "webdataset") and found.shards:
        if form is None and named:
            raise CaptionFileError(_unclear(path, [*named, *found.shards]))
        return Source("webdataset", _usable(path, found.shards), path)
    if form == "sidecar" or (form is None and found.has_sidecars):
        others = named or [file for file in candidates if not is_sidecar(file.path)]
        if form is None and others:
            raise CaptionFileError(
                f"{path} has texts beside its pictures, and {_names(others)}; name the file, or say --format sidecar."
            )
        return Source("sidecar", (path,), path)
    return _of_candidates(path, named if len(candidates) > 1 and named else candidates, form)


def _of_candidates(path: Path, candidates: list[FoundFile], form: Format | None) -> Source:
    if not candidates:
        raise CaptionFileError(f"{path} has no file of captions{f' in the format {form}' if form else ''}; name it.")
    if len(candidates) > 1:
        raise CaptionFileError(_unclear(path, candidates))
    (file,) = _usable(path, candidates)
    return _of_file(file, form)


def _metadata(path: Path, found: list[FoundFile]) -> tuple[Path, ...]:
    """The metadata files of the directory and those below it, as in `train/metadata.jsonl`."""
    files = _usable(path, found)
    directories = [file.parent for file in files]
    if twice := next((place for place in directories if directories.count(place) > 1), None):
        raise CaptionFileError(f"{twice} has both {' and '.join(_METADATA)}; leave one of them.")
    return files


def _usable(path: Path, found: list[FoundFile]) -> tuple[Path, ...]:
    for file in found:
        if file.problem:
            raise CaptionFileError(f"{path / file.path} {file.problem}.")
    return tuple(path / file.path for file in sorted(found, key=lambda file: file.path))


def _unclear(path: Path, files: list[FoundFile]) -> str:
    return f"{path} has several files that may hold the captions ({_names(files)}); name one of them."


def _names(files: list[FoundFile]) -> str:
    return ", ".join(sorted(file.path for file in files)[:5])


def _is_beside_a_picture(directory: Path, path: str) -> bool:
    """Whether a file has the stem of a picture beside it, and so belongs to that picture alone."""
    if Path(path).suffix.lower() not in _BESIDE:
        return False
    stem = path.rpartition(".")[0]
    endings = [""] if has_picture_name(stem) else _PICTURE_ENDINGS
    forms = {stem, unicodedata.normalize("NFC", stem), unicodedata.normalize("NFD", stem)}
    # Unlike `Path.is_file`, False where a form or an ending makes the name too long.
    return any(os.path.isfile(directory / f"{form}{ending}") for form in forms for ending in endings)


def _may_hold_captions(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in _SUFFIXES and path.stem.lower() not in _PROSE


def _fits(file: FoundFile, form: Format | None) -> bool:
    found = _SUFFIXES[Path(file.path).suffix.lower()]
    return form in (None, found) or (found == "json" and form in _DOCUMENTS)
