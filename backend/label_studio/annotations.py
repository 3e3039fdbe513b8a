"""Label Studio's JSON for predictions (suggestions) and annotations (corrections).

Used by the protocol (`backend`) and by the sync (`jobs`).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from captionloop.backend.label_studio.label_config import CaptionTarget

# These are invisible, or rejected by PostgreSQL (NUL) or UTF-8 (lone surrogates).
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
# What the value of an item about a region has beside its text: of boxes, ellipses and points; polygons; brushes; paths.
_GEOMETRY = frozenset({"x", "points", "rle", "vertices"})


@dataclass(frozen=True)
class Annotation:
    """The captions of an annotation, with their origin."""

    id: int
    captions: list[str]
    control: str | None  # the TextArea that they came out of
    to_name: str | None  # the Image that they describe
    skipped: bool
    origin: str | None  # prediction, prediction-changed or manual
    parent_prediction: int | None
    completed_by: int | None  # a user's id
    lead_time_s: float | None
    created_at: datetime
    updated_at: datetime


def to_prediction(
    target: CaptionTarget,
    caption: str,
    score: float,
    model_version: str,
    others: Sequence[tuple[CaptionTarget, str]] = (),
) -> dict[str, Any]:
    """A suggestion as Label Studio stores it.

    Args:
        others: other text boxes, and what is suggested in them.
        score: 0 to 1; Label Studio's uncertainty sampling serves the lowest first.
        model_version: what Label Studio compares with its own to decide whether to ask again.
    """
    items = [caption_item(box, text) for box, text in ((target, caption), *others)]
    return {"result": items, "score": score, "model_version": model_version}


def caption_item(target: CaptionTarget, caption: str) -> dict[str, Any]:
    """A caption as an item of a prediction's or an annotation's `result`."""
    # The text comes first: in its list of tasks Label Studio shows the beginning of this.
    item: dict[str, Any] = {
        "value": {"text": [caption]},
        "type": "textarea",
        "from_name": target.from_name,
        "to_name": target.to_name,
    }
    if target.per_item:
        item["item_index"] = 0
    return item


def with_other_texts(result: Any, *, control: str, texts: Mapping[str, str]) -> list[Any] | None:
    """An annotation's `result` with some captions exchanged; all else in it stays.

    Args:
        control: the name of the box that they are in.
        texts: of each caption, as `read_captions` reads it, the other one.

    Returns:
        None where one of them is no longer there.
    """
    left, changed = set(texts), []
    for item in result if isinstance(result, list) else []:
        if not isinstance(item, Mapping) or item.get("from_name") != control:
            changed.append(item)
            continue
        before = _texts_of(control, item)
        found = {clean_text(text.text) for text in before} & texts.keys()
        left -= found
        changed.append(_with_texts(item, texts) if found else item)
    return None if left else changed


def _with_texts(item: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    value = item["value"]
    given = [value["text"]] if isinstance(value["text"], str) else value["text"]
    made = [texts.get(clean_text(text), text) if isinstance(text, str) else text for text in given]
    origin = "prediction-changed" if item.get("origin") == "prediction" else item.get("origin", "manual")
    return {**item, "value": {**value, "text": made}, "origin": origin}


def empty_prediction(model_version: str, reason: str) -> dict[str, Any]:
    """The entry of a task without a suggestion: Label Studio requires one entry per task, and stores it as empty.

    Label Studio drops `reason`, which is for people who inspect the response.
    """
    return {"result": [], "score": 0.0, "model_version": model_version, "reason": reason}


def unstored_prediction(model_version: str, reason: str = "") -> dict[str, Any]:
    """The entry of a task without a suggestion yet: without `result` Label Studio stores nothing, and asks again."""
    return {"score": 0.0, "model_version": model_version} | ({"reason": reason} if reason else {})


def is_suggestion_for(target: CaptionTarget, result: Any) -> bool:
    """Whether a prediction's result is for this text box and picture, and so is displayed."""
    place = (target.from_name, target.to_name)
    items = result if isinstance(result, list) else []
    return any(isinstance(item, Mapping) and (item.get("from_name"), item.get("to_name")) == place for item in items)


def prediction_captions(target: CaptionTarget, result: Any) -> list[str]:
    """The texts of a prediction's result."""
    return _without_repeats(text.text for text in _texts(target, result))


def read_captions(target: CaptionTarget, result: Any, suggestions: Collection[str] = ()) -> list[str]:
    """The captions in an annotation's result.

    Captions are stripped, and white space in them (such as a new line) is collapsed to one space; empty texts and
    repetitions are dropped. Results of other controls are ignored.

    With `maxSubmissions="1"`, a text equal to a suggestion counts only if it is the only one: the person accepted it.
    With a larger value every text counts. Without the attribute, an annotator who types a caption may leave the
    suggestion as a second text without noticing: beside one other text it does not count, beside several it does.

    Args:
        result: the annotation's `result` in Label Studio's JSON.
        suggestions: the texts that were suggested for the task, as `clean_text` makes them.
    """
    written = _without_repeats(text.text for text in _texts(target, result))
    typed = [text for text in written if text not in suggestions]
    most = target.max_submissions
    is_one_wanted = len(typed) == 1 if most is None else most == 1
    return typed if typed and is_one_wanted else written


def read_origin(target: CaptionTarget, result: Any) -> str | None:
    """The caption's origin in Label Studio's terms: `prediction`, `prediction-changed` or `manual`.

    Of several texts the most human origin counts.
    """
    origins = {text.origin for text in _texts(target, result)}
    return next((origin for origin in ("prediction-changed", "manual", "prediction") if origin in origins), None)


def read_annotation(
    target: CaptionTarget, annotation: Mapping[str, Any], suggestions: Collection[str] = ()
) -> Annotation:
    """Parse an annotation; `suggestions` as in `read_captions`."""
    result = annotation.get("result")
    text = next(iter(_texts(target, result)), None)
    return Annotation(
        id=annotation["id"],
        captions=read_captions(target, result, suggestions),
        control=text.control if text else None,
        to_name=text.to_name if text else None,
        skipped=bool(annotation.get("was_cancelled")),
        origin=read_origin(target, result),
        parent_prediction=annotation.get("parent_prediction"),
        completed_by=annotator_of(annotation),
        lead_time_s=annotation.get("lead_time"),
        created_at=read_moment(annotation["created_at"]),
        updated_at=read_moment(annotation["updated_at"]),
    )


def annotator_of(annotation: Mapping[str, Any]) -> int | None:
    """The id of the user who submitted an annotation."""
    # A number in lists of tasks, an object where one task is opened.
    found = annotation.get("completed_by")
    user: int | None = found.get("id") if isinstance(found, Mapping) else found
    return user


def read_moment(text: str) -> datetime:
    """Parse Label Studio's datetime."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def clean_text(text: str) -> str:
    """One stripped line, without control characters and lone surrogates."""
    return " ".join(_UNPRINTABLE.sub("", text).split())


def is_of_another_label_config(result: Any, *, tags: Mapping[str, str], control: str) -> bool:
    """Whether an annotation was last saved while the label config was another one than now.

    Then it holds an item of a tag that there is no more, or what stands under the control's name is no text of a whole
    picture: it was for regions, or of another type.

    Args:
        tags: what each tag of the present label config is, by name.
        control: the name of the present box for captions.
    """
    items = [item for item in result if isinstance(item, Mapping)] if isinstance(result, list) else []
    named = [(name, item) for item in items if (name := _text(item.get("from_name"))) is not None]
    return any(name not in tags or (name == control and not _is_text_of_whole_picture(item)) for name, item in named)


def _is_text_of_whole_picture(item: Mapping[str, Any]) -> bool:
    value = item.get("value")
    return isinstance(value, Mapping) and "text" in value and _describes_whole_picture(item, value)


@dataclass(frozen=True)
class _Text:
    text: str
    control: str
    to_name: str | None
    origin: str | None


def _texts(target: CaptionTarget, result: Any) -> list[_Text]:
    """The non-empty texts of the target's control; where it has none, those under the latest of its earlier names."""
    items = [item for item in result if isinstance(item, Mapping)] if isinstance(result, list) else []
    for name in (target.from_name, *target.earlier_names):
        if found := [text for item in items if item.get("from_name") == name for text in _texts_of(name, item)]:
            return found
    return []


def _texts_of(control: str, item: Mapping[str, Any]) -> Iterator[_Text]:
    value = item.get("value")
    if not isinstance(value, Mapping) or not _describes_whole_picture(item, value):
        return
    texts = value.get("text")
    for text in [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else ():
        if isinstance(text, str) and clean_text(text):
            # Whoever imports an annotation may write into its items what they like.
            yield _Text(clean_text(text), control, _text(item.get("to_name")), _text(item.get("origin")))


def _describes_whole_picture(item: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Whether the item is not about a region, nor about another than the first image of a list.

    A control may have been for regions before it was for the picture; and only one with a text for each image of a list
    says which image an item is about.
    """
    return item.get("item_index") in (None, 0) and value.keys().isdisjoint(_GEOMETRY)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _without_repeats(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
