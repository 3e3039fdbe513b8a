"""From where Label Studio gets the pictures of a directory: a copy of its own, or the directory itself.

Label Studio serves a directory of its own machine (*local-files storage*) if it was started with
LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true, and the directory lies in LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
Whether it does, and whether that is the same directory as here, is found out by reading a picture through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from captionloop.backend.folders.picture_folder import FolderPicture
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.errors import ImageError, LabelStudioError

ReadImage = Callable[[str, int], bytes]
"""(an address, a task's number for messages) → the bytes at Label Studio; raises ImageError."""

# Label Studio's button "Sync" would make a task of each file a second time; no name matches this.
_NO_FILE = "(?!)"
_STORAGE_TITLE = "Pictures of Captionloop, which made the tasks itself"
_LONGEST_REASON = 200  # characters
_LONGEST_NAME = 60  # of an uploaded file


class Place(Protocol):
    @property
    def said(self) -> str:
        """Which it is and why, as a sentence."""

    def addresses(self, pictures: Sequence[FolderPicture]) -> list[str]:
        """What tasks of these pictures have as their address.

        Raises:
            LabelStudioError: Label Studio refuses or does not answer.
        """


@dataclass(frozen=True)
class Uploads:
    """Copies in Label Studio."""

    label_studio: LabelStudio
    project_id: int
    said: str

    def addresses(self, pictures: Sequence[FolderPicture]) -> list[str]:
        return self.label_studio.upload_files(
            self.project_id, [(_upload_name(picture), picture.data) for picture in pictures]
        )


@dataclass(frozen=True)
class LocalFiles:
    """The files where they lie.

    Args:
        prefix: the directory's path below Label Studio's own root, with a slash at its end.
    """

    label_studio: LabelStudio
    prefix: str
    said: str

    def addresses(self, pictures: Sequence[FolderPicture]) -> list[str]:
        return [_local_address(self.label_studio, self.prefix + picture.name) for picture in pictures]


def find_place(
    label_studio: LabelStudio,
    project_id: int,
    *,
    directory: Path,
    seen_as: Path,
    example: FolderPicture,
    read: ReadImage,
) -> Place:
    """Let Label Studio serve the directory, if it sees it.

    Args:
        directory: as the person named it.
        seen_as: the path under which Label Studio may see it.
        example: a picture of it.

    Raises:
        LabelStudioError: Label Studio does not answer.
        ImageError: it fails to hand out a picture, for a reason that says nothing about where it lies.
    """
    try:
        storage, is_new = _storage(label_studio, project_id, seen_as)
    except LabelStudioError as error:
        if error.may_pass or error.status == 401:
            raise
        return Uploads(label_studio, project_id, _uploaded(directory, f"does not see that directory: {error}"))
    prefix = _prefix(label_studio, seen_as, example, read)
    if prefix is None:
        if is_new:  # else earlier tasks may need it
            label_studio.delete_local_files_storage(storage)
        return Uploads(label_studio, project_id, _uploaded(directory, "sees another directory of that name"))
    return LocalFiles(
        label_studio,
        prefix,
        f"Label Studio reads the pictures where they lie, since it sees {directory} (local-files storage): leave them "
        "there, under these names.",
    )


def _storage(label_studio: LabelStudio, project_id: int, seen_as: Path) -> tuple[int, bool]:
    """The number of the directory's storage, and whether it was made just now."""
    for storage in label_studio.local_files_storages(project_id):
        if storage.get("path") == str(seen_as):
            return int(storage["id"]), False
    made = label_studio.create_local_files_storage(
        project_id, str(seen_as), title=_STORAGE_TITLE, regex_filter=_NO_FILE, use_blob_urls=True, recursive_scan=True
    )
    return int(made["id"]), True


def _prefix(label_studio: LabelStudio, seen_as: Path, example: FolderPicture, read: ReadImage) -> str | None:
    """What stands before names in addresses, by Label Studio's root, which it does not tell: each may be it."""
    for root in reversed(seen_as.parents):
        prefix = f"{seen_as.relative_to(root).as_posix()}/"
        try:
            if read(_local_address(label_studio, prefix + example.name), 0) == example.data:
                return prefix
        except ImageError as error:
            if error.may_pass:
                raise
    return None


def _local_address(label_studio: LabelStudio, path: str) -> str:
    return f"{urlsplit(label_studio.url).path}/data/local-files/?d={quote(path)}"


def _upload_name(picture: FolderPicture) -> str:
    """A plain name with the right ending: the real one is in the task. Label Studio looks at nothing but the ending."""
    stem = picture.name.rpartition("/")[2].rpartition(".")[0]
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in stem)
    return f"{plain[:_LONGEST_NAME] or 'picture'}.{picture.kind}"


def _uploaded(directory: Path, why: str) -> str:
    shown = " ".join(why.split())
    shown = shown if len(shown) <= _LONGEST_REASON else f"{shown[:_LONGEST_REASON]}…"
    return f"The pictures of {directory} are copied into Label Studio (uploaded), since it {shown.rstrip('.')}."
