"""The projects that were made of a directory of pictures, and links by which our own Label Studio sees the directories.

`folders.json` in the home directory has, for each, the Label Studio, the title, the directory and the project's number
there. A Label Studio that `captionloop up` starts serves files below `Home.folders` alone, where only such links are:
so it can be asked for no other directory of this machine.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from captionloop.home import Home, read_json, storing, write_json
from captionloop.settings import LOCAL_SERVER

_MANIFEST = "folders.json"
_MARK = 8  # hexadecimal digits, which keep directories of one name apart
_LONGEST_NAME = 60  # characters


def remembered(home: Home) -> list[dict[str, Any]]:
    """`server`, `title`, `directory` and `project_id` of each project; of the same of the first three there is one."""
    return list(read_json(home.root / _MANIFEST).get("projects", []))


def remember(home: Home, project: dict[str, Any]) -> None:
    """Store a project, in place of the one of the same server, title and directory."""
    others = [entry for entry in remembered(home) if entry | project | {"project_id": entry["project_id"]} != entry]
    write_json(home.root / _MANIFEST, {"projects": [*others, project]})


def link(home: Home, directory: Path) -> Path:
    """The link to a directory, made unless it is there.

    Raises:
        StorageError: it cannot be made.
    """
    mark = hashlib.sha256(os.fsencode(directory)).hexdigest()[:_MARK]
    path = home.folders.absolute() / f"{directory.name[:_LONGEST_NAME] or 'pictures'}-{mark}"
    with storing(path):
        home.folders.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.symlink_to(directory)
    return path


def link_again(home: Home) -> None:
    """Make all links again: a backup has none."""
    for entry in remembered(home):
        if entry["server"] == LOCAL_SERVER:
            link(home, Path(entry["directory"]))
