"""Output of `captionloop caption --out`: files that grow, and that an interrupted command appends to.

* `jsonl`: a line for each picture, `{"image": PATH, "caption", "score", "model_version"}`;
* `csv`: the same as a table;
* `coco`: COCO's caption annotations, `{"images": […], "annotations": […]}`, an object in each line; while it is written
  it is a `jsonl` of the name `FILE.part`;
* `sidecar`: a `.txt` of the picture's name for each, below a directory;
* `imagefolder`: a directory with `metadata.jsonl` of Hugging Face `datasets` and the pictures.

What is there is looked up on disk, so that memory does not grow with it. A line that a kill cut off is removed.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from captionloop.errors import BusyError, CaptionFileError, SettingsError
from captionloop.home import atomically, storing
from captionloop.model.exchange.sidecar_names import possible_texts, shares_stem, text_of

Format = Literal["jsonl", "csv", "coco", "sidecar", "imagefolder"]
FORMATS: tuple[Format, ...] = get_args(Format)
_BY_ENDING: dict[str, Format] = {".jsonl": "jsonl", ".csv": "csv", ".json": "coco"}
_METADATA = "metadata.jsonl"
_REMEDY = "Name another file, or say --force to write it anew."
_COLUMNS = ("image", "caption", "score", "model_version")


@dataclass(frozen=True)
class WrittenCaption:
    """A picture's caption.

    Args:
        image: where the picture lies, as it was named.
        name: its own: its path below what was named, with slashes.
        score: the mean probability of the caption's tokens, 0 to 1.
        model_version: the model's name.
    """

    image: Path
    name: str
    caption: str
    score: float
    model_version: str


def format_of(out: Path, form: Format | None) -> Format:
    """The format that was named, else that of the file's ending.

    Raises:
        SettingsError: neither tells.
    """
    found = form or _BY_ENDING.get(out.suffix.lower())
    if found is None:
        raise SettingsError(f"It cannot be told from {out} how to write; say so with --format ({', '.join(FORMATS)}).")
    return found


class CaptionOutput(ABC):
    """Where captions go. Use it as a context manager; `finish` it when all is there."""

    @abstractmethod
    def has(self, image: Path, name: str) -> bool:
        """Whether the picture has its caption there."""

    @abstractmethod
    def add(self, captions: Sequence[WrittenCaption]) -> None:
        """Write captions; after it a kill of the process loses none of them.

        Raises:
            StorageError: the disk is full, or is not to be written on.
            CaptionloopError: a caption cannot be written.
        """

    def why_not(self, image: Path) -> str | None:
        """Why a picture cannot be named there; None: it can."""
        return None

    def finish(self) -> None:  # noqa: B027 (most have nothing left to do)
        """All captions are there."""

    def close(self) -> None:  # noqa: B027 (as above)
        """Let go of the files."""

    def __enter__(self) -> CaptionOutput:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_output(out: Path, form: Format, *, model_version: str, force: bool) -> CaptionOutput:
    """Open an output, which may be there in part.

    Args:
        model_version: the model that is to write.
        force: whether what is there is written again.

    Raises:
        CaptionFileError: what is there is something else, or of another model.
        BusyError: another process writes there.
        StorageError: nothing can be written there.
    """
    if form == "sidecar":
        return _Sidecars(_directory(out), force=force)
    if form == "imagefolder":
        return _ImageFolder(_directory(out), model_version, force=force)
    if out.is_dir():
        raise CaptionFileError(f"{out} is a directory, but {form} is one file; name that.")
    _refuse_special(out)
    if form == "coco":
        return _Coco(out, model_version, force=force)
    return _Lines(out, _Csv() if form == "csv" else _Json("image", "caption"), model_version, force=force)


def _directory(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise CaptionFileError(f"{out} is a file; name a directory.")
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
    return out


def _refuse_special(path: Path) -> None:
    """A pipe would wait for ever, and a device keeps nothing."""
    if path.exists() and not path.is_file():
        raise CaptionFileError(f"{path} is no regular file; name one that captions can be added to.")


# Files with a line for each picture -----------------------------------------------------------------------------------

# What reading a line raises that somebody else wrote.
_NO_ROW = (ValueError, KeyError, TypeError, RecursionError, OverflowError, csv.Error)


class _Json:
    """A row as an object in a line."""

    header = b""

    def __init__(self, image: str, caption: str) -> None:
        self._image, self._caption = image, caption

    def line(self, image: str, row: WrittenCaption) -> bytes:
        found = {self._image: image, self._caption: row.caption, "score": row.score, "model_version": row.model_version}
        return (json.dumps(found) + "\n").encode()

    def read(self, line: bytes) -> dict[str, Any]:
        found = json.loads(line)
        return {
            "image": str(found[self._image]), "caption": str(found[self._caption]), "score": float(found["score"]),
            "model_version": str(found["model_version"]),
        }  # fmt: skip

    def may_be_cut_off(self, line: bytes, *, is_first: bool) -> bool:
        begin = f'{{"{self._image}": "'.encode()
        if not (line.startswith(begin) or begin.startswith(line)):
            return False
        try:
            json.loads(line)
        except _NO_ROW:
            return True
        return _is_row(self, line)  # all but its line break


class _Csv:
    """A row of a table, in one line: the names of files have no line breaks in them (`why_not`)."""

    header = (",".join(_COLUMNS) + "\n").encode()

    def line(self, image: str, row: WrittenCaption) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([image, row.caption, row.score, row.model_version])
        return text.getvalue().encode("utf-8", "surrogateescape")

    def read(self, line: bytes) -> dict[str, Any]:
        ((image, caption, score, version),) = csv.reader([line.decode("utf-8", "surrogateescape")])
        return {"image": image, "caption": caption, "score": float(score), "model_version": version}

    def may_be_cut_off(self, line: bytes, *, is_first: bool) -> bool:
        return self.header.startswith(line) or not is_first


def _is_row(form: _Json | _Csv, line: bytes) -> bool:
    try:
        form.read(line)
    except _NO_ROW:
        return False
    return True


class _Lines(CaptionOutput):
    """
    Args:
        path: of the file.
        form: how a row is written.
        key: by what a picture is known in the file.
    """

    def __init__(
        self,
        path: Path,
        form: _Json | _Csv,
        model_version: str,
        *,
        force: bool,
        key: Callable[[Path, str], str] = lambda image, name: str(image),
    ) -> None:
        self._path, self._form, self._key = path, form, key
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        try:
            self._lock()
            if force:
                self._file.truncate(0)
            self._known = sqlite3.connect("")
            self._known.execute("CREATE TABLE known (image BLOB PRIMARY KEY) WITHOUT ROWID")
            self._read(model_version)
        except BaseException:
            self._file.close()
            raise

    def has(self, image: Path, name: str) -> bool:
        key = os.fsencode(self._key(image, name))
        return self._known.execute("SELECT 1 FROM known WHERE image = ?", (key,)).fetchone() is not None

    def why_not(self, image: Path) -> str | None:
        has_break = isinstance(self._form, _Csv) and ("\n" in str(image) or "\r" in str(image))
        return "its name has a line break in it; rename it, or write jsonl." if has_break else None

    def add(self, captions: Sequence[WrittenCaption]) -> None:
        lines = [self._form.line(self._key(row.image, row.name), row) for row in captions]
        with storing(self._path):
            self._file.write(b"".join(lines))
            self._file.flush()

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, from the file."""
        with self._path.open("rb") as file:
            file.seek(len(self._form.header))
            for line in file:
                yield self._form.read(line)

    def close(self) -> None:
        self._known.close()
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(f"Another process writes to {self._path} now.") from error

    def _read(self, model_version: str) -> None:
        """Learn what is there, and cut off what a kill left half."""
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                if not self._form.may_be_cut_off(line, is_first=not whole):
                    raise self._not_ours(number)
                break
            if whole or line != self._form.header:
                image = self._known_image(line, number, model_version)
                self._known.execute("INSERT OR IGNORE INTO known VALUES (?)", (image,))
            whole += len(line)
        with storing(self._path):
            self._file.truncate(whole)
            if not whole:
                self._file.write(self._form.header)
                self._file.flush()

    def _known_image(self, line: bytes, number: int, model_version: str) -> bytes:
        try:
            row = self._form.read(line)
            image = os.fsencode(row["image"])
        except _NO_ROW as error:
            raise self._not_ours(number) from error
        if row["model_version"] != model_version:
            raise CaptionFileError(
                f"{self._path} has captions of {row['model_version']}, and this is {model_version}. {_REMEDY}"
            )
        return image

    def _not_ours(self, number: int) -> CaptionFileError:
        return CaptionFileError(f"{self._path}, line {number} is not one that `captionloop caption` writes. {_REMEDY}")


# The others -----------------------------------------------------------------------------------------------------------


class _Coco(_Lines):
    """Written as lines, and put together in the end; what is there already is taken apart first."""

    def __init__(self, path: Path, model_version: str, *, force: bool) -> None:
        self._out = path
        part = path.with_name(f"{path.name}.part")
        form = _Json("image", "caption")
        if path.exists() and not part.exists() and not force:
            with storing(part), atomically(part) as temporary, temporary.open("wb") as file:
                self._take_apart(file, form)
        super().__init__(part, form, model_version, force=force)

    def finish(self) -> None:
        with (
            storing(self._out),
            atomically(self._out, mode=0o666 & ~_umask()) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            file.write('{"images": [')
            for number, row in enumerate(self.rows(), start=1):
                file.write(_separated(number, {"id": number, "file_name": row["image"]}))
            file.write('\n], "annotations": [')
            for number, row in enumerate(self.rows(), start=1):
                facts = {"caption": row["caption"], "score": row["score"], "model_version": row["model_version"]}
                file.write(_separated(number, {"id": number, "image_id": number, **facts}))
            file.write("\n]}\n")
        self._path.unlink()

    def _take_apart(self, target: BinaryIO, form: _Json) -> None:
        """Images and annotations have the same numbers, and each a line: both are read side by side."""
        try:
            with self._out.open("rb") as images, self._out.open("rb") as annotations:
                _after(annotations, b'], "annotations": [\n')
                _after(images, b'{"images": [\n')
                while (line := annotations.readline()) != b"]}\n":
                    image, found = (json.loads(text.rstrip(b",\n")) for text in (images.readline(), line))
                    if image["id"] != found["image_id"]:
                        raise ValueError("other numbers")
                    path = Path(image["file_name"])
                    row = WrittenCaption(path, "", found["caption"], found["score"], found["model_version"])
                    written = form.line(str(path), row)
                    form.read(written)
                    target.write(written)
        except _NO_ROW as error:
            raise CaptionFileError(f"{self._out} was not written by `captionloop caption`. {_REMEDY}") from error


def _separated(number: int, value: dict[str, Any]) -> str:
    return ("," if number > 1 else "") + "\n" + json.dumps(value)


def _after(file: BinaryIO, wanted: bytes) -> None:
    for line in file:
        if line == wanted:
            return
    raise ValueError(f"no line {wanted!r}")


def _umask() -> int:
    present = os.umask(0)
    os.umask(present)
    return present


class _ImageFolder(_Lines):
    """Pictures that lie in the directory already stay as they are; others are copied into it under their own names."""

    def __init__(self, directory: Path, model_version: str, *, force: bool) -> None:
        self._directory = directory
        _refuse_special(directory / _METADATA)
        form = _Json("file_name", "text")
        super().__init__(directory / _METADATA, form, model_version, force=force, key=lambda image, name: name)

    def add(self, captions: Sequence[WrittenCaption]) -> None:
        for row in captions:
            target = self._directory / row.name
            if row.image.absolute() != target.absolute():
                with storing(target), atomically(target, mode=0o666 & ~_umask()) as temporary:
                    shutil.copyfile(row.image, temporary)
        super().add(captions)


class _Sidecars(CaptionOutput):
    def __init__(self, directory: Path, *, force: bool) -> None:
        self._directory, self._force = directory, force

    def has(self, image: Path, name: str) -> bool:
        return not self._force and bool(_present(self._texts(image, name)))

    def why_not(self, image: Path) -> str | None:
        has_text = possible_texts(image.name, shares_stem=shares_stem(image))
        return None if has_text else "its name is too long for a text file to be called after it; rename it."

    def add(self, captions: Sequence[WrittenCaption]) -> None:
        for row in captions:
            texts = self._texts(row.image, row.name)
            present = _present(texts)
            # What somebody has written since `has` was asked stays as well.
            for target in (present if self._force else []) if present else texts[:1]:
                with storing(target), atomically(target, mode=0o666 & ~_umask()) as temporary:
                    temporary.write_bytes(text_of([row.caption]))

    def _texts(self, image: Path, name: str) -> list[Path]:
        """The files that may hold the picture's caption, the preferred one first."""
        return [self._directory / text for text in possible_texts(name, shares_stem=shares_stem(image))]


def _present(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]
