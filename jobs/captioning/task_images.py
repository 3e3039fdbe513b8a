"""The images of Label Studio's tasks, for jobs that caption them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.label_config import CaptionTarget
from captionloop.backend.label_studio.task_pictures import TaskPicture, read_task_picture
from captionloop.errors import ImageError
from captionloop.jobs.context import Context

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner

_READERS = 8


class TaskImages:
    """The images of some tasks, read and decoded for one captioner.

    Iterate once: in the order of the tasks, with prefetching; raises LabelStudioError when some could not be read and
    Label Studio does not answer.

    Attributes:
        reasons: by task, why it has no usable image; complete after the iteration.
    """

    def __init__(
        self, context: Context, target: CaptionTarget, tasks: Sequence[Json], *, captioner: "Captioner"
    ) -> None:
        self._context, self._target, self._tasks, self._captioner = context, target, tasks, captioner
        self.reasons: dict[int, str] = {}

    def __iter__(self) -> Iterator[TaskPicture]:
        with ThreadPoolExecutor(_READERS) as readers:
            for task, found in zip(self._tasks, readers.map(self._read, self._tasks), strict=True):
                if isinstance(found, TaskPicture):
                    yield found
                else:
                    self.reasons[task["id"]] = found
        if self.reasons:
            self._context.label_studio.version()  # if it is unreachable, the images are not to blame

    def _read(self, task: Json) -> TaskPicture | str:
        context = self._context
        try:
            return read_task_picture(
                task, self._target, self._captioner, read=context.read_image, limits=context.image_limits
            )
        except ImageError as error:
            return str(error)
