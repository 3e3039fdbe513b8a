"""File modes below a directory."""

import stat
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def open_to_others(directory: Path) -> list[str]:
    """What in it, itself included, its group or anybody may read, write or enter.

    Label Studio says of its uploads that everybody may read them; they lie in a directory that nobody may enter.
    """
    found = []
    for path in [directory, *directory.rglob("*")]:
        if "label-studio/media/upload/" in path.as_posix():
            continue
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # one that was only there for a moment
            continue
        if not stat.S_ISLNK(mode) and mode & _OTHERS:
            found.append(f"{stat.filemode(mode)} {path.relative_to(directory.parent)}")
    return found
