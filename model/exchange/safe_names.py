"""Names of others made into names that files can have, on Linux, macOS and Windows.

A name is a path with slashes. What is wrong with a part is replaced by `_`. The name stays recognisable, and never
leads out of the directory that it is used in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from captionloop.model.exchange.reading.directory import composed, is_passed_over
from captionloop.model.exchange.reading.pictures import PICTURE_KINDS

# No file on Windows can have these characters; control characters and halves of a surrogate pair are no use anywhere.
_REFUSED = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff<>:"|?*\\]')
# Windows opens a device by these names, whatever ending they have.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\.|$)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_LONGEST_PART = 180  # bytes, of 255: a text file's ending and a mark that sets twins apart are added
_LONGEST_ENDING = 8  # bytes
_MOST_PARTS = 20
_LONGEST = 800  # bytes of the whole path


def safe_name(name: str, *, kind: str) -> str | None:
    """A name that is safe, and that readers take for a picture's; None: nothing of it is left.

    Args:
        kind: the file ending of the picture's format, for a name without one.
    """
    parts = list(_safe_parts(name))
    if not parts:
        return None
    *directories, last = parts
    if last.rpartition(".")[2].lower() not in PICTURE_KINDS or "." not in last:
        last = f"{last}.{kind}"
    found = "/".join([*(_shortened(part) for part in directories[-_MOST_PARTS + 1 :]), _shortened_file(last)])
    return found if len(found.encode()) <= _LONGEST else _shortened_file(last)


def folded(name: str) -> str:
    """The same text for all names that a file system may take for one: upper and lower case, Unicode's forms."""
    return composed(composed(name).casefold())


def with_mark(name: str, mark: str) -> str:
    """`003.jpg` as `003~MARK.jpg`."""
    stem, _, ending = name.rpartition(".")
    return f"{stem}~{mark}.{ending}"


def _safe_parts(name: str) -> Iterator[str]:
    name = name[len(drive.group()) :] if (drive := _DRIVE.match(name)) else name
    for part in name.split("/"):
        if part in ("", ".", ".."):
            continue
        found = _REFUSED.sub("_", part).rstrip(" .").lstrip()
        is_hidden = is_passed_over(found or ".") or _DEVICE.match(found) is not None
        yield f"_{found}" if is_hidden else found


def _shortened(part: str) -> str:
    return _cut(part, _LONGEST_PART)


def _shortened_file(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{_cut(stem, _LONGEST_PART - _LONGEST_ENDING)}.{ending}"


def _cut(text: str, most: int) -> str:
    """As much of a text as has so many bytes, without half a character at its end."""
    if len(text.encode()) <= most:
        return text
    cut = text.encode()[:most].decode(errors="ignore")
    while cut and unicodedata.combining(text[len(cut)]):
        cut = cut[:-1]
    return cut.rstrip(" .") or "_"
