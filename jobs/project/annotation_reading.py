"""From an annotation in Label Studio to a correction, by the present label config and the stored correction.

The label config says which results are captions, and may have changed since the annotation was made. A caption that was
read from a text box stays when that box is gone, since nobody could have emptied it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from captionloop.backend.label_studio.annotations import (
    Annotation,
    clean_text,
    is_of_another_label_config,
    prediction_captions,
    read_annotation,
    read_captions,
)
from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.controls import Control, other_targets, reading_target
from captionloop.backend.label_studio.label_config import CaptionTarget, parse_label_config
from captionloop.model.active_learning.strategies import RANDOM_CLUSTER
from captionloop.model.database import Correction, CorrectionState, Project
from captionloop.model.dataset.corrections import CorrectionRecord
from captionloop.model.dataset.other_boxes import BoxText

WAS_WITHOUT_A_BOX = "was_without_a_box"
"""In `Project.synced_by`: since the last sync that could read, the label config had no box for captions at all."""

_WITH_CAPTIONS = frozenset({CorrectionState.ACTIVE, CorrectionState.IMAGE_UNREADABLE})


@dataclass(frozen=True)
class Found:
    """An annotation as read.

    Args:
        known: the stored correction.
        field: of the task's data, with the picture that the caption describes.
        is_of_before: whether the stored caption stays, since the label config has no box for it now.
        has_moved: whether its Image has shown another field of the task before.
    """

    record: CorrectionRecord
    known: Correction | None
    field: str
    is_of_before: bool = False
    has_moved: bool = False

    @property
    def picture(self) -> tuple[int, str]:
        """The task's id, and the field of its data."""
        return self.record.task_id, self.field

    @property
    def wants_image(self) -> bool:
        """Whether the picture must be read: there is a new caption to train on."""
        known = self.known
        if self.record.state is not CorrectionState.ACTIVE or self.is_of_before:
            return False
        if known is None or known.image_sha256 is None or known.state is not CorrectionState.ACTIVE:
            return True
        if self.has_moved and self.keeps_image and self.record.captions == known.captions:
            return False  # the caption was written of the picture that the Image showed then
        return known.updated_at < self.record.updated_at or not self.keeps_image

    @property
    def keeps_image(self) -> bool:
        """Whether the stored picture is that of the caption, and not that of another text box."""
        known = self.known
        if known is None or known.image_sha256 is None:
            return False
        return self.record.captions == known.captions or self.record.control == known.control


class AnnotationReader:
    """Reads the annotations of a project."""

    def __init__(self, project: Project, *, reads_all: bool) -> None:
        """
        Args:
            project: with the present label config.
            reads_all: whether to read unchanged annotations again.

        Raises:
            LabelConfigError: the label config has no text box for captions.
        """
        self._config = parse_label_config(project.label_config)
        self._control = Control.of(project)
        self._reads_all = reads_all
        self._was_without_a_box = bool(project.synced_by.get(WAS_WITHOUT_A_BOX))
        self.target = reading_target(project)
        self._others = other_targets(project) if self._config.box(self._control.name or "") else []
        # An item says which Image it describes, though that may have another name now, or no text box any more.
        before: dict[str, str] = project.synced_by.get("images", {})
        self._images: Mapping[str, str] = before | dict(self._config.images)
        moved = {name for name, field in before.items() if self._images[name] != field}
        self._moved = moved.union(project.synced_by.get("moved", ()))
        box = self._config.box(self._control.name or "")
        place = project.synced_by.get("target") if box is None else [box.from_name, box.to_name, box.image_field]
        self.goes_by: dict[str, Any] = {
            "names": [self.target.from_name, *self.target.earlier_names],
            "boxes": [[box.from_name, box.to_name, box.image_field] for box in self._config.boxes],
            "images": dict(self._images),
            "target": place,
        }
        """The boxes and pictures used for reading, for `Project.synced_by`; `target` is the suggestions' (last) box."""
        if self._moved:
            self.goes_by["moved"] = sorted(self._moved)
        if self._others:
            self.goes_by["others"] = [box.from_name for box in self._others]

    def read_boxes(self, task: Json) -> dict[int, list[BoxText]]:
        """What the annotations of a task have in other text boxes, by the annotation's id."""
        if not self._others:
            return {}
        predictions = {prediction["id"]: prediction for prediction in task["predictions"]}
        return {
            annotation["id"]: [
                _in_box(box, annotation, predictions.get(annotation.get("parent_prediction"))) for box in self._others
            ]
            for annotation in task["annotations"]
        }

    def read_task(
        self,
        task: Json,
        known: Mapping[int, Correction],
        *,
        suggested: Iterable[str],
        scores: Mapping[tuple[int, str], float],
        email_of: Callable[[Json], str | None],
    ) -> list[Found]:
        """Read all annotations of a task.

        Args:
            known: the stored corrections, by the annotation's id.
            suggested: all captions ever suggested for the task, also without a prediction in Label Studio.
            scores: raw scores, by task and version.
            email_of: an annotation → its annotator's address.
        """
        suggestions = _Suggestions(self.target, task, suggested)
        return [
            self._read(task["id"], annotation, known.get(annotation["id"]), suggestions, scores, email_of(annotation))
            for annotation in task["annotations"]
        ]

    def _read(
        self,
        task_id: int,
        annotation: Json,
        known: Correction | None,
        suggestions: "_Suggestions",
        scores: Mapping[tuple[int, str], float],
        email: str | None,
    ) -> Found:
        prediction = suggestions.predictions.get(annotation.get("parent_prediction"))
        texts = prediction_captions(self.target, prediction["result"]) if prediction else []
        read = read_annotation(self.target, annotation, texts or _without_a_prediction(known, suggestions))
        field = self._images.get(read.to_name or "", self.target.image_field)
        if known is not None and self._has_no_place_for(known, read, annotation.get("result")):
            return Found(_as_known(known, read), known, field, is_of_before=True)
        if known is not None and self._says_the_same(known, read):
            read = replace(read, captions=known.captions, control=known.control)
        suggestion = texts[0] if texts else known.suggestion if known is not None else None
        record = CorrectionRecord(
            annotation_id=read.id,
            task_id=task_id,
            state=_state(read),
            captions=read.captions,
            control=read.control,
            annotated_at=read.created_at,
            updated_at=read.updated_at,
            suggestion=suggestion if prediction else None,
            suggestion_version=prediction["model_version"] if prediction else None,
            suggestion_score=_score(task_id, prediction, scores) if prediction else None,
            parent_prediction=read.parent_prediction,
            asked_at_random=_asked_at_random(prediction) if prediction else None,
            origin=read.origin,
            annotator=email,
            lead_time_s=read.lead_time_s,
        )
        return Found(record, known, field, has_moved=read.to_name in self._moved)

    def _has_no_place_for(self, known: Correction, read: Annotation, result: Any) -> bool:
        """Whether a caption is missing because of the label config, and not because somebody emptied it."""
        if read.captions or read.skipped or known.state not in _WITH_CAPTIONS:
            return False
        control = known.control or self.target.from_name
        if control in self._control.rejected:
            return False
        if self._config.box(control) is None or self._was_without_a_box or read.updated_at == known.updated_at:
            return True
        if self._config.has_repeater:  # then there are names that only the browser knows
            return False
        return is_of_another_label_config(result, tags=self._config.tags, control=self.target.from_name)

    def _says_the_same(self, known: Correction, read: Annotation) -> bool:
        """Whether an annotation is unchanged, so that a changed `maxSubmissions` alone does not change its captions."""
        is_unchanged = read.updated_at == known.updated_at and read.control == known.control
        return is_unchanged and known.state in _WITH_CAPTIONS and not self._reads_all


class _Suggestions:
    """What was ever suggested for a task; gathered once, as a task may have many annotations."""

    def __init__(self, target: CaptionTarget, task: Json, suggested: Iterable[str]) -> None:
        self.predictions: dict[int | None, Json] = {prediction["id"]: prediction for prediction in task["predictions"]}
        self._target, self._suggested = target, suggested

    @cached_property
    def texts(self) -> frozenset[str]:
        results = [prediction["result"] for prediction in self.predictions.values()]
        predicted = (text for result in results for text in prediction_captions(self._target, result))
        return frozenset((*predicted, *map(clean_text, self._suggested)))


def _in_box(box: CaptionTarget, annotation: Json, prediction: Json | None) -> BoxText:
    suggested = prediction_captions(box, prediction["result"]) if prediction else []
    written = [] if annotation.get("was_cancelled") else read_captions(box, annotation.get("result"), suggested)
    return BoxText(box.from_name, written, suggested[0] if suggested else None)


def _without_a_prediction(known: Correction | None, suggestions: _Suggestions) -> Collection[str]:
    """What may have been suggested to the annotator, if the annotation names no prediction."""
    return [clean_text(known.suggestion)] if known is not None and known.suggestion else suggestions.texts


def _as_known(known: Correction, read: Annotation) -> CorrectionRecord:
    """The stored correction, with the time of the annotation's last change."""
    kept = {field.name: getattr(known, field.name) for field in fields(CorrectionRecord)}
    return CorrectionRecord(**kept | {"updated_at": read.updated_at})


def _asked_at_random(prediction: Json) -> bool | None:
    """Whether the prediction is a random pick of an annotation order; None without an order."""
    return None if prediction["cluster"] is None else prediction["cluster"] == RANDOM_CLUSTER


def _score(task_id: int, prediction: Json, scores: Mapping[tuple[int, str], float]) -> float | None:
    score: float | None = scores.get((task_id, prediction["model_version"]), prediction["score"])
    return score


def _state(annotation: Annotation) -> CorrectionState:
    if annotation.skipped:
        return CorrectionState.SKIPPED
    return CorrectionState.ACTIVE if annotation.captions else CorrectionState.EMPTIED
