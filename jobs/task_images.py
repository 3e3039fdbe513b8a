"""The images of Label Studio's tasks, for jobs that caption them."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from captionloop.backend.label_config import CaptionTarget, task_image
from captionloop.backend.label_studio import Json
from captionloop.errors import ImageError
from captionloop.jobs.context import Context
from captionloop.model.images import content_hash, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from captionloop.model.captioner import Captioner

_log = logging.getLogger(__name__)

_READERS = 8


@dataclass(frozen=True)
class TaskImage:
    """A task's image, as large as a captioner sees it, with the hash of its file."""

    task_id: int
    hash: str
    image: "Image"


@dataclass(frozen=True)
class TaskImages:
    """The images of some tasks, and by task the reasons why some have none that can be used."""

    readable: Sequence[TaskImage]
    reasons: dict[int, str]


def read_images(
    context: Context, target: CaptionTarget, tasks: Sequence[Json], *, captioner: "Captioner"
) -> TaskImages:
    """Read and decode the images of tasks, for one captioner.

    Raises:
        LabelStudioError: some could not be read, and Label Studio does not answer either.
    """

    def read(task: Json) -> TaskImage | str:
        try:
            data = context.image_source.read(task_image(target, task["data"]), task_id=task["id"])
            picture = captioner.shrink(open_image(data, limits=context.image_limits))
            return TaskImage(task["id"], content_hash(data), picture)
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor(_READERS) as readers:
        found = dict(zip((task["id"] for task in tasks), readers.map(read, tasks), strict=True))
    reasons = {task_id: image for task_id, image in found.items() if isinstance(image, str)}
    if reasons:
        context.label_studio.version()  # when it is away, that says nothing about the images
    return TaskImages([image for image in found.values() if isinstance(image, TaskImage)], reasons)
