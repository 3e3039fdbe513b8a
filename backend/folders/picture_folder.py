"""A directory of pictures, with the captions that there are of them: which of them a project has, and which it lacks.

The list is on disk, so that memory does not grow with the number of files.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from captionloop.errors import ImageError, NotFoundError
from captionloop.image_limits import ImageLimits
from captionloop.model.dataset.images import content_hash, open_image
from captionloop.model.exchange.reading import BadRow, PictureBytes, Row, Source
from captionloop.model.exchange.reading.directory import files_below
from captionloop.model.exchange.reading.pictures import has_picture_name

# What browsers show and Label Studio lets people upload, by Pillow's names.
_SHOWN = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp"}
_AT_ONCE = 4  # pictures that are decoded
_IS_MISSING, _HAS_TASK, _IS_UNUSABLE = range(3)  # states of a file
_TABLES = """
CREATE TABLE file (name TEXT PRIMARY KEY, state INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE caption (number INTEGER PRIMARY KEY, name TEXT, text TEXT, UNIQUE (name, text));
"""

OnBad = Callable[[str, str], None]
"""(a file, or a place in one; why it cannot be used)"""


@dataclass(frozen=True)
class FolderPicture:
    """A picture of the directory.

    Args:
        name: its path below the directory, with slashes.
        kind: the file ending of its format.
        captions: those that there are.
    """

    name: str
    data: bytes
    kind: str
    captions: tuple[str, ...]

    @property
    def sha256(self) -> str:
        return content_hash(self.data)


class PictureFolder:
    """Close it when done."""

    def __init__(self, root: Path, *, limits: ImageLimits, on_bad: OnBad) -> None:
        """
        Raises:
            NotFoundError: there is no such directory, or no picture in it.
            CaptionFileError: a directory cannot be read.
        """
        if not root.is_dir():
            raise NotFoundError(f"There is no directory {root}.")
        self.root = root.absolute()
        self.bad = 0
        self._limits, self._on_bad = limits, on_bad
        self._files = sqlite3.connect("")
        self._files.executescript(_TABLES)
        for file in files_below(self.root):
            if has_picture_name(file.path):
                self._list(file.path, file.problem)
        if not len(self) and not self.bad:
            raise NotFoundError(f"There are no pictures in {root}.")

    def close(self) -> None:
        self._files.close()

    def __len__(self) -> int:
        return self._count("file")

    def take_captions(self, source: Source) -> None:
        """Read the captions of the directory's pictures; what cannot be used is told.

        Raises:
            CaptionFileError: the caption file as a whole cannot be read.
        """
        for row in source.rows():
            if isinstance(row, BadRow):
                self._tell(str(row.place), row.reason)
            elif (name := self._name(row.picture)) is None:
                self._tell(str(row.place), f"its picture is not a file in {self.root}.")
            else:
                self._add_captions(row, name)

    @property
    def captioned(self) -> int:
        """How many pictures have captions."""
        return self._count("(SELECT DISTINCT name FROM caption)")

    def mark_done(self, names: Iterable[str]) -> None:
        """Note files that have tasks."""
        self._mark(names, _HAS_TASK)

    def has(self, name: str) -> bool:
        return bool(self._count("file WHERE name = ?", name))

    def lacks_task(self, name: str) -> bool:
        """Whether a file of that name is there and not marked yet."""
        return bool(self._count(f"file WHERE name = ? AND state = {_IS_MISSING}", name))

    @property
    def done(self) -> int:
        """How many files have tasks, or cannot be used."""
        return self._count(f"file WHERE state != {_IS_MISSING}")

    @property
    def with_tasks(self) -> int:
        return self._count(f"file WHERE state = {_HAS_TASK}")

    def missing(self) -> Iterator[FolderPicture]:
        """The pictures without a task, by name. One that cannot be used is told, once."""
        last = ""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            while names := self._missing_after(last):
                for name, found in zip(names, threads.map(self._looked_at, names), strict=True):
                    if isinstance(found, ImageError):
                        self._tell(str(self.root / name), str(found))
                        self._mark([name], _IS_UNUSABLE)
                    else:
                        yield FolderPicture(name, *found, self._captions(name))
                last = names[-1]

    def hash_of(self, name: str) -> str | None:
        """The content hash of a file; None: it cannot be read."""
        try:
            return content_hash(self._data(name))
        except ImageError:
            return None

    def _missing_after(self, name: str) -> list[str]:
        chosen = f"SELECT name FROM file WHERE name > ? AND state = {_IS_MISSING} ORDER BY name LIMIT {_AT_ONCE}"  # noqa: S608
        return [found for (found,) in self._files.execute(chosen, (name,))]

    def _looked_at(self, name: str) -> tuple[bytes, str] | ImageError:
        """A file's bytes and format, or why it cannot be read, decoded, or shown in a browser."""
        try:
            data = self._data(name)
            open_image(data, limits=self._limits)
            return data, _kind(data)
        except ImageError as error:
            return error

    def _data(self, name: str) -> bytes:
        return PictureBytes(self.root / name).read(max_bytes=self._limits.max_bytes)

    def _list(self, name: str, problem: str | None) -> None:
        try:
            json.dumps(name, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            problem = "has a name that is no text in UTF-8; rename it"
        if problem:
            self._tell(str(self.root / name), f"It {problem}.")
        else:
            self._files.execute("INSERT INTO file VALUES (?, 0)", (name,))

    def _name(self, picture: PictureBytes) -> str | None:
        """The name of a file of the directory; None: it is none, or lies in a shard."""
        path = picture.path.absolute()
        if picture.size is not None or not path.is_relative_to(self.root):
            return None
        name = path.relative_to(self.root).as_posix()
        return name if self._is_text(name) and self.has(name) else None

    @staticmethod
    def _is_text(name: str) -> bool:
        return os.fsencode(name).decode(errors="replace") == name

    def _add_captions(self, row: Row, name: str) -> None:
        pairs = ((name, text) for text in row.captions)
        self._files.executemany("INSERT OR IGNORE INTO caption (name, text) VALUES (?, ?)", pairs)

    def _captions(self, name: str) -> tuple[str, ...]:
        rows = self._files.execute("SELECT text FROM caption WHERE name = ? ORDER BY number", (name,))
        return tuple(text for (text,) in rows)

    def _mark(self, names: Iterable[str], state: int) -> None:
        rows = ((state, name) for name in names)
        self._files.executemany("UPDATE file SET state = ? WHERE name = ? AND state = 0", rows)

    def _count(self, which: str, *values: str) -> int:
        return int(self._files.execute(f"SELECT count(*) FROM {which}", values).fetchone()[0])  # noqa: S608 (constants)

    def _tell(self, place: str, reason: str) -> None:
        self.bad += 1
        self._on_bad(place, reason)


def _kind(data: bytes) -> str:
    """
    Raises:
        ImageError: browsers do not show this format.
    """
    with Image.open(BytesIO(data)) as picture:
        form = str(picture.format)
    if form not in _SHOWN:
        raise ImageError(f"Label Studio shows no {form} pictures; save it as JPEG or PNG.")
    return _SHOWN[form]
