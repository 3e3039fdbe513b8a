"""Fetches and decodes a task's picture for a captioner."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionloop.backend.label_studio.label_config import CaptionTarget, task_image
from captionloop.image_limits import ImageLimits
from captionloop.model.dataset.images import content_hash, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from captionloop.model.captioning.captioner import Captioner

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
