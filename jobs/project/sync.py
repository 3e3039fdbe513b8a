"""Synchronisation of corrections with the annotations in Label Studio.

Label Studio sends each event once, so its API is the truth, and a webhook event only triggers a sync. A sync reads the
tasks that changed since the last one. That finds everything except deletions; these are detected by comparing two
counts, and only if they differ are all annotated tasks compared.

When the text boxes or pictures of the label config have changed, all annotations are read again. A caption that was
read from a box stays when that box is gone (see `annotation_reading`).

A sync commits after every few tasks, and updates `synced_until` last: a sync that dies loses nothing, and two
concurrent ones do the same work twice. A batch is written only if no other sync has changed anything since it was read;
else it is read again, also after a pause.
"""

import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from captionloop.backend.label_studio.annotations import annotator_of
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.controls import boxes_of, question_of, take_label_config
from captionloop.backend.label_studio.label_config import task_image
from captionloop.backend.label_studio.task_pictures import picture_name
from captionloop.batches import batches
from captionloop.errors import ImageError, NotFoundError, ServiceError
from captionloop.jobs.context import Context
from captionloop.jobs.project.annotation_reading import WAS_WITHOUT_A_BOX, AnnotationReader, Found
from captionloop.model.database import CorrectionState, Project, RunKind, utc_now
from captionloop.model.dataset import corrections, picture_names
from captionloop.model.dataset.corrections import CorrectionRecord, Derived, StoredImage, UpsertResult
from captionloop.model.dataset.near_duplicates import settle_all
from captionloop.model.dataset.other_boxes import keep_box_texts
from captionloop.model.dataset.suggestion_log import SuggestionLog

_log = logging.getLogger(__name__)

# A change gets its timestamp before it is committed, so a slow one may become visible after later ones.
_OVERLAP = timedelta(minutes=2)
_TASKS_PER_BATCH = 25
_IMAGES_AT_ONCE = 8

Progress = Callable[[int, int], None]
_Picture = tuple[int, str]  # a task's id, and the field of its data


@dataclass(frozen=True)
class SyncResult:
    """The result of a sync. `corrections`: number used in training; `failed`: number whose image could not be read.

    Args:
        notice: a decision that a person must make; empty: none.
    """

    new: int
    changed: int
    removed: int
    failed: int
    corrections: int
    notice: str = ""


def sync(
    context: Context, project_id: int, *, reads_all: bool = False, on_progress: Progress | None = None
) -> SyncResult:
    """Read what changed in a project's annotations since the last sync.

    Args:
        project_id: `project.id` in our database.
        reads_all: read every annotation again, changed or not.
        on_progress: called with the number of tasks read, and to read.

    Raises:
        NotFoundError: there is no such project in our database.
        LabelStudioError: Label Studio does not answer, or the project is gone.
        LabelConfigError: the project's label config has no text box for captions.
    """
    with context.database.reading() as session:
        project = session.get(Project, project_id)
    if project is None:
        raise NotFoundError(f"There is no project with the row id {project_id} in the database.")
    result = _run(context, project, reads_all, on_progress)
    _log.info(
        "Synced project %d: %d new, %d changed, %d removed, %d with unreadable images; %d corrections.",
        project.label_studio_id, result.new, result.changed, result.removed, result.failed, result.corrections,
    )  # fmt: skip
    if result.notice:
        _log.warning("project %d: %s", project.label_studio_id, result.notice)
    return result


def _run(context: Context, project: Project, reads_all: bool, on_progress: Progress | None) -> SyncResult:
    while True:
        try:
            return _Sync(context, project, reads_all, on_progress).run()
        except _ReadOtherwise:
            _log.info("project %d: its text boxes changed meanwhile, so it is read anew", project.label_studio_id)


class _ReadOtherwise(Exception):
    """Since this sync began, the project's annotations are to be read out of other text boxes or pictures."""


@dataclass
class _Sync:
    context: Context
    project: Project
    reads_all: bool
    on_progress: Progress | None
    new: int = 0
    changed: int = 0
    removed: int = 0
    done: int = 0
    to_do: int = 0
    emails: dict[int, str] | None = None

    def __post_init__(self) -> None:
        self.database, self.label_studio = self.context.database, self.context.label_studio

    def run(self) -> SyncResult:
        """Sync, in this order, and count."""
        self._read_project()
        until = self._read_changed_tasks()
        self._retry_unreadable_images()
        self._find_what_vanished()
        self._remember(until)
        self._renew_suggestions()
        settle_all(self.database, self.context.home)
        with self.database.reading() as session:
            counts = corrections.counts(session, self.project.id)
        return SyncResult(
            new=self.new,
            changed=self.changed,
            removed=self.removed,
            failed=counts[CorrectionState.IMAGE_UNREADABLE],
            corrections=counts[CorrectionState.ACTIVE],
            notice=str(question_of(self.project) or ""),
        )

    def _remember(self, until: datetime | None) -> None:
        with self.database.session() as session:
            row = session.get_one(Project, self.project.id)
            moments = [moment for moment in (row.synced_until, until) if moment is not None]
            # A time in the future, from a wrong clock, would hide all changes until then.
            row.synced_until = min(max(moments), utc_now()) if moments else None
            row.synced_by = self.reader.goes_by

    def _read_project(self) -> None:
        """Update title and label config, which people may have changed."""
        while (row := self._take_over_project()) is None:
            pass
        self.project, self.reader = row, AnnotationReader(row, reads_all=self.reads_all)

    def _take_over_project(self) -> Project | None:
        """None: another process has stored a label config since this one asked for it, which may be newer."""
        with self.database.reading() as session:
            before = session.get_one(Project, self.project.id).label_config
        found = self.label_studio.project(self.project.label_studio_id)
        with self.database.session() as session:
            row = session.get_one(Project, self.project.id, with_for_update=True)
            if row.label_config not in (before, found["label_config"]):
                return None
            row.title = found["title"]
            take_label_config(session, row, found["label_config"])
            if not boxes_of(row):
                row.synced_by = {**row.synced_by, WAS_WITHOUT_A_BOX: True}
        return row

    def _renew_suggestions(self) -> None:
        """Enqueue a captioning run if unanswered suggestions are for another text box or picture."""
        before = self.project.synced_by.get("target")
        if before is None or before == self.reader.goes_by["target"] or not self.project.is_connected:
            return
        if not SuggestionLog(self.database).count(self.project.id):
            return
        try:
            self.context.queue.request(self.project.id, RunKind.ANNOTATE, asked_by="another label config")
        except ServiceError as error:  # the run is stored, and so are the corrections
            _log.error("project %d: %s", self.project.label_studio_id, error)

    def _read_changed_tasks(self) -> datetime | None:
        """Read the tasks changed since the last sync; returns the latest change, by Label Studio's clock."""
        known_until = self.project.synced_until
        # After a clock was set back, changes may have any time since: all are read then.
        is_known = (
            known_until is not None and known_until <= utc_now() and self.project.synced_by == self.reader.goes_by
        )
        since = known_until - _OVERLAP if known_until and is_known and not self.reads_all else None
        changed: list[int] = []
        until: datetime | None = None
        for task in self.label_studio.annotated_tasks(self.project.label_studio_id, since=since):
            changed.append(task.id)
            until = task.updated_at if until is None else max(until, task.updated_at)
        self._read_tasks(changed)
        return until

    def _retry_unreadable_images(self) -> None:
        """Retry images that could not be read, until a whole batch fails.

        In random order, so that permanent failures do not block the others.
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
        """Compare all annotated tasks, if Label Studio's count of annotations differs from ours."""
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
        while not self._read_and_write(task_ids):
            _log.info("project %d: another sync wrote meanwhile, so tasks are read again", self.project.label_studio_id)

    def _read_and_write(self, task_ids: Sequence[int]) -> bool:
        """False: another sync has changed something since these tasks were asked for, and nothing is written.

        Raises:
            _ReadOtherwise: the text boxes are others by now.
        """
        with self.database.reading() as session:
            writes = session.get_one(Project, self.project.id).sync_writes
        tasks = {task["id"]: task for task in self.label_studio.tasks(self.project.label_studio_id, task_ids)}
        with self.database.reading() as session:
            known = corrections.of_tasks(session, self.project.id, task_ids)
            # Suggestions without a prediction that an annotation could refer to, as in interactive mode.
            suggested = {
                task_id: corrections.suggested_captions(session, self.project.id, task_id) for task_id in tasks
            }
            scores = corrections.suggested_scores(session, self.project.id, task_ids)
        found = [
            one
            for task in tasks.values()
            for one in self.reader.read_task(
                task, known, suggested=suggested[task["id"]], scores=scores, email_of=self._email
            )
        ]
        images = self._read_images({one.picture for one in found if one.wants_image}, tasks)
        prepared = [Derived.of(one.record, one.known) for one in found]
        with self.database.session() as session:
            stored = [image for image in images.values() if isinstance(image, StoredImage)]
            for image in sorted(stored, key=lambda image: image.sha256):  # a common order prevents deadlocks
                corrections.register_image(session, image)
            picture_names.remember_if_unnamed(session, self.project.id, self._names(images, tasks))
            row = session.get_one(Project, self.project.id, with_for_update=True)
            if row.sync_writes != writes:
                return False
            if AnnotationReader(row, reads_all=self.reads_all).goes_by != self.reader.goes_by:
                raise _ReadOtherwise
            changes = self.new + self.changed + self.removed
            for one, figures in zip(found, prepared, strict=True):
                self._count(corrections.upsert(session, self.project.id, _with_image(one, images), figures))
            for task in tasks.values():
                for annotation_id, texts in self.reader.read_boxes(task).items():
                    self.changed += keep_box_texts(session, self.project.id, annotation_id, texts)
            for task_id in task_ids:
                if task_id in tasks:
                    present = [annotation["id"] for annotation in tasks[task_id]["annotations"]]
                    self.removed += corrections.mark_annotations_deleted(
                        session, self.project.id, task_id, present=present
                    )
                else:
                    self.removed += corrections.mark_task_deleted(session, self.project.id, task_id)
            row.sync_writes += self.new + self.changed + self.removed > changes
        return True

    def _count(self, change: UpsertResult) -> None:
        self.new += change is UpsertResult.NEW
        self.changed += change is UpsertResult.CHANGED

    def _email(self, annotation: Json) -> str | None:
        user_id = annotator_of(annotation)
        if user_id is None:
            return None
        if self.emails is None:
            self.emails = self.label_studio.emails()
        return self.emails.get(user_id, f"user {user_id}")

    def _read_images(
        self, pictures: Collection[_Picture], tasks: Mapping[int, Json]
    ) -> dict[_Picture, StoredImage | str]:
        """Each picture, or the reason why it cannot be read."""

        def read(picture: _Picture) -> StoredImage | str:
            task_id, field = picture
            return self._read_image(tasks[task_id], field)

        with ThreadPoolExecutor(_IMAGES_AT_ONCE) as threads:
            return dict(zip(pictures, threads.map(read, pictures), strict=True))

    def _names(self, images: Mapping[_Picture, StoredImage | str], tasks: Mapping[int, Json]) -> dict[str, str]:
        """Image → its name, of those that have one."""
        found = {}
        for (task_id, field), image in images.items():
            if isinstance(image, StoredImage):
                data = tasks[task_id]["data"]
                found[image.sha256] = picture_name(
                    data, task_image(replace(self.reader.target, image_field=field), data)
                )
        return {image: name for image, name in found.items() if name is not None}

    def _read_image(self, task: Json, field: str) -> StoredImage | str:
        try:
            value = task_image(replace(self.reader.target, image_field=field), task["data"])
            data = self.context.read_image(value, task["id"])
            return corrections.write_image(self.context.home, data, limits=self.context.image_limits)
        except ImageError as error:
            _log.warning("project %d, task %d: no picture: %s", self.project.label_studio_id, task["id"], error)
            return str(error)


def _with_image(found: Found, images: Mapping[_Picture, StoredImage | str]) -> CorrectionRecord:
    image = images.get(found.picture) if found.wants_image else None
    if image is None:
        return found.record
    if isinstance(image, StoredImage):
        return replace(found.record, image_sha256=image.sha256)
    if found.keeps_image:
        return found.record  # The stored copy is what the person saw.
    return replace(found.record, state=CorrectionState.IMAGE_UNREADABLE, reason=image)
