"""A dataset's directory: which files count, and how they are found by name.

Only regular files below it count. Leftovers of operating systems and tools are skipped, and symbolic links must not
lead outside.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from captionloop.errors import CaptionFileError

# Beside all names that begin with a dot, such as `._a.jpg` and `.DS_Store` of macOS.
_LEFT_BEHIND = frozenset(
    {
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information",
        "@eadir", "#recycle", "lost+found",
    }
)  # fmt: skip
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}
_MOST_FOUND = 6  # matches returned for a name


def is_passed_over(path: str) -> bool:
    """Whether a path below the dataset's directory, with slashes, is a leftover to skip."""
    parts = PurePosixPath(path).parts
    return any(part.startswith(".") or part.lower() in _LEFT_BEHIND for part in parts)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; never blocks on a pipe or device.

    Raises:
        OSError: the file does not exist, cannot be read, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, no regular file")
    except OSError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def problem_with(path: Path, root: Path) -> str | None:
    """Why a file cannot be used, as the end of a sentence, "PATH …"; None: it is a regular file below `root`.

    Args:
        root: resolved.
    """
    try:
        mode = path.stat().st_mode
        target = path.resolve()
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle, on Python 3.12 and earlier
        return "is not there" if not path.is_symlink() else "is a link that leads nowhere"
    if not target.is_relative_to(root):
        return f"is a link that leads out of the dataset, to {target}"
    if not stat.S_ISREG(mode):
        return f"is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, no regular file"
    return None


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file below a directory.

    Args:
        path: below it, with slashes.
        problem: why it cannot be used; see `problem_with`.
    """

    path: str
    problem: str | None = None


def files_below(root: Path) -> Iterator[FoundFile]:
    """All files in a directory and below, in no particular order. Links to directories are not followed.

    Raises:
        CaptionFileError: a directory cannot be read.
    """
    resolved = root.resolve()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root / below) as entries:
                for entry in entries:
                    path = f"{below}/{entry.name}" if below else entry.name
                    if is_passed_over(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        yield FoundFile(path)
                    elif not os.path.isdir(entry.path):  # `entry.is_dir` raises on a circle of links
                        yield FoundFile(path, problem_with(root / path, resolved))
        except OSError as error:
            raise CaptionFileError(f"{_shortened(root / below)} cannot be read: {error.strerror}.") from error


def _shortened(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 300 else f"{text[:200]}…{text[-100:]}"


def composed(text: str) -> str:
    """The form in which names are compared: NFC."""
    return unicodedata.normalize("NFC", text)


class FileIndex:
    """An on-disk index of the usable files below a directory: memory does not grow with their number."""

    def __init__(self, root: Path) -> None:
        """
        Raises:
            CaptionFileError: a directory cannot be read.
        """
        self._database = sqlite3.connect("")
        # As bytes, since file names need not be valid text.
        self._database.execute("CREATE TABLE file (path BLOB, backwards BLOB, name BLOB, folded BLOB)")
        rows = (_keys(file.path) for file in files_below(root) if file.problem is None)
        self._database.executemany("INSERT INTO file VALUES (?, ?, ?, ?)", rows)
        for column in ("backwards", "name", "folded"):
            self._database.execute(f"CREATE INDEX by_{column} ON file ({column})")

    def close(self) -> None:
        self._database.close()

    def same(self, path: str) -> list[str]:
        """The files at this path, in any Unicode normalisation form."""
        return self._where("backwards = ?", _keys(path)[1])

    def ending_with(self, path: str) -> list[str]:
        """Files whose path ends with this one; at most `_MOST_FOUND`."""
        backwards = _keys(path)[1]
        longer = backwards + b"/", backwards + b"0"  # "0" comes after "/"
        return self._where("(backwards = ? OR (backwards > ? AND backwards < ?))", backwards, *longer)

    def named(self, name: str) -> list[str]:
        """Files of this name in any directory; at most `_MOST_FOUND`."""
        return self._where("name = ?", _keys(name)[2])

    def alike(self, name: str) -> list[str]:
        """Files of this name, ignoring case; at most `_MOST_FOUND`."""
        return self._where("folded = ?", _keys(name)[3])

    def _where(self, condition: str, *values: bytes) -> list[str]:
        rows: Iterable[tuple[bytes]] = self._database.execute(
            f"SELECT path FROM file WHERE {condition} ORDER BY path LIMIT {_MOST_FOUND}",  # noqa: S608 (constants)
            values,
        )
        return [os.fsdecode(path) for (path,) in rows]


def _keys(path: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Path, NFC path reversed by component, NFC name, and that in lower case."""
    name = composed(path.rpartition("/")[2])
    return os.fsencode(path), _bytes(composed(path))[::-1], _bytes(name), _bytes(composed(name.casefold()))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
