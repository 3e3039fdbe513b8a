"""Captioning a whole project: the champion's suggestions for all unlabelled tasks, pushed to Label Studio.

Label Studio would request each when its task is opened; storing them in advance saves people the wait, fills the Data
Manager, and allows an annotation order (`asking_order`).

The job scans all unlabelled tasks, captions those without the champion's suggestion, and scans again, until a scan
finds nothing to do. All its state is in Label Studio, so a killed run resumes by scanning, and new tasks are found.
Duplicates (a push was interrupted and repeated, or somebody opened a task at that moment) are deleted by the next scan.
A push cannot be recalled: if another worker takes over the run while one is on its way, it may be stored after that
worker's last scan, so the attempt that lost the run requests another one.

Label Studio shows the newest suggestion. After a rollback, an older one of the same champion is created again.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from captionloop.backend.label_studio.annotations import (
    clean_text,
    is_suggestion_for,
    prediction_captions,
    to_prediction,
)
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.box_writers import BoxWriters
from captionloop.backend.label_studio.client import BACKEND_TITLE, IMPORTED_VERSION
from captionloop.backend.label_studio.controls import take_label_config, target_of
from captionloop.backend.label_studio.label_config import CaptionTarget
from captionloop.batches import batches
from captionloop.errors import LabelStudioError, RunLost, ServiceError
from captionloop.jobs.captioning.asking_order import AskingOrder, PredictionChange, SuggestedTask, let_backend_answer
from captionloop.jobs.captioning.task_images import TaskImages
from captionloop.jobs.context import Context
from captionloop.jobs.processes.patience import Patience
from captionloop.jobs.queue.annotate_settings import AnnotateSettings
from captionloop.jobs.queue.attempt import Attempt
from captionloop.model.active_learning.diversity import FloatArray, pooled
from captionloop.model.active_learning.project_settings import settings_of
from captionloop.model.active_learning.task_vectors import TaskVectors
from captionloop.model.database import Project, Run, RunKind
from captionloop.model.dataset.styles import ProjectStyles, current_style, current_style_id
from captionloop.model.dataset.suggestion_log import Answer, SuggestionLog
from captionloop.model.evaluation.calibration import chances
from captionloop.model.finetuning.run_styles import writing_in

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner, ScoredCaption

_log = logging.getLogger(__name__)

# Tasks are requested, captioned and stored in groups of this many captioner batches, to allow prefetching of pictures.
_BATCHES = 4
_BATCH = 32  # tasks that are scanned or changed between two checks for cancellation
# Concurrent requests for changes that have no bulk endpoint. More would be faster, but slow down people at work.
_WRITERS = 4
# Attempts per task: temporary failures should not wait for the next run, and a run must end.
_TRIES = 2
_CAPTIONING_SHARE = 0.8  # of the progress, if an order is written afterwards
_SHOWN_FAILURES = 3


def run_annotate(context: Context, attempt: Attempt) -> str:
    """Caption all tasks without the champion's suggestion; then write the annotation order.

    Returns:
        The outcome as a sentence.

    Raises:
        RunCancelled: the run was cancelled; what was pushed until then stays.
        RunLost: another worker has taken over the run.
        LabelStudioError: Label Studio refuses, or has not answered for half an hour.
    """
    project = context.project(attempt.run.project_id)
    context.versions.ensure_champion(project.id, context.base)
    style = current_style(context.database, project.id)
    captioner = writing_in(context.champion_captioner(project.id), style)
    return _Annotation(context, attempt, project, captioner).carry_out()


@dataclass(frozen=True)
class _Scan:
    """The result of a scan of all unlabelled tasks.

    Args:
        to_caption: ids of tasks without the champion's suggestion, the most useful first.
        suggested: tasks with it.
        passed_over: number of tasks with an earlier suggestion that are left out by the run's settings.
    """

    to_caption: Sequence[int]
    suggested: Sequence[SuggestedTask]
    passed_over: int


class _Superseded(Exception):
    """Another version has become champion, or suggestions are to be in another style."""


@dataclass
class _Annotation:
    context: Context
    attempt: Attempt
    project: Project
    captioner: "Captioner"
    tries: Counter[int] = field(default_factory=Counter)  # attempts per task
    reasons: dict[int, str] = field(default_factory=dict)  # why a task has no suggestion

    def __post_init__(self) -> None:
        self.chosen = AnnotateSettings.from_dict(self.attempt.run.settings)
        self.settings = settings_of(self.project)
        self.version, self.style = self.captioner.version, self.captioner.generation.style
        self.patience = Patience(self.attempt)
        self.boxes = BoxWriters([], [])
        self.log = SuggestionLog(self.context.database)
        self.features = TaskVectors(self.context.database, self.project.id)
        with self.context.database.reading() as session:
            self.chance = chances(
                session, self.project.id, self.version, style_id=current_style_id(session, self.project.id)
            )

    def carry_out(self) -> str:
        with self.context.label_studio.telling_of_retries(self.patience.say_waiting):
            try:
                return self._carry_out()
            except RunLost:
                self._have_duplicates_deleted()
                raise

    def _carry_out(self) -> str:
        try:
            found = self.patience.until_done(partial(self.context.label_studio.project, self.project.label_studio_id))
            target = self._target(found["label_config"])
            self.patience.until_done(partial(let_backend_answer, self.context, self.project, unless=self.version))
            if found["model_version"] == IMPORTED_VERSION and not self.chosen.only_missing:
                self.patience.until_done(self._show_own)
            scan = self._caption_all(target)
            # With a version as the project's `model_version`, the suggestions of all others are hidden.
            if self.settings.order != "off" and self.chosen.limit is None and not scan.passed_over:
                self._put_in_order(target, scan.suggested)
        except _Superseded as newer:
            return f"{newer} meanwhile; the run that follows renews the suggestions."
        failed = {task_id: self.reasons[task_id] for task_id in scan.to_caption if task_id in self.reasons}
        self._report_end(scan, failed)
        return _outcome(scan, failed, self.version)

    def _show_own(self) -> None:
        """Have Label Studio show our suggestions in place of the captions that were there before the project."""
        title = BACKEND_TITLE if self.project.ml_backend_id is not None else ""
        self.context.label_studio.update_project(self.project.label_studio_id, model_version=title)

    def _target(self, label_config: str) -> CaptionTarget:
        """The text box for captions, by the present label config.

        Raises:
            LabelConfigError: there is none, or a person must choose first.
        """
        with self.context.database.session() as session:
            row = session.get_one(Project, self.project.id)
            take_label_config(session, row, label_config)
            styles = ProjectStyles.of(session, row.id)
        self.boxes = BoxWriters.of(row, styles, self.captioner.generation)
        return target_of(row)

    def _caption_all(self, target: CaptionTarget) -> _Scan:
        """Caption until a scan finds nothing to do; returns that scan."""
        captioning = (0.0, 1.0 if self.settings.order == "off" else _CAPTIONING_SHARE)
        while True:
            scan = self.patience.until_done(partial(self._scan_tasks, target))
            waiting = [task_id for task_id in scan.to_caption if self.tries[task_id] < _TRIES]
            if self.chosen.limit is not None:
                waiting = waiting[: self.chosen.limit - self.tries.total()]
            if not waiting:
                return scan
            before, begun, all_tasks = len(scan.suggested), time.monotonic(), len(scan.suggested) + len(waiting)
            size = _BATCHES * self.captioner.batch_size
            for number, batch in enumerate(batches(waiting, size)):
                did = number * size
                self._report("captioning", before + did, all_tasks, did=did, begun=begun, share=captioning)
                self.patience.until_done(partial(self._caption_batch, target, batch))

    def _scan_tasks(self, target: CaptionTarget) -> _Scan:
        """Scan all unlabelled tasks, and delete surplus suggestions."""
        scores: dict[int, float | None] = {}
        suggested: list[SuggestedTask] = []
        surplus: list[int] = []
        passed_over = 0
        is_shown = self._is_shown(target)
        tasks = self.context.label_studio.unlabelled_tasks_with_results(self.project.label_studio_id)
        for number, task in enumerate(tasks):
            if number % _BATCH == 0:
                self.attempt.check()
            predictions = sorted(task["predictions"], key=itemgetter("id"))
            if is_shown(task["id"], predictions):
                shown = predictions[-1]
                suggested.append(SuggestedTask(task["id"], shown["id"], shown["score"], shown["cluster"]))
                surplus += _surplus(predictions, target, keep=self.settings.earlier_suggestions)
            elif self.chosen.only_missing and any(prediction["result"] for prediction in predictions):
                passed_over += 1
            else:
                scores[task["id"]] = predictions[-1]["score"] if predictions and predictions[-1]["result"] else None
        for batch in batches(surplus, _BATCH):
            self.attempt.check()
            with ThreadPoolExecutor(_WRITERS) as writers:
                list(writers.map(self.context.label_studio.delete_prediction, batch))
        # The least certain suggestions are served first with an annotation order.
        order = sorted(scores, key=lambda task_id: (math.inf if (at := scores[task_id]) is None else at, task_id))
        return _Scan(order, suggested, passed_over)

    def _caption_batch(self, target: CaptionTarget, task_ids: Sequence[int]) -> None:
        """Caption tasks and push the suggestions. It may be interrupted anywhere and repeated."""
        label_studio, project_id = self.context.label_studio, self.project.label_studio_id
        self._check_champion()
        is_shown = self._is_shown(target)
        tasks = [
            task
            for task in label_studio.tasks(project_id, task_ids)
            if not is_shown(task["id"], sorted(task["predictions"], key=itemgetter("id")))
        ]
        answers = self._caption(target, tasks)
        # The raw score is only in the log, so a suggestion is logged before it is pushed.
        self.log.keep(self.project.id, self.version, answers, style=self.style)
        refused = self._push(target, answers)
        self.log.keep(self.project.id, self.version, refused, style=self.style)
        for answer in (*answers, *refused):
            self.reasons.pop(answer.task_id, None)
            if answer.reason:
                _log.warning("project %d, task %d: no suggestion: %s", project_id, answer.task_id, answer.reason)
                self.reasons[answer.task_id] = answer.reason
        self.tries.update(task_ids)

    def _caption(self, target: CaptionTarget, tasks: Sequence[Json]) -> list[Answer]:
        images = TaskImages(self.context, target, tasks, captioner=self.captioner)
        made: list[Answer] = []
        writers = [self.captioner, *map(self.captioner.in_style, self.boxes.styles)]
        vectors: dict[int, FloatArray] = {}
        for part in batches(images, self.captioner.batch_size):
            encoded = self.captioner.encode(
                [image.image for image in part], image_hashes=[image.hash for image in part]
            )
            ids = [image.task_id for image in part]
            made += map(self._answer, ids, *(writer.caption_features(encoded) for writer in writers))
            vectors |= dict(zip(ids, pooled(encoded), strict=True))
        self.features.keep(self.captioner.encoder_hash, vectors)
        return made + [Answer(task_id, None, reason) for task_id, reason in images.reasons.items()]

    def _answer(self, task_id: int, caption: "ScoredCaption", *others: "ScoredCaption") -> Answer:
        return Answer(task_id, caption, in_boxes=self.boxes.texts(caption, others))

    def _push(self, target: CaptionTarget, answers: Sequence[Answer]) -> list[Answer]:
        """Store suggestions in Label Studio; returns those that it refused, with the reason."""
        predictions = {
            answer.task_id: {
                "task": answer.task_id,
                **to_prediction(
                    target,
                    answer.suggestion.caption,
                    self.chance(answer.suggestion.score),
                    self.version,
                    self.boxes.items(answer.in_boxes),
                ),
            }
            for answer in answers
            if answer.suggestion is not None
        }
        label_studio, project_id = self.context.label_studio, self.project.label_studio_id
        self._check_champion()  # captioning took its time, and what is pushed last is what people see
        self.attempt.check()
        try:
            label_studio.import_predictions(project_id, list(predictions.values()))
            return []
        except LabelStudioError as error:
            if error.status != 400:
                raise
        # If it rejects one, such as that of a deleted task, it refuses all.
        refused: list[Answer] = []
        for task_id, prediction in predictions.items():
            try:
                label_studio.import_predictions(project_id, [prediction])
            except LabelStudioError as error:
                if error.status != 400:
                    raise
                refused.append(Answer(task_id, None, str(error)))
        return refused

    def _put_in_order(self, target: CaptionTarget, suggested: Sequence[SuggestedTask]) -> None:
        """Write the strategy's annotation order, once all tasks have the champion's suggestion."""
        order = AskingOrder(self.context, self.project, self.settings, self.captioner, self.chance)

        def write(changes: Sequence[PredictionChange]) -> None:
            self._check_champion()
            self.attempt.check()
            with ThreadPoolExecutor(_WRITERS) as writers:
                list(writers.map(order.write, changes))

        changes = self.patience.until_done(partial(order.changes, target, suggested))
        begun = time.monotonic()
        for number, batch in enumerate(batches(changes, _BATCH)):
            done = number * _BATCH
            self._report("ordering", done, len(changes), did=done, begun=begun, share=(_CAPTIONING_SHARE, 1.0))
            self.patience.until_done(partial(write, batch))
        self._check_champion()
        self.attempt.check()
        self.patience.until_done(order.serve)

    def _have_duplicates_deleted(self) -> None:
        """Request a run that scans again, without captions that nobody wants any more."""
        with self.context.database.reading() as session:
            is_cancelled = session.get_one(Run, self.attempt.run.id).cancel_requested
        limit = 0 if is_cancelled or self.chosen.limit is not None else None
        wanted = replace(self.chosen, limit=limit)
        try:
            self.context.queue.request(
                self.project.id, RunKind.ANNOTATE, asked_by="a worker that was paused", settings=wanted.to_dict()
            )
        except ServiceError as error:
            _log.error("tasks may have two suggestions until the next captioning run: %s", error)

    def _check_champion(self) -> None:
        champion = self.context.versions.champion(self.project.id).version
        if champion != self.version:
            raise _Superseded(f"{champion} has become champion")
        if self.captioner.generation.written_in(current_style(self.context.database, self.project.id)) != self.style:
            raise _Superseded("Another style has become current")

    def _is_shown(self, target: CaptionTarget) -> Callable[[int, Sequence[Json]], bool]:
        """Whether the newest of a task's predictions, by id, is the champion's, in the style that is written now."""
        if not self.captioner.generation.styles:
            return lambda task_id, predictions: self._shows(predictions, target)
        written = self.log.captions(self.project.id, self.version, self.style)
        return lambda task_id, predictions: (
            self._shows(predictions, target)
            and prediction_captions(target, predictions[-1]["result"]) == [clean_text(written.get(task_id, ""))]
        )

    def _shows(self, predictions: Sequence[Json], target: CaptionTarget) -> bool:
        return _shows(predictions, self.version, target) and self.boxes.are_in(predictions[-1]["result"])

    def _report(self, stage: str, step: int, steps: int, *, did: int, begun: float, share: tuple[float, float]) -> None:
        """Report progress.

        Args:
            step, steps: tasks done, and in all.
            did, begun: how many of them were done since when, by time.monotonic(); for the time left.
            share: this stage's part of the progress, 0 to 1.

        Raises:
            RunCancelled: the run was cancelled.
            RunLost: another worker has taken over the run.
        """
        detail: dict[str, Any] = {"stage": stage, "step": step, "steps": steps}
        if did:
            detail["seconds_left"] = (time.monotonic() - begun) / did * (steps - step)
        if self.reasons:
            detail["failed"] = len(self.reasons)
        low, high = share
        self.attempt.report(low + (high - low) * step / max(steps, 1), **detail)

    def _report_end(self, scan: _Scan, failed: Mapping[int, str]) -> None:
        """Store the number of tasks that could not be captioned, for `captionloop annotate --wait`."""
        count = len(scan.suggested)
        self.attempt.report(1.0, stage="captioning", step=count, steps=count + len(failed), failed=len(failed))


def _outcome(scan: _Scan, failed: Mapping[int, str], version: str) -> str:
    count = len(scan.suggested)
    said = f"{count} unlabelled task{' has a suggestion' if count == 1 else 's have suggestions'} of {version}."
    left = len(scan.to_caption) - len(failed)
    if left:
        said += f" {left} more {'has' if left == 1 else 'have'} none of it yet."
    if failed:
        shown = " ".join(f"Task {task_id}: {reason}" for task_id, reason in islice(failed.items(), _SHOWN_FAILURES))
        more = " The worker's log has the others." if len(failed) > _SHOWN_FAILURES else ""
        said += f" {len(failed)} could not be captioned. {shown}{more}"
    return said


def _shows(predictions: Sequence[Json], version: str, target: CaptionTarget) -> bool:
    """Whether the newest of a task's predictions, by id, is a suggestion of this version for the present text box."""
    if not predictions or predictions[-1]["model_version"] != version:
        return False
    return is_suggestion_for(target, predictions[-1]["result"])


def _surplus(predictions: Sequence[Json], target: CaptionTarget, *, keep: int) -> list[int]:
    """The ids of a task's surplus predictions, oldest first: all but the last, and the last `keep` others.

    Repetitions of the last one are no others. Label Studio refuses an annotation whose suggestion is gone, and the last
    one of another version, or in another style, may be on somebody's screen.
    """

    def what(prediction: Json) -> tuple[str, Sequence[str]]:
        return prediction["model_version"], prediction_captions(target, prediction["result"])

    others = [prediction["id"] for prediction in predictions if what(prediction) != what(predictions[-1])]
    kept = {predictions[-1]["id"], *others[max(len(others) - keep, 0) :]}
    return [prediction["id"] for prediction in predictions if prediction["id"] not in kept]
