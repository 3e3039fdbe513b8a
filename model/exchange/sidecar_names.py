"""The name of the text file beside a picture, such that readers find it and take it for no other picture's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from captionloop.model.exchange.reading.caption_text import lines_of
from captionloop.model.exchange.reading.pictures import PICTURE_KINDS, has_picture_name
from captionloop.model.exchange.reading.rows import RowError
from captionloop.model.exchange.reading.sidecars import KINDS, is_sidecar
from captionloop.model.exchange.reading.text_files import decoded

LONGEST_NAME = 255  # bytes, on most file systems
_ENDINGS = [f".{kind}" for name in PICTURE_KINDS for kind in (name, name.upper())]


def possible_texts(picture: str, *, shares_stem: bool) -> list[str]:
    """The names that a picture's text may have, the preferred one first: `003.txt`, `003.jpg.txt`, `003.caption`, …

    Empty if the picture's own name is so long that no file can be called after it.

    Args:
        picture: its path, with slashes.
        shares_stem: whether there is another picture of the name but for the ending (`003.png`).
    """
    path = PurePosixPath(picture)
    is_clear = bool(path.suffix) and not shares_stem and not has_picture_name(path.stem)
    stems = [str(path.with_suffix(""))] if is_clear else []
    found = [f"{stem}.{kind}" for kind in KINDS for stem in (*stems, picture)]
    return [name for name in found if is_sidecar(name) and len(os.fsencode(PurePosixPath(name).name)) <= LONGEST_NAME]


def shares_stem(picture: Path) -> bool:
    """Whether another picture lies beside it whose name differs in the ending alone."""
    others = (picture.with_suffix(ending) for ending in _ENDINGS if ending != picture.suffix)
    # Unlike `Path.is_file`, False where an ending makes the name too long.
    return bool(picture.suffix) and any(os.path.isfile(other) and not _is_same(other, picture) for other in others)


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def text_of(captions: Sequence[str]) -> bytes:
    """The content of a text file: a caption in each line, in UTF-8.

    Readers take a byte order mark at the beginning for one, so a caption that begins with that character gets another.
    """
    text = "".join(f"{_on_one_line(caption)}\n" for caption in captions)
    return (("\ufeff" if text.startswith("\ufeff") else "") + text).encode()


def says(path: Path, captions: Sequence[str]) -> bool:
    """Whether a text file has these captions, one in each line, or the only one over several."""
    try:
        text = decoded(path.read_bytes())
    except (OSError, RowError):
        return False
    lines = [_on_one_line(line) for line in lines_of(text)]
    return list(captions) in (lines, [_on_one_line(text)])


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
