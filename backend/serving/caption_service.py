"""Suggestions for tasks, independent of HTTP.

Used by the Flask app, the adapter for `label-studio-ml` and the tests.
"""

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from captionloop.backend.label_studio.annotations import empty_prediction, to_prediction, unstored_prediction
from captionloop.backend.label_studio.box_writers import BoxWriters
from captionloop.backend.label_studio.controls import target_of
from captionloop.backend.label_studio.label_config import CaptionTarget, parse_label_config
from captionloop.backend.label_studio.task_pictures import ReadImage, read_task_picture
from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.serving.champions import Champions
from captionloop.backend.serving.prometheus import Metrics
from captionloop.backend.serving.readers import Readers
from captionloop.errors import CaptionloopError, ImageError, ServiceError, SettingsError
from captionloop.image_limits import ImageLimits
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.model.database import LARGEST_ID, Project, RunKind
from captionloop.model.dataset.styles import ProjectStyles
from captionloop.model.dataset.suggestion_log import Answer, SuggestionLog
from captionloop.model.evaluation.calibration import Chances, RecentChances
from captionloop.model.versions.store import VersionStore

if TYPE_CHECKING:
    from captionloop.backend.serving.batcher import Batcher
    from captionloop.model.captioning.captioner import Captioner, ScoredCaption

_log = logging.getLogger(__name__)

# Label Studio waits 100 s for a response, and discards later ones.
ANSWER_WITHIN_S = 60.0
# Number of prefetched pictures; a request may have thousands.
_AHEAD = 64

T = TypeVar("T")

# The reason for tasks that were not captioned in time.
_LATE = Answer(0, None, may_pass=True)


class _LateError(Exception):
    """The time for a response is over."""


class CaptionService:
    """Suggests captions for the tasks of Label Studio projects."""

    def __init__(
        self,
        *,
        projects: Projects,
        versions: VersionStore,
        champions: Champions,
        suggestions: SuggestionLog,
        chances: RecentChances,
        styles: Callable[[int], ProjectStyles],
        queue: Queue,
        read_image: ReadImage,
        limits: ImageLimits,
        metrics: Metrics | None = None,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        """
        Args:
            styles: of a project, which say in what style captions are suggested (docs/styles.md).
            metrics: counters; None: its own.
            answer_within_s: time limit of `predict`, in seconds; remaining tasks are left to the worker.
        """
        self.projects = projects
        self.versions = versions
        self.champions = champions
        self.chances = chances
        self._styles = styles
        self.queue = queue
        self._suggestions = suggestions
        self._read_image = read_image
        self._limits = limits
        self.metrics = metrics or Metrics()
        self.stopping = threading.Event()  # set at shutdown: long responses, such as streams, end then
        self.answer_within_s = answer_within_s
        self._readers = Readers()

    def setup(self, label_studio_id: int, label_config: str) -> str:
        """Check that a project's label config has a text box for captions; returns the version that serves it.

        Raises:
            LabelConfigError: it has none, or a person must choose one first.
        """
        project, _ = self._project(label_studio_id, label_config)
        return self.champions.version(project.id)

    def predict(
        self, label_studio_id: int, label_config: str, tasks: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """One prediction per task, in order, all by the same version.

        A task that cannot be captioned gets a prediction with an empty result; the reason is logged and stored. After a
        temporary failure, such as an unreachable server, it gets an entry that Label Studio does not store, so that it
        is requested again. So do tasks that were not captioned in time; then a captioning run is enqueued. Scores in
        the response are calibrated, as in the worker's suggestions; the database stores the raw ones.

        Raises:
            LabelConfigError: the label config has no text box for captions, or a person must choose one first.
            CaptionloopError: no version can be loaded.
        """
        give_up_at = time.monotonic() + self.answer_within_s
        project, target = self._project(label_studio_id, label_config)
        with self.champions.lease(project.id) as batcher, self._readers.of(project.id) as readers:
            styles = self._styles(project.id)
            boxes = BoxWriters.of(project, styles, batcher.captioner.generation)
            writers = [batcher.writer(style) for style in (styles.current, *boxes.styles)]
            ask = partial(self._ask, batcher, writers, target)
            answers = self._answers(readers, ask, boxes, tasks, give_up_at)
            version = batcher.version
        chance = self.chances.of(project.id, version)
        for answer in answers.values():
            if answer.reason:
                _log.warning("project %s, task %s: no suggestion: %s", label_studio_id, answer.task_id, answer.reason)
        self.metrics.suggestions.inc(sum(answer.suggestion is not None for answer in answers.values()))
        self._keep(project.id, version, list(answers.values()), writers[0].generation.style)
        if len(answers) < len(tasks):
            self._hand_over(project, len(tasks) - len(answers))
        return [_to_entry(target, boxes, answers.get(place, _LATE), chance, version) for place in range(len(tasks))]

    def _project(self, label_studio_id: int, label_config: str) -> tuple[Project, CaptionTarget]:
        """A project's updated row and its text box. An unusable label config creates no row."""
        parse_label_config(label_config)
        project = self.projects.seen(label_studio_id, label_config=label_config)
        return project, target_of(project)

    def _answers(
        self,
        readers: Executor,
        ask: "Callable[[Mapping[str, Any]], Future[list[ScoredCaption]]]",
        boxes: BoxWriters,
        tasks: Sequence[Mapping[str, Any]],
        give_up_at: float,
    ) -> dict[int, Answer]:
        """The results of tasks captioned in time, by index."""
        answers: dict[int, Answer] = {}
        asked: deque[tuple[int, Future[Future[list[ScoredCaption]]]]] = deque()
        for place, task in enumerate(tasks):
            if len(asked) == _AHEAD:
                self._take(tasks, boxes, asked.popleft(), answers, give_up_at)
            if time.monotonic() >= give_up_at:
                break
            asked.append((place, readers.submit(ask, task)))
        while asked:
            self._take(tasks, boxes, asked.popleft(), answers, give_up_at)
        return answers

    def _take(
        self,
        tasks: Sequence[Mapping[str, Any]],
        boxes: BoxWriters,
        asked: "tuple[int, Future[Future[list[ScoredCaption]]]]",
        answers: dict[int, Answer],
        give_up_at: float,
    ) -> None:
        """Add an answer, if it arrives in time."""
        place, request = asked
        task_id = int(tasks[place]["id"])
        try:
            caption, *others = _in_time(_in_time(request, give_up_at), give_up_at)
            answers[place] = Answer(task_id, caption, in_boxes=boxes.texts(caption, others))
        except _LateError:
            pass
        except CaptionloopError as error:
            self.metrics.failed(error)
            stays = isinstance(error, ImageError) and not error.may_pass
            answers[place] = Answer(task_id, None, str(error), may_pass=not stays)
        except Exception as error:  # noqa: BLE001 (one task must never harm its neighbours; the log says why)
            self.metrics.failed(error)
            _log.exception("task %s", task_id)
            answers[place] = Answer(task_id, None, f"Unexpected {type(error).__name__}: {error}.", may_pass=True)

    def _keep(self, project_id: int, version: str, answers: Sequence[Answer], style: str | None) -> None:
        """Store the answers. A failure is only logged, so that people get their captions anyway."""
        try:
            self._suggestions.keep(project_id, version, answers, style=style)
        except ServiceError as error:
            self.metrics.failed(error)
            _log.error("what was suggested is not kept: %s", error)

    def _hand_over(self, project: Project, count: int) -> None:
        _log.warning("project %s: %d tasks were not captioned in time", project.label_studio_id, count)
        self.metrics.failures.labels("late").inc(count)
        try:
            self.queue.request(project.id, RunKind.ANNOTATE, asked_by="a batch that was too large for one request")
        except ServiceError as error:
            _log.error("%s", error)

    def _ask(
        self, batcher: "Batcher", writers: "Sequence[Captioner]", target: CaptionTarget, task: Mapping[str, Any]
    ) -> "Future[list[ScoredCaption]]":
        found = read_task_picture(task, target, batcher.captioner, read=self._read_image, limits=self._limits)
        return batcher.submit(found.image, found.hash, writers)

    def close(self) -> None:
        self._readers.close()
        self.champions.close()


def _in_time(future: "Future[T]", give_up_at: float) -> T:
    """A future's result, or cancel it at the deadline.

    Raises:
        _LateError: the deadline has passed.
    """
    finished, _ = wait([future], timeout=max(give_up_at - time.monotonic(), 0.0))
    if not finished:
        future.cancel()
        raise _LateError
    return future.result()


def _to_entry(
    target: CaptionTarget, boxes: BoxWriters, answer: Answer, chance: Chances, version: str
) -> dict[str, Any]:
    if answer.suggestion is None:
        entry = unstored_prediction if answer.may_pass else empty_prediction
        return entry(version, answer.reason or "")
    others = boxes.items(answer.in_boxes)
    return to_prediction(target, answer.suggestion.caption, chance(answer.suggestion.score), version, others)


def project_number(value: object) -> int:
    """Label Studio's project id from `"12.1795424460"`, the form in its requests to ML backends.

    Raises:
        SettingsError: the value contains no number.
    """
    with suppress(ValueError):
        if (match := re.match(r"\d+", str(value))) and (number := int(match.group())) <= LARGEST_ID:
            return number
    raise SettingsError(f"The field `project` is {value!r:.60}, but must begin with the project's number.")
