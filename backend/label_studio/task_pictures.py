"""A task's picture: fetched and decoded for a captioner, and its name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from captionloop.backend.label_studio.label_config import CaptionTarget, task_image
from captionloop.image_limits import ImageLimits
from captionloop.model.dataset.images import content_hash, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from captionloop.model.captioning.captioner import Captioner

FILE_FIELD = "file"
"""The field in which tasks that were made of a directory have the picture's name there."""

# What Label Studio puts before the name of an uploaded file: the beginning of a random UUID.
_UPLOADED = re.compile(r"/data/upload/\d+/[0-9a-f]{8}-(?P<name>[^/?#]+)$")
_LOCAL_FILE = "/data/local-files/"

ReadImage = Callable[[str, int], bytes]
"""(the task's value, the task's id) → the image's bytes; raises ImageError."""


@dataclass(frozen=True)
class TaskPicture:
    """A task's image at the captioner's input size, with the hash of its file."""

    task_id: int
    hash: str
    image: "Image"


def read_task_picture(
    task: Mapping[str, Any], target: CaptionTarget, captioner: "Captioner", *, read: ReadImage, limits: ImageLimits
) -> TaskPicture:
    """
    Raises:
        ImageError: the task has no image, or it cannot be read or decoded.
    """
    task_id = int(task["id"])
    data = read(task_image(target, task["data"]), task_id)
    return TaskPicture(task_id, content_hash(data), captioner.shrink(open_image(data, limits=limits)))


def picture_name(data: Mapping[str, Any], address: str) -> str | None:
    """The picture's path in the directory, or at the address, that it came from; None: it has no name.

    Args:
        data: the task's data.
        address: what it has as the picture.
    """
    name = data.get(FILE_FIELD)
    return name if isinstance(name, str) and name else _name_at(address)


def _name_at(address: str) -> str | None:
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if parts.scheme.lower() == "data":
        return None
    if found := _UPLOADED.search(parts.path):
        return unquote(found["name"])
    path = parse_qs(parts.query).get("d", [""])[0] if parts.path.endswith(_LOCAL_FILE) else unquote(parts.path)
    return path.strip("/") or None
