"""Bring our corrections in line with the annotations that Label Studio holds.

Label Studio tells of changes once and forgets them, so its API is the truth, and a webhook event is no more than a
reason to look now. A sync reads the tasks that changed since the last one. That finds everything but what vanished
with its task or left a task without annotations; whether something did is seen by comparing two numbers, and only if
they differ is every annotated task counted.

It commits after each few tasks, and the moment up to which all is known moves last: a sync that dies loses nothing, and
two at once do the same work twice.
"""

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from captionloop.backend.label_studio.annotations import Annotation, prediction_captions, read_annotation
from captionloop.backend.label_studio.client import Json
from captionloop.backend.label_studio.label_config import CaptionTarget, read_label_config, task_image
from captionloop.batches import batches
from captionloop.errors import ImageError, NotFoundError
from captionloop.jobs.context import Context
from captionloop.model.active_learning.strategies import RANDOM_CLUSTER
from captionloop.model.database import Correction, CorrectionState, Project, utc_now
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import Change, CorrectionRecord, StoredImage
from captionloop.model.dataset.near_duplicates import settle_all

_log = logging.getLogger(__name__)

# A change gets its time before it is committed: one that was slow may show up behind others.
_OVERLAP = timedelta(minutes=2)
_TASKS_PER_BATCH = 25
_IMAGES_AT_ONCE = 8

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SyncResult:
    """What a sync found. `corrections` is how many teach the model now; `failed`, whose image could not be read."""

    new: int
    changed: int
    removed: int
    failed: int
    corrections: int


def sync(context: Context, project_id: int, *, on_progress: Progress | None = None) -> SyncResult:
    """Read what changed in a project's annotations since the last sync.

    Args:
        project_id: `project.id` in our database.
        on_progress: told how many tasks have been looked at, and how many there are to look at.

    Raises:
        NotFoundError: there is no such project in our database.
        LabelStudioError: Label Studio does not answer, or the project is gone.
        LabelConfigError: the project's label config has no place for captions any more.
    """
    with context.database.reading() as session:
        project = session.get(Project, project_id)
    if project is None:
        raise NotFoundError(f"There is no project with the row id {project_id} in the database.")
    result = _Sync(context, project, on_progress).run()
    _log.info(
        "Synced project %d: %d new, %d changed, %d removed, %d with unreadable images; %d corrections.",
        project.label_studio_id, result.new, result.changed, result.removed, result.failed, result.corrections,
    )  # fmt: skip
    return result


@dataclass
class _Sync:
    context: Context
    project: Project
    on_progress: Progress | None
    new: int = 0
    changed: int = 0
    removed: int = 0
    done: int = 0
    to_do: int = 0
    target: CaptionTarget = field(init=False)
    emails: dict[int, str] | None = None

    def __post_init__(self) -> None:
        self.database, self.label_studio = self.context.database, self.context.label_studio

    def run(self) -> SyncResult:
        self._read_project()
        until = self._read_changed_tasks()
        self._retry_unreadable_images()
        self._find_what_vanished()
        self._remember(until)
        settle_all(self.database, self.context.home)
        with self.database.reading() as session:
            counts = corrections.counts(session, self.project.id)
        return SyncResult(
            new=self.new,
            changed=self.changed,
            removed=self.removed,
            failed=counts[CorrectionState.IMAGE_UNREADABLE],
            corrections=counts[CorrectionState.ACTIVE],
        )

    def _remember(self, until: datetime | None) -> None:
        with self.database.session() as session:
            row = session.get_one(Project, self.project.id)
            moments = [moment for moment in (row.synced_until, until) if moment is not None]
            # A moment in the future, from a clock that was wrong, would hide all changes until then.
            row.synced_until = min(max(moments), utc_now()) if moments else None

    def _read_project(self) -> None:
        """Take over the title and label config, which people may have changed."""
        found = self.label_studio.project(self.project.label_studio_id)
        self.target = read_label_config(found["label_config"])
        with self.database.session() as session:
            row = session.get_one(Project, self.project.id)
            row.title, row.label_config = found["title"], found["label_config"]

    def _read_changed_tasks(self) -> datetime | None:
        """Read the tasks changed since the last sync; the latest change seen, by Label Studio's clock."""
        known_until = self.project.synced_until
        # When a clock was put back, nobody knows which changes carry a time that had been before: all are read then.
        since = known_until - _OVERLAP if known_until and known_until <= utc_now() else None
        changed: list[int] = []
        until: datetime | None = None
        for task in self.label_studio.annotated_tasks(self.project.label_studio_id, since=since):
            changed.append(task.id)
            until = task.updated_at if until is None else max(until, task.updated_at)
        self._read_tasks(changed)
        return until

    def _retry_unreadable_images(self) -> None:
        """Look again for images that could not be read, until a whole batch of them still cannot.

        In random order, so that the same hopeless ones do not keep the others from their turn.
        """
        with self.database.reading() as session:
            tasks = corrections.tasks_in_state(session, self.project.id, CorrectionState.IMAGE_UNREADABLE)
        random.shuffle(tasks)
        for batch in batches(tasks, _TASKS_PER_BATCH):
            changed = self.changed
            self._read_tasks(batch)
            if self.changed == changed:
                return

    def _find_what_vanished(self) -> None:
        """Look through all annotated tasks, if Label Studio counts other annotations than we do."""
        found = self.label_studio.project(self.project.label_studio_id)
        theirs = found["total_annotations_number"] + found["skipped_annotations_number"]
        with self.database.reading() as session:
            if theirs == corrections.present(session, self.project.id):
                return
            ours = corrections.present_per_task(session, self.project.id)
        differing = []
        for task in self.label_studio.annotated_tasks(self.project.label_studio_id):
            if ours.pop(task.id, 0) != task.annotations + task.skipped:
                differing.append(task.id)
        # What is left in `ours` has no annotation any more, or is gone.
        self._read_tasks([*differing, *ours])

    def _read_tasks(self, task_ids: Sequence[int]) -> None:
        self.to_do += len(task_ids)
        for batch in batches(task_ids, _TASKS_PER_BATCH):
            self._read_batch(batch)
            self.done += len(batch)
            if self.on_progress is not None:
                self.on_progress(self.done, self.to_do)

    def _read_batch(self, task_ids: Sequence[int]) -> None:
        tasks = {task["id"]: task for task in self.label_studio.tasks(self.project.label_studio_id, task_ids)}
        with self.database.reading() as session:
            known = corrections.of_tasks(session, self.project.id, task_ids)
            # What was suggested without a prediction that an annotation could point at, as in interactive mode.
            suggested = {
                task_id: corrections.suggested_captions(session, self.project.id, task_id) for task_id in tasks
            }
            scores = corrections.suggested_scores(session, self.project.id, task_ids)
        records = [
            self._record(task, annotation, known.get(annotation["id"]), suggested[task["id"]], scores)
            for task in tasks.values()
            for annotation in task["annotations"]
        ]
        images = self._read_images([tasks[record.task_id] for record in records if _wants_image(record, known)])
        with self.database.session() as session:
            stored = [image for image in images.values() if isinstance(image, StoredImage)]
            for image in sorted(stored, key=lambda image: image.sha256):  # two syncs must not wait crosswise
                corrections.register_image(session, image)
            for record in records:
                self._count(corrections.upsert(session, self.project.id, _with_image(record, known, images)))
            for task_id in task_ids:
                if task_id in tasks:
                    present = [annotation["id"] for annotation in tasks[task_id]["annotations"]]
                    self.removed += corrections.mark_annotations_deleted(
                        session, self.project.id, task_id, present=present
                    )
                else:
                    self.removed += corrections.mark_task_deleted(session, self.project.id, task_id)

    def _count(self, change: Change) -> None:
        self.new += change is Change.NEW
        self.changed += change is Change.CHANGED

    def _record(
        self,
        task: Json,
        annotation: Json,
        known: Correction | None,
        suggested: Iterable[str],
        scores: Mapping[tuple[int, str], float],
    ) -> CorrectionRecord:
        prediction = _parent(task, annotation)
        texts = prediction_captions(self.target, prediction["result"]) if prediction else []
        if not texts:
            others = [
                text for other in task["predictions"] for text in prediction_captions(self.target, other["result"])
            ]
            texts = [known.suggestion] if known is not None and known.suggestion else [*others, *suggested]
        read = read_annotation(self.target, annotation, texts)
        return CorrectionRecord(
            annotation_id=read.id,
            task_id=task["id"],
            state=_state(read),
            captions=read.captions,
            annotated_at=read.created_at,
            updated_at=read.updated_at,
            suggestion=texts[0] if prediction and texts else None,
            suggestion_version=prediction["model_version"] if prediction else None,
            suggestion_score=_score(task["id"], prediction, scores) if prediction else None,
            parent_prediction=read.parent_prediction,
            asked_at_random=_asked_at_random(prediction) if prediction else None,
            origin=read.origin,
            annotator=self._email(read.completed_by),
            lead_time_s=read.lead_time_s,
        )

    def _email(self, user_id: int | None) -> str | None:
        if user_id is None:
            return None
        if self.emails is None:
            self.emails = self.label_studio.emails()
        return self.emails.get(user_id, f"user {user_id}")

    def _read_images(self, tasks: list[Json]) -> dict[int, StoredImage | str]:
        """Each task's image, or the reason why it cannot be read."""
        wanted = {task["id"]: task for task in tasks}
        with ThreadPoolExecutor(_IMAGES_AT_ONCE) as threads:
            return dict(zip(wanted, threads.map(self._read_image, wanted.values()), strict=True))

    def _read_image(self, task: Json) -> StoredImage | str:
        try:
            value = task_image(self.target, task["data"])
            data = self.context.image_source.read(value, task_id=task["id"])
            return corrections.write_image(self.context.home, data, limits=self.context.image_limits)
        except ImageError as error:
            _log.warning("The image of task %d cannot be used: %s", task["id"], error)
            return str(error)


def _parent(task: Json, annotation: Json) -> Json | None:
    wanted = annotation.get("parent_prediction")
    return next((prediction for prediction in task["predictions"] if prediction["id"] == wanted), None)


def _asked_at_random(prediction: Json) -> bool | None:
    """Whether the prediction is among an order's random picks; None where it is in no order."""
    return None if prediction["cluster"] is None else prediction["cluster"] == RANDOM_CLUSTER


def _score(task_id: int, prediction: Json, scores: Mapping[tuple[int, str], float]) -> float | None:
    score: float | None = scores.get((task_id, prediction["model_version"]), prediction["score"])
    return score


def _state(annotation: Annotation) -> CorrectionState:
    if annotation.skipped:
        return CorrectionState.SKIPPED
    return CorrectionState.ACTIVE if annotation.captions else CorrectionState.EMPTIED


def _wants_image(record: CorrectionRecord, known: dict[int, Correction]) -> bool:
    """Whether a picture has to be read: when there is something to learn that was not there before."""
    before = known.get(record.annotation_id)
    return record.state is CorrectionState.ACTIVE and not (
        before is not None
        and before.image_sha256 is not None
        and before.state is CorrectionState.ACTIVE
        and before.updated_at >= record.updated_at
    )


def _with_image(
    record: CorrectionRecord, known: dict[int, Correction], images: dict[int, StoredImage | str]
) -> CorrectionRecord:
    image = images.get(record.task_id) if _wants_image(record, known) else None
    if image is None:
        return record
    if isinstance(image, StoredImage):
        return CorrectionRecord(**vars(record) | {"image_sha256": image.sha256})
    before = known.get(record.annotation_id)
    if before is not None and before.image_sha256 is not None:
        return record  # The copy that we have is what the person saw before.
    return CorrectionRecord(**vars(record) | {"state": CorrectionState.IMAGE_UNREADABLE, "reason": image})
