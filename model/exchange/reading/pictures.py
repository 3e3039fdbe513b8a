"""Resolution of picture names in a caption file. A caption is only ever assigned to the picture that its row names.

The name is a path relative to the directory of the pictures. If there is no such file, `\\` is read as `/`, `file://`
and the suffix of `Flickr8k.token.txt` (`#0`) are removed, and Unicode normalisation forms are equivalent. Names are
case-sensitive.

Names may be relative to another directory. So a file is also looked for elsewhere, but only

* by a bare name: in any subdirectory, if only one file has that name;
* if no name of the table exists at its path: then the directories that all of them share are removed, as when somebody
  names COCO's `val2014` itself and the table says `val2014/….jpg`. The last one removed must have the directory's own
  name: a table of `train/….jpg` does not describe the pictures in `val`, although they may have the same file names.

In an `imagefolder` paths are exact, so nothing is looked for elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from captionloop.model.exchange.reading.caption_text import CONTROL
from captionloop.model.exchange.reading.directory import FileIndex, problem_with
from captionloop.model.exchange.reading.rows import NoPictureError, PictureBytes, RowError

# File extensions of pictures.
PICTURE_KINDS = ("jpg", "png", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "ppm", "jpe")
# Flickr8k.token.txt numbers an image's captions: `1000268201_693b08cb0e.jpg#0`.
_NUMBERED = re.compile(rf"(\.(?:{'|'.join(PICTURE_KINDS)}))#\d+$", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:/")
_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # bytes, on Linux; also bounds the cost per name
_MOST_LEFT_OUT = 30  # directories
_NAME_IT = "name the directory of the pictures with --images"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:")


def has_picture_name(name: str) -> bool:
    """Whether a name has a picture's file extension."""
    return _NUMBERED.sub(r"\1", name.strip(' "')).rpartition(".")[2].lower() in PICTURE_KINDS


@dataclass(frozen=True, slots=True)
class FoundPicture:
    """A picture, and its path below the directory, with slashes."""

    picture: PictureBytes
    name: str


@dataclass(frozen=True, slots=True)
class _Name:
    """A parsed name; `is_absolute` if it begins at a file system's root, perhaps of another machine."""

    parts: tuple[str, ...]
    is_absolute: bool = False

    @property
    def path(self) -> str:
        return "/".join(self.parts)


class Pictures:
    """The pictures of a directory, by their names in a caption file."""

    def __init__(self, root: Path, *, names: Callable[[], Iterable[str]], may_lie_elsewhere: bool) -> None:
        """
        Args:
            root: the directory that names are relative to.
            names: reads all names of the file; only called if a name with directories is not found.
            may_lie_elsewhere: whether to look elsewhere, by the rules above.
        """
        self._root, self._resolved = root, root.resolve()
        self._names, self._may_lie_elsewhere = names, may_lie_elsewhere
        self._files: FileIndex | None = None
        self._left_out: tuple[str, ...] | None = None
        self._last: tuple[str, FoundPicture] | None = None

    def close(self) -> None:
        if self._files is not None:
            self._files.close()

    def find(self, name: str) -> FoundPicture:
        """
        Raises:
            NoPictureError: there is no such file; the message says what was found where.
            RowError: the name is not a path below the directory, is ambiguous, or its file cannot be used.
        """
        if self._last is None or self._last[0] != name:  # rows of one picture mostly follow each other
            self._last = name, self._find(name)
        return self._last[1]

    def _find(self, name: str) -> FoundPicture:
        if self._is_there(name):
            return self._checked(name, name)
        wanted = self._read(name)
        found = self._at_its_own_path(wanted) or (self._elsewhere(wanted) if self._may_lie_elsewhere else [])
        if len(found) > 1:
            raise RowError(
                f"{_called(name)} fits several pictures in {self._root}: {_listed(found)}. "
                "Write the path of the one that is meant, as it is on disk."
            )
        if not found:
            raise NoPictureError(f"There is no picture {_called(name)} in {self._root}.{self._what_there_is(wanted)}")
        return self._checked(name, found[0])

    # Names ---------------------------------------------------------------------------------------------------

    def _read(self, name: str) -> _Name:
        """
        Raises:
            RowError: it is not a path of a file below the directory.
        """
        text = name.strip()
        if CONTROL.search(text) or "\n" in text or not text:
            raise RowError(f"{_called(name)} is no name of a file.")
        text = _without_scheme(text).replace("\\", "/")
        is_absolute = text.startswith("/") or _DRIVE.match(text) is not None
        parts = tuple(part for part in text.split("/") if part not in ("", "."))
        if ".." in parts or not parts:
            raise RowError(f"The picture {_called(name)} does not lie in {self._root}.")
        if len(text) > _LONGEST_PATH or max(len(part.encode("utf-8", "replace")) for part in parts) > _LONGEST_NAME:
            raise RowError(f"{_called(name)} is too long for the path of a file.")
        if is_absolute:
            return self._below(text, parts)
        return _Name(parts)

    def _below(self, text: str, parts: tuple[str, ...]) -> _Name:
        path = Path(text)
        for root in (self._root.absolute(), self._resolved):
            if path.is_relative_to(root):
                return _Name(path.relative_to(root).parts)
        with suppress(OSError):
            if path.exists():
                raise RowError(f"The picture {_called(text)} does not lie in {self._root}; {_NAME_IT}.")
        return _Name(parts, is_absolute=True)

    # Places --------------------------------------------------------------------------------------------------

    def _is_there(self, path: str) -> bool:
        """Whether a file exists at exactly this path, which is relative and below the directory."""
        if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
            return False
        try:
            return (self._root / path).is_file()
        except (OSError, ValueError):  # too long, or no text
            return False

    def _at_its_own_path(self, wanted: _Name) -> list[str]:
        if wanted.is_absolute:
            return []
        return self._at(wanted.path) or self._at(_NUMBERED.sub(r"\1", wanted.path))

    def _at(self, path: str) -> list[str]:
        return [path] if self._is_there(path) else self._index().same(path)

    def _elsewhere(self, wanted: _Name) -> list[str]:
        if len(wanted.parts) == 1 and not wanted.is_absolute:
            name = wanted.parts[0]
            return self._index().named(name) or self._index().named(_NUMBERED.sub(r"\1", name))
        if self._left_out is None:
            self._left_out = self._to_leave_out()
        count = len(self._left_out)
        if not count or wanted.parts[:count] != self._left_out:
            return []
        rest = _Name(wanted.parts[count:])
        found = self._at_its_own_path(rest)
        return found and self._index().ending_with(found[0])

    def _to_leave_out(self) -> tuple[str, ...]:
        """The shared directories to remove from all names; see the module's docstring."""
        common: tuple[str, ...] | None = None
        fitting: set[int] = set()  # numbers of directories without which a name is found
        for name in self._names():
            with suppress(RowError):
                if self._is_there(name) or self._at_its_own_path(wanted := self._read(name)):
                    return ()
                directories = wanted.parts[:-1]
                common = directories if common is None else _common(common, directories)
                fitting |= {
                    count
                    for count in range(1, min(len(common), _MOST_LEFT_OUT) + 1)
                    if count not in fitting and self._at_its_own_path(_Name(wanted.parts[count:]))
                }
        own_names = {self._root.absolute().name, self._resolved.name}
        common = common or ()
        counts = [count for count in sorted(fitting) if count <= len(common)]
        return next((common[:count] for count in counts if common[count - 1] in own_names), ())

    def _index(self) -> FileIndex:
        if self._files is None:
            self._files = FileIndex(self._root)
        return self._files

    def _checked(self, name: str, path: str) -> FoundPicture:
        if problem := problem_with(self._root / path, self._resolved):
            raise RowError(f"The picture {_called(name)} {problem}.")
        return FoundPicture(PictureBytes(self._root / path), PurePosixPath(path).as_posix())

    def _what_there_is(self, wanted: _Name) -> str:
        name, index = wanted.parts[-1], self._index()
        if self._may_lie_elsewhere and (count := self._could_be_left_out(wanted)):
            rest, directory = "/".join(wanted.parts[count:]), wanted.parts[count - 1]
            return f" There is {rest!r}: if {self._root} is the directory {directory!r}, give it that name."
        if wanted.is_absolute:
            return f" {_NAME_IT[0].upper()}{_NAME_IT[1:]}."
        if problem := self._unusable(wanted):
            return f" What is there {problem}."
        if found := index.named(name):
            return f" Elsewhere there is {_listed(found)}: if that is meant, write its path."
        if found := index.alike(name):
            return f" There is {_listed(found)}, with other capitals: if that is meant, write its name as it is."
        if (decoded := unquote(name)) != name and (found := index.named(decoded)):
            return f" There is {_listed(found)}: if that is meant, write its name as it is, without %20 and the like."
        if (file := name.partition("?")[0]) != name and (found := index.named(file)):
            return f" There is {_listed(found)}: if that is meant, write its name without {name[len(file) :]!r:.40}."
        return ""

    def _could_be_left_out(self, wanted: _Name) -> int:
        """Without how many of its directories a name is found; 0: it is not."""
        most = min(len(wanted.parts) - 1, _MOST_LEFT_OUT)
        return next((n for n in range(1, most + 1) if self._at_its_own_path(_Name(wanted.parts[n:]))), 0)

    def _unusable(self, wanted: _Name) -> str | None:
        path = self._root / wanted.path
        with suppress(OSError, ValueError):
            path.lstat()
            return problem_with(path, self._resolved)
        return None


def _without_scheme(text: str) -> str:
    if text.lower().startswith("file://"):
        address = urlsplit(text)
        if address.netloc in ("", "localhost"):
            path = unquote(address.path)
            return path[1:] if _DRIVE.match(path[1:]) else path
    if _ADDRESS.match(text):
        raise RowError(f"{_called(text)} is an address; only files can be imported.")
    return text


def _called(name: str) -> str:
    return repr(name) if len(name) <= 200 else f"{name[:200]!r}…"


def _common(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    pairs = zip(first, second, strict=False)
    return tuple(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _listed(paths: Sequence[str]) -> str:
    more = " and more" if len(paths) > 3 else ""
    return ", ".join(map(repr, paths[:3])) + more
