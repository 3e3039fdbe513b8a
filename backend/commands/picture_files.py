"""The picture files that somebody means: files, directories and patterns, listed on disk."""

from __future__ import annotations

import glob
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.reading.directory import files_below
from captionloop.model.exchange.reading.pictures import has_picture_name

_ADDRESS = re.compile("(https?|file|s3|gs):/", re.IGNORECASE)  # of its two slashes a path keeps one


@dataclass(frozen=True)
class BadFile:
    """A file or argument that cannot be captioned, with the reason."""

    image: str
    reason: str


class PictureFiles:
    """Files, directories (all pictures below them, by name) and patterns with `*`; memory does not grow with them.

    A file that was named by itself counts whatever it is called. None comes twice.
    """

    def __init__(self, sources: Sequence[Path]) -> None:
        self._files = sqlite3.connect("")
        self._files.execute("CREATE TABLE found (number INTEGER PRIMARY KEY, path BLOB UNIQUE, problem TEXT)")
        self._root = _root(sources)
        for source in sources:
            self._add(source)

    def __len__(self) -> int:
        return int(self._files.execute("SELECT count(*) FROM found").fetchone()[0])

    def __iter__(self) -> Iterator[Path | BadFile]:
        for path, problem in self._files.execute("SELECT path, problem FROM found ORDER BY number"):
            found = os.fsdecode(path)
            yield Path(found) if problem is None else BadFile(found, problem)

    def own_name(self, image: Path) -> str:
        """A picture's path below what was named; of several sources, below the directory that all of them lie in."""
        return Path(os.path.relpath(os.path.abspath(image), self._root)).as_posix()

    @property
    def root(self) -> Path:
        """What these names are relative to."""
        return self._root

    def close(self) -> None:
        self._files.close()

    def _add(self, source: Path) -> None:
        if source.is_dir():
            self._add_directory(source)
        elif not source.exists() and glob.has_magic(str(source)):
            matching = [Path(name) for name in sorted(glob.iglob(str(source), recursive=True))]
            for match in matching:
                self._add(match)
            if not matching:
                self._insert([(source, "no file's name fits this pattern.")])
        elif not source.exists() and _ADDRESS.match(str(source)):
            self._insert([(source, "it is an address; download the picture, and name the file.")])
        else:
            self._insert([(source, None)])

    def _add_directory(self, directory: Path) -> None:
        self._files.execute("CREATE TEMP TABLE below (path BLOB, problem TEXT)")
        try:
            self._files.executemany(
                "INSERT INTO below VALUES (?, ?)",
                (
                    (os.fsencode(directory / file.path), file.problem and f"it {file.problem}.")
                    for file in files_below(directory)
                    if has_picture_name(file.path)
                ),
            )
            if self._files.execute("SELECT 1 FROM below").fetchone() is None:
                self._insert([(directory, "there are no pictures in this directory.")])
            self._files.execute(
                "INSERT OR IGNORE INTO found (path, problem) SELECT path, problem FROM below ORDER BY path"
            )
        except CaptionFileError as error:
            self._insert([(directory, str(error))])
        finally:
            self._files.execute("DROP TABLE below")

    def _insert(self, rows: Iterable[tuple[Path, str | None]]) -> None:
        self._files.executemany(
            "INSERT OR IGNORE INTO found (path, problem) VALUES (?, ?)",
            ((os.fsencode(path), problem) for path, problem in rows),
        )


def _root(sources: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.abspath(_directory(source)) for source in sources]))


def _directory(source: Path) -> Path:
    """The source itself, if it is a directory; else the one that it lies in, before the first part with `*`."""
    if source.is_dir():
        return source
    if source.exists() or not glob.has_magic(str(source)):
        return source.parent
    return next(parent for parent in source.parents if not glob.has_magic(str(parent)))
