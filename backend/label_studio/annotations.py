"""Label Studio's JSON for predictions and annotations: what is sent as a suggestion, and what a person made of it.

The one place that knows it. Both the protocol (`backend`) and the sync (`jobs`) go through here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from captionloop.backend.label_studio.label_config import CaptionTarget

# Left to themselves these are invisible, break PostgreSQL (NUL) or UTF-8 (halves of surrogate pairs), or both.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Annotation:
    """What a person submitted for a task, as far as captions are concerned."""

    id: int
    captions: list[str]
    skipped: bool
    origin: str | None  # prediction, prediction-changed or manual
    parent_prediction: int | None
    completed_by: int | None  # a user's id
    lead_time_s: float | None
    created_at: datetime
    updated_at: datetime


def to_prediction(target: CaptionTarget, caption: str, score: float, model_version: str) -> dict[str, Any]:
    """A suggestion as Label Studio stores it.

    Args:
        score: 0 to 1; Label Studio's uncertainty sampling serves the lowest first.
        model_version: what Label Studio compares with its own to decide whether to ask again.
    """
    return {"result": [caption_item(target, caption)], "score": score, "model_version": model_version}


def caption_item(target: CaptionTarget, caption: str) -> dict[str, Any]:
    """A caption as an item of a prediction's or an annotation's `result`."""
    item: dict[str, Any] = {
        "from_name": target.from_name,
        "to_name": target.to_name,
        "type": "textarea",
        "value": {"text": [caption]},
    }
    if target.per_item:
        item["item_index"] = 0
    return item


def empty_prediction(model_version: str, reason: str) -> dict[str, Any]:
    """The entry of a task that has no suggestion. Label Studio counts entries, so the task needs one all the same.

    Label Studio drops `reason`; it is there for people who look at the answer itself.
    """
    return {"result": [], "score": 0.0, "model_version": model_version, "reason": reason}


def late_prediction(model_version: str) -> dict[str, Any]:
    """The entry of a task that was not come to in time. Without a result Label Studio stores none, and asks again."""
    return {"score": 0.0, "model_version": model_version}


def prediction_captions(target: CaptionTarget, result: Any) -> list[str]:
    """The texts of a prediction's result."""
    return _without_repeats(text for text, _ in _texts(target, result))


def read_captions(target: CaptionTarget, result: Any, suggestions: Iterable[str] = ()) -> list[str]:
    """What the person wrote, out of an annotation's result.

    White space around a caption goes, and runs of it within (a new line, for one) become one space; texts without a
    letter left are dropped, and so are repetitions. Other controls' results are not looked at.

    Without `maxSubmissions="1"`, an annotator who types a caption leaves the suggestion standing as another text. So a
    text equal to a suggestion only counts when it is all there is: then the person accepted it.

    Args:
        result: the annotation's `result`, as Label Studio gives it.
        suggestions: the texts that were suggested for the task.
    """
    written = _without_repeats(text for text, _ in _texts(target, result))
    suggested = {clean_text(suggestion) for suggestion in suggestions}
    return [text for text in written if text not in suggested] or written


def read_origin(target: CaptionTarget, result: Any) -> str | None:
    """How the caption came to be, in Label Studio's words: `prediction`, `prediction-changed` or `manual`.

    Of several texts the most human one speaks for all of them.
    """
    origins = {origin for _, origin in _texts(target, result)}
    return next((origin for origin in ("prediction-changed", "manual", "prediction") if origin in origins), None)


def read_annotation(
    target: CaptionTarget, annotation: Mapping[str, Any], suggestions: Iterable[str] = ()
) -> Annotation:
    """An annotation out of Label Studio's JSON; `suggestions` as in `read_captions`."""
    result = annotation.get("result")
    completed_by = annotation.get("completed_by")
    return Annotation(
        id=annotation["id"],
        captions=read_captions(target, result, suggestions),
        skipped=bool(annotation.get("was_cancelled")),
        origin=read_origin(target, result),
        parent_prediction=annotation.get("parent_prediction"),
        # A number in lists of tasks, an object where one task is opened.
        completed_by=completed_by.get("id") if isinstance(completed_by, Mapping) else completed_by,
        lead_time_s=annotation.get("lead_time"),
        created_at=read_moment(annotation["created_at"]),
        updated_at=read_moment(annotation["updated_at"]),
    )


def read_moment(text: str) -> datetime:
    """A moment as Label Studio writes it."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def clean_text(text: str) -> str:
    """One line without white space around it and without what cannot be shown or stored."""
    return " ".join(_UNPRINTABLE.sub("", text).split())


def _texts(target: CaptionTarget, result: Any) -> Iterator[tuple[str, str | None]]:
    """Each non-empty text of the target's control with the origin of its item."""
    for item in result if isinstance(result, list) else ():
        if not isinstance(item, Mapping) or not _is_ours(target, item):
            continue
        value = item.get("value")
        texts = value.get("text") if isinstance(value, Mapping) else None
        for text in [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else ():
            if isinstance(text, str) and clean_text(text):
                origin = item.get("origin")  # whoever imports an annotation may write there what they like
                yield clean_text(text), origin if isinstance(origin, str) else None


def _is_ours(target: CaptionTarget, item: Mapping[str, Any]) -> bool:
    # Only a TextArea with a text for each image of a list says which image an item is about.
    return item.get("from_name") == target.from_name and item.get("item_index") in (None, 0)


def _without_repeats(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
