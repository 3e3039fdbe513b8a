"""What the backend does, apart from how it is asked: suggestions for tasks, and requests for work.

The Flask app, the adapter for `label-studio-ml` and the tests all call this one object.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from captionloop.backend.annotations import empty_prediction, to_prediction
from captionloop.backend.champions import Champions
from captionloop.backend.label_config import CaptionTarget, read_label_config, task_image
from captionloop.backend.projects import Projects
from captionloop.errors import CaptionloopError, ImageError, SettingsError
from captionloop.jobs.queue import Queue
from captionloop.model.images import ImageLimits, content_hash, open_image
from captionloop.model.suggestions import Answer, SuggestionLog
from captionloop.model.versions import VersionStore

if TYPE_CHECKING:
    from captionloop.backend.batcher import Batcher
    from captionloop.model.captioner import Suggestion

_log = logging.getLogger(__name__)

# Reading images is waiting for the network, mostly; more threads than cores pay.
_READERS = 8

ReadImage = Callable[[str, int], bytes]  # (the task's value, the task's id) -> bytes; raises ImageError


class CaptionService:
    """Suggests captions for the tasks of Label Studio projects."""

    def __init__(
        self,
        *,
        projects: Projects,
        versions: VersionStore,
        champions: Champions,
        suggestions: SuggestionLog,
        queue: Queue,
        read_image: ReadImage,
        limits: ImageLimits,
    ) -> None:
        self.projects = projects
        self.versions = versions
        self.champions = champions
        self.queue = queue
        self._suggestions = suggestions
        self._read_image = read_image
        self._limits = limits
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="read-image")

    def setup(self, label_studio_id: int, label_config: str) -> str:
        """Check that a project's label config has room for captions; give the version that serves it.

        Raises:
            LabelConfigError: it has none.
        """
        cached_target(label_config)
        project = self.projects.seen(label_studio_id, label_config=label_config)
        return self.champions.version(project.id)

    def predict(
        self, label_studio_id: int, label_config: str, tasks: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """One prediction per task, in order, all by the same version.

        A task that cannot be captioned gets a prediction without a result; why is logged and kept in the database.

        Raises:
            LabelConfigError: the label config has no room for captions.
            CaptionloopError: no version can be loaded.
        """
        target = cached_target(label_config)
        project = self.projects.seen(label_studio_id, label_config=label_config)
        with self.champions.lease(project.id) as batcher:
            answers = list(self._answers(batcher, target, tasks))
            version = batcher.version
        for answer in answers:
            if answer.reason:
                _log.warning("project %s, task %s: no suggestion: %s", label_studio_id, answer.task_id, answer.reason)
        self._suggestions.keep(project.id, version, answers)
        return [_to_entry(target, answer, version) for answer in answers]

    def _answers(
        self, batcher: "Batcher", target: CaptionTarget, tasks: Sequence[Mapping[str, Any]]
    ) -> Iterator[Answer]:
        asked = [self._readers.submit(self._ask, batcher, target, task) for task in tasks]
        for task, request in zip(tasks, asked, strict=True):
            yield _answer(int(task["id"]), request)

    def _ask(self, batcher: "Batcher", target: CaptionTarget, task: Mapping[str, Any]) -> "Future[Suggestion]":
        data = self._read_image(task_image(target, task["data"]), int(task["id"]))
        return batcher.submit(open_image(data, limits=self._limits), content_hash(data))

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        self.champions.close()


def _answer(task_id: int, request: "Future[Future[Suggestion]]") -> Answer:
    try:
        return Answer(task_id, request.result().result())
    except ImageError as error:
        return Answer(task_id, None, str(error))
    except CaptionloopError:
        raise
    except Exception as error:  # noqa: BLE001 (one task must never harm its neighbours; the reason reaches the log)
        _log.exception("task %s", task_id)
        return Answer(task_id, None, f"Unexpected {type(error).__name__}: {error}.")


def _to_entry(target: CaptionTarget, answer: Answer, version: str) -> dict[str, Any]:
    if answer.suggestion is None:
        return empty_prediction(version, answer.reason or "")
    return to_prediction(target, answer.suggestion.caption, answer.suggestion.score, version)


@lru_cache(maxsize=256)
def cached_target(label_config: str) -> CaptionTarget:
    """`read_label_config`, remembered: every request carries the same few configs."""
    return read_label_config(label_config)


def project_number(value: object) -> int:
    """Label Studio's project id out of `"12.1795424460"`, which is how it names projects to ML backends.

    Raises:
        SettingsError: the value holds no number.
    """
    with suppress(ValueError):
        if match := re.match(r"\d+", str(value)):
            return int(match.group())
    raise SettingsError(f"The field `project` is {value!r}, but must begin with the project's number.")
