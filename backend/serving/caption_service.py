"""What the backend does, apart from how it is asked: suggestions for tasks, and requests for work.

The Flask app, the adapter for `label-studio-ml` and the tests all call this one object.
"""

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from captionloop.backend.label_studio.annotations import empty_prediction, to_prediction, unstored_prediction
from captionloop.backend.label_studio.controls import target_of
from captionloop.backend.label_studio.label_config import CaptionTarget, parse_label_config
from captionloop.backend.label_studio.task_pictures import ReadImage, read_task_picture
from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.serving.champions import Champions
from captionloop.backend.serving.prometheus import Metrics
from captionloop.errors import CaptionloopError, ImageError, ServiceError, SettingsError
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.model.database import LARGEST_ID, Project, RunKind
from captionloop.model.dataset.images import ImageLimits
from captionloop.model.dataset.suggestion_log import Answer, SuggestionLog
from captionloop.model.evaluation.calibration import Chances, RecentChances
from captionloop.model.versions.store import VersionStore

if TYPE_CHECKING:
    from captionloop.backend.serving.batcher import Batcher
    from captionloop.model.captioning.captioner import ScoredCaption

_log = logging.getLogger(__name__)

# Label Studio waits 100 s for an answer, and throws away what comes later.
ANSWER_WITHIN_S = 60.0
# So many pictures are read ahead of those that are captioned; a batch may have thousands.
_AHEAD = 64
# Reading images is waiting for the network, mostly; more threads than cores pay.
_READERS = 8

T = TypeVar("T")

# What becomes of a task that was not come to in time.
_LATE = Answer(0, None, may_pass=True)


class _LateError(Exception):
    """The time for an answer is over."""


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
        queue: Queue,
        read_image: ReadImage,
        limits: ImageLimits,
        metrics: Metrics | None = None,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        """
        Args:
            metrics: where what happens is counted; None: in some of its own.
            answer_within_s: how long `predict` may take; tasks that it does not come to until then wait for the worker.
        """
        self.projects = projects
        self.versions = versions
        self.champions = champions
        self.chances = chances
        self.queue = queue
        self._suggestions = suggestions
        self._read_image = read_image
        self._limits = limits
        self.metrics = metrics or Metrics()
        self.stopping = threading.Event()  # set when the backend is to end: what can last, such as a stream, ends then
        self.answer_within_s = answer_within_s
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="read-image")

    def setup(self, label_studio_id: int, label_config: str) -> str:
        """Check that a project's label config has room for captions; give the version that serves it.

        Raises:
            LabelConfigError: it has none, or somebody has to say first which text box they go into.
        """
        project, _ = self._project(label_studio_id, label_config)
        return self.champions.version(project.id)

    def predict(
        self, label_studio_id: int, label_config: str, tasks: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """One prediction per task, in order, all by the same version.

        A task that cannot be captioned gets a prediction with an empty result; why is logged and kept in the database.
        Where the reason may pass, such as a server that is away, it gets an entry that Label Studio does not store, so
        that it asks again. So does what cannot be done in time, and the worker is asked to caption the unlabelled ones.
        The score in an answer is the chance that a person leaves the caption unchanged, as in the
        worker's suggestions; the database keeps the model's own, which that chance is learnt from.

        Raises:
            LabelConfigError: the label config has no room for captions, or somebody has to say first which text box
                they go into.
            CaptionloopError: no version can be loaded.
        """
        give_up_at = time.monotonic() + self.answer_within_s
        project, target = self._project(label_studio_id, label_config)
        with self.champions.lease(project.id) as batcher:
            answers = self._answers(batcher, target, tasks, give_up_at)
            version = batcher.version
        chance = self.chances.of(project.id, version)
        for answer in answers.values():
            if answer.reason:
                _log.warning("project %s, task %s: no suggestion: %s", label_studio_id, answer.task_id, answer.reason)
        self.metrics.suggestions.inc(sum(answer.suggestion is not None for answer in answers.values()))
        self._keep(project.id, version, list(answers.values()))
        if len(answers) < len(tasks):
            self._hand_over(project, len(tasks) - len(answers))
        return [_to_entry(target, answers.get(place, _LATE), chance, version) for place in range(len(tasks))]

    def _project(self, label_studio_id: int, label_config: str) -> tuple[Project, CaptionTarget]:
        """A project's row, up to date, and where its captions go. A label config without any room makes no row."""
        parse_label_config(label_config)
        project = self.projects.seen(label_studio_id, label_config=label_config)
        return project, target_of(project)

    def _answers(
        self, batcher: "Batcher", target: CaptionTarget, tasks: Sequence[Mapping[str, Any]], give_up_at: float
    ) -> dict[int, Answer]:
        """What became of each task that was come to in time, by its place."""
        answers: dict[int, Answer] = {}
        asked: deque[tuple[int, Future[Future[ScoredCaption]]]] = deque()
        for place, task in enumerate(tasks):
            if len(asked) == _AHEAD:
                self._take(tasks, asked.popleft(), answers, give_up_at)
            if time.monotonic() >= give_up_at:
                break
            asked.append((place, self._readers.submit(copy_context().run, self._ask, batcher, target, task)))
        while asked:
            self._take(tasks, asked.popleft(), answers, give_up_at)
        return answers

    def _take(
        self,
        tasks: Sequence[Mapping[str, Any]],
        asked: "tuple[int, Future[Future[ScoredCaption]]]",
        answers: dict[int, Answer],
        give_up_at: float,
    ) -> None:
        """Add the answer that was asked for, unless it does not come in time."""
        place, request = asked
        task_id = int(tasks[place]["id"])
        try:
            answers[place] = Answer(task_id, _in_time(_in_time(request, give_up_at), give_up_at))
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

    def _keep(self, project_id: int, version: str, answers: Sequence[Answer]) -> None:
        """Remember what was answered. Where that cannot be, people get their captions all the same."""
        try:
            self._suggestions.keep(project_id, version, answers)
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

    def _ask(self, batcher: "Batcher", target: CaptionTarget, task: Mapping[str, Any]) -> "Future[ScoredCaption]":
        found = read_task_picture(task, target, batcher.captioner, read=self._read_image, limits=self._limits)
        return batcher.submit(found.image, found.hash)

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        self.champions.close()


def _in_time(future: "Future[T]", give_up_at: float) -> T:
    """A future's result, unless the time is over before it is there; what has not begun then is not begun.

    Raises:
        _LateError: it is over.
    """
    finished, _ = wait([future], timeout=max(give_up_at - time.monotonic(), 0.0))
    if not finished:
        future.cancel()
        raise _LateError
    return future.result()


def _to_entry(target: CaptionTarget, answer: Answer, chance: Chances, version: str) -> dict[str, Any]:
    if answer.suggestion is None:
        entry = unstored_prediction if answer.may_pass else empty_prediction
        return entry(version, answer.reason or "")
    return to_prediction(target, answer.suggestion.caption, chance(answer.suggestion.score), version)


def project_number(value: object) -> int:
    """Label Studio's project id out of `"12.1795424460"`, which is how it names projects to ML backends.

    Raises:
        SettingsError: the value holds no number.
    """
    with suppress(ValueError):
        if (match := re.match(r"\d+", str(value))) and (number := int(match.group())) <= LARGEST_ID:
            return number
    raise SettingsError(f"The field `project` is {value!r:.60}, but must begin with the project's number.")
