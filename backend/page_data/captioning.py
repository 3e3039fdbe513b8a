"""The caption screen: tasks that Label Studio serves to a person, and the annotations that they write into it.

Label Studio stays the record. Each request goes to it under the person's own account, it chooses the tasks and locks
them, and what is written is an ordinary annotation. It serves a person one task at a time, the same until that is
submitted; to have the next one ready, the present one is put off there by a draft, as its own button for that does.

A request may come twice, since a page repeats what it got no answer to. So each write names its annotation by a
`unique_id`, which Label Studio stores only once, and first looks for what the person has written already.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from captionloop.backend.label_studio.annotations import (
    annotator_of,
    caption_item,
    is_suggestion_for,
    prediction_captions,
)
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.controls import target_of
from captionloop.backend.label_studio.label_config import CaptionTarget, task_image
from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.thumbnails import keep_large
from captionloop.errors import CaptionloopError, ImageError, LabelStudioError
from captionloop.model.database import Project
from captionloop.model.dataset.images import content_hash, open_image
from captionloop.model.dataset.task_notes import note_of

# With SQLite, Label Studio may serve the same task to two people who ask at the same moment.
_ASKING: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
_MOST_ATTEMPTS = 3


class ConflictError(CaptionloopError):
    """Label Studio has something else by now, and nothing was written."""


@dataclass(frozen=True)
class CaptionTask:
    """A task as the screen shows it.

    Args:
        task: its id.
        picture: the hash of its file; None if it cannot be shown, and `problem` says why.
        suggestion: the model's caption; "" without one.
        prediction: its id in Label Studio.
        version: that suggested it.
        text: what the field begins with: the person's own draft, else the suggestion.
        draft: the id of the draft by which the task is put off.
        overlap: how many people shall caption it.
        note: what the person has said about it.
    """

    task: int
    picture: str | None
    problem: str
    suggestion: str
    prediction: int | None
    version: str
    text: str
    draft: int | None
    overlap: int
    note: str


@dataclass(frozen=True)
class Decision:
    """What a person decides about a task.

    Args:
        task, draft, prediction, suggestion, overlap: as in `CaptionTask`.
        unique_id: of the annotation to be: a UUID that the page makes.
        lead_time_s: how long the task was on the screen, in seconds.
    """

    task: int
    unique_id: str
    lead_time_s: float
    draft: int | None = None
    prediction: int | None = None
    suggestion: str = ""
    overlap: int = 1


@dataclass(frozen=True)
class Written:
    """An annotation of the person, as it is in Label Studio now.

    Args:
        annotation: its id.
        updated_at: by Label Studio's clock, as it writes it.
    """

    annotation: int
    updated_at: str


@dataclass(frozen=True)
class Captioning:
    """One person's work in one project.

    Args:
        studio: Label Studio as this person.
        person: the number of the account there.
        name: under which notes are kept.

    All methods raise a `LabelStudioError` when it does not answer or refuses.
    """

    room: Room
    project: Project
    studio: LabelStudio
    person: int
    name: str

    def next(self) -> CaptionTask | None:
        """The next task, put off in Label Studio so that the following call finds another one; None: there is none.

        When there are no more others, Label Studio serves again what was put off.
        """
        with _ASKING[self.project.id]:
            found = self._locked()
            if found is None:
                return None
            suggested = _suggestion(self._target, found)
            own = _own_draft(found)
            result = suggested["result"] if suggested else []
            draft = self.studio.postpone(found["id"], result, draft=own["id"] if own else None)
        return self._shown(found, own, draft=draft)

    def _locked(self) -> Json | None:
        """A task that is locked for this person. Of two who ask at once, Label Studio may leave one without a lock."""
        found = None
        for _ in range(_MOST_ATTEMPTS):
            found = self.studio.next_task(self.project.label_studio_id)
            if found is None or found.get("unique_lock_id", "not told") is not None:
                break
        return found

    def resume(self, tasks: Mapping[int, int | None]) -> list[CaptionTask]:
        """Those of some tasks that the person still has to caption.

        Args:
            tasks: their ids, with the drafts by which they were put off.
        """
        found = self.studio.tasks(self.project.label_studio_id, list(tasks))
        by_id = {task["id"]: task for task in found if not self._is_taken(task)}
        return [self._shown(by_id[number], None, draft=tasks[number]) for number in tasks if number in by_id]

    def _is_taken(self, task: Json) -> bool:
        people = {annotator_of(found) for found in task["annotations"] if not found.get("was_cancelled")}
        mine = any(annotator_of(found) == self.person for found in task["annotations"])
        return mine or len(people) >= int(task.get("overlap") or 1)

    def _shown(self, task: Json, own_draft: Json | None, *, draft: int | None) -> CaptionTask:
        suggested = _suggestion(self._target, task)
        suggestion = prediction_captions(self._target, suggested["result"])[0] if suggested else ""
        begun = prediction_captions(self._target, own_draft["result"]) if own_draft else []
        picture, problem = self._picture(task)
        with self.room.database.reading() as session:
            note = note_of(session, self.project.id, task["id"], self.name)
        return CaptionTask(
            task=task["id"],
            picture=picture,
            problem=problem,
            suggestion=suggestion,
            prediction=suggested["id"] if suggested else None,
            version=str(suggested.get("model_version") or "") if suggested else "",
            text=begun[0] if begun else suggestion,
            draft=draft,
            overlap=int(task.get("overlap") or 1),
            note=note,
        )

    def _picture(self, task: Json) -> tuple[str | None, str]:
        """The hash of a task's picture, kept for the page; or None, and why."""
        try:
            data = self.room.context.read_image(task_image(self._target, task["data"]), task["id"])
            picture = open_image(data, limits=self.room.context.image_limits)
        except ImageError as error:
            return None, str(error)
        sha256 = content_hash(data)
        keep_large(self.room, sha256, picture)
        return sha256, ""

    def keep(self, decided: Decision, text: str) -> Written:
        """Submit a caption.

        Raises:
            ConflictError: the person has written another one in Label Studio, or others have captioned the task.
        """
        if (mine := self._standing(decided)) is not None:
            return self._same(mine, text)
        item = _item(self._target, text, decided.suggestion)
        return self._create(decided, [item], was_cancelled=False)

    def skip(self, decided: Decision) -> Written:
        """Skip a task, as Label Studio's button does. Raises as `keep`."""
        if self._standing(decided) is not None:
            raise ConflictError(f"You have captioned task {decided.task} in Label Studio already.")
        return self._create(decided, [], was_cancelled=True)

    def _standing(self, decided: Decision) -> Json | None:
        """The person's own submitted annotation of a task, if any.

        Raises:
            ConflictError: there is none, and as many others have captioned it as shall.
        """
        standing = self._annotations(decided.task)
        mine = [found for found in standing if annotator_of(found) == self.person]
        if mine:
            return mine[-1]
        others = {annotator_of(found) for found in standing}
        if len(others) >= decided.overlap:
            raise ConflictError(f"Somebody else has captioned task {decided.task} meanwhile.")
        return None

    def _annotations(self, task: int) -> list[Json]:
        try:
            return self.studio.annotations(task)
        except LabelStudioError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise ConflictError(f"Task {task} is no longer in Label Studio.") from error
            raise

    def _same(self, mine: Json, text: str) -> Written:
        """An annotation that is there already, if it says the same."""
        if prediction_captions(self._target, mine["result"]) == [text]:
            return _written(mine)
        said = " / ".join(prediction_captions(self._target, mine["result"]))
        raise ConflictError(f"You have captioned task {mine.get('task')} in Label Studio already: {said!r}.")

    def _create(self, decided: Decision, result: Sequence[Json], *, was_cancelled: bool) -> Written:
        body = {
            "result": list(result),
            "was_cancelled": was_cancelled,
            "lead_time": decided.lead_time_s,
            "unique_id": decided.unique_id,
            "parent_prediction": decided.prediction,
            "draft_id": decided.draft,
        }
        try:
            return _written(self.studio.create_annotation(self.project.label_studio_id, decided.task, **body))
        except LabelStudioError as error:
            if error.status == HTTPStatus.CONFLICT:
                return self._stored_before(decided.task)
            # Label Studio refuses an annotation of a suggestion that is gone.
            if error.status == HTTPStatus.BAD_REQUEST and self._is_gone(decided.prediction):
                return self._create(replace(decided, prediction=None), result, was_cancelled=was_cancelled)
            raise

    def _is_gone(self, prediction: int | None) -> bool:
        try:
            return prediction is not None and not self.studio.prediction(prediction)
        except LabelStudioError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return True

    def _stored_before(self, task: int) -> Written:
        """The newest annotation of the person, where one with the same `unique_id` is there already."""
        found = self.studio.task(self.project.label_studio_id, task)["annotations"]
        return _written(max((one for one in found if annotator_of(one) == self.person), key=lambda one: int(one["id"])))

    def change(self, before: Written, text: str, *, lead_time_s: float, suggestion: str) -> Written:
        """Change the caption of an own annotation.

        Raises:
            ConflictError: it was changed or deleted since in Label Studio.
        """
        found = self._unchanged(before, unless=text)
        if found is None:
            return _written(self.studio.annotation(before.annotation))
        fields = {
            "result": [_item(self._target, text, suggestion)],
            "was_cancelled": False,
            "lead_time": float(found.get("lead_time") or 0) + lead_time_s,
        }
        return _written(self.studio.update_annotation(before.annotation, **fields))

    def take_back(self, before: Written) -> None:
        """Delete an own annotation, or the skip of a task. Idempotent. Raises as `change`."""
        try:
            self._unchanged(before)
        except LabelStudioError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return
            raise
        self.studio.delete_annotation(before.annotation)

    def _unchanged(self, before: Written, *, unless: str | None = None) -> Json | None:
        """An own annotation, if it is as it was; None if it has the text `unless` already."""
        found = self.studio.annotation(before.annotation)
        said = prediction_captions(self._target, found["result"])
        if annotator_of(found) != self.person:
            raise ConflictError(f"Annotation {before.annotation} is somebody else's.")
        if found["updated_at"] == before.updated_at:
            return found
        if unless is not None and said == [unless] and not found.get("was_cancelled"):
            return None
        raise ConflictError(f"It was changed in Label Studio meanwhile, where it now says {' / '.join(said)!r}.")

    @property
    def _target(self) -> CaptionTarget:
        return target_of(self.project)


def _suggestion(target: CaptionTarget, task: Json) -> Json | None:
    """The prediction that Label Studio shows: the newest with a caption."""
    usable = [
        found
        for found in task.get("predictions") or []
        if is_suggestion_for(target, found["result"]) and prediction_captions(target, found["result"])
    ]
    return max(usable, key=lambda found: int(found["id"]), default=None)


def _own_draft(task: Json) -> Json | None:
    """The person's newest draft of a task that belongs to no annotation. Label Studio gives only the person's own."""
    drafts = [found for found in task.get("drafts") or [] if found.get("annotation") is None]
    return max(drafts, key=lambda found: int(found["id"]), default=None)


def _item(target: CaptionTarget, text: str, suggestion: str) -> dict[str, Any]:
    changed = "prediction-changed" if suggestion else "manual"
    return caption_item(target, text) | {"origin": "prediction" if text == suggestion else changed}


def _written(annotation: Json) -> Written:
    return Written(int(annotation["id"]), str(annotation["updated_at"]))
