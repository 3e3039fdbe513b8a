"""What is sent to Label Studio as a suggestion, and which words of an annotation are a person's caption."""

from datetime import UTC, datetime
from typing import Any

import pytest

from captionloop.backend.label_studio.annotations import (
    empty_prediction,
    prediction_captions,
    read_annotation,
    read_captions,
    read_moment,
    read_origin,
    to_prediction,
)
from captionloop.backend.label_studio.label_config import CaptionTarget

TARGET = CaptionTarget("caption", "image", "image", max_submissions=1)


def item(*texts: str, **more: Any) -> dict[str, Any]:
    return {"from_name": "caption", "to_name": "image", "type": "textarea", "value": {"text": list(texts)}} | more


def test_a_suggestion_carries_caption_score_and_version() -> None:
    assert to_prediction(TARGET, "a red circle", 0.42, "v1") == {
        "result": [
            {"from_name": "caption", "to_name": "image", "type": "textarea", "value": {"text": ["a red circle"]}}
        ],
        "score": 0.42,
        "model_version": "v1",
    }


def test_a_suggestion_reads_back_as_its_caption() -> None:
    assert prediction_captions(TARGET, to_prediction(TARGET, "a red circle", 0.4, "v1")["result"]) == ["a red circle"]


def test_a_suggestion_for_an_image_list_is_for_its_first_image() -> None:
    target = CaptionTarget("caption", "pages", "pages", per_item=True)
    assert to_prediction(target, "a cat", 0.4, "v1")["result"][0]["item_index"] == 0


def test_a_task_without_suggestion_still_has_its_entry() -> None:
    entry = empty_prediction("v1", "The image is gone.")
    assert (entry["result"], entry["score"], entry["model_version"]) == ([], 0.0, "v1")


@pytest.mark.parametrize(
    ("result", "captions"),
    [
        pytest.param([item("a dark square")], ["a dark square"], id="typed"),
        pytest.param([item("  a dark square \n")], ["a dark square"], id="white space around it"),
        pytest.param([item("a dark\nsquare,\r\n  tilted")], ["a dark square, tilted"], id="new lines become spaces"),
        pytest.param([item("a cat", "a small cat")], ["a cat", "a small cat"], id="several captions"),
        pytest.param([item("a cat"), item("a small cat")], ["a cat", "a small cat"], id="in several items"),
        pytest.param([item("a cat", " a cat ")], ["a cat"], id="one caption twice"),
        pytest.param([item("", "  \n", "a cat")], ["a cat"], id="empty ones dropped"),
        pytest.param([item("")], [], id="emptied"),
        pytest.param([], [], id="nothing submitted"),
        pytest.param(None, [], id="no result at all"),
        pytest.param([item("a\x00 cat\ud800")], ["a cat"], id="characters that no database takes"),
        pytest.param([item("gato \u202bقطة\u202c 🐈")], ["gato \u202bقطة\u202c 🐈"], id="any writing, kept"),
        pytest.param([{**item(), "value": {"text": "a cat"}}], ["a cat"], id="a text instead of a list"),
        pytest.param([item("note", from_name="note"), item("a cat")], ["a cat"], id="other controls ignored"),
        pytest.param(
            [{"type": "choices", "from_name": "k", "value": {"choices": ["x"]}}, {"type": "relation"}, item("a cat")],
            ["a cat"],
            id="choices and relations ignored",
        ),
        pytest.param([item("first", item_index=0), item("second", item_index=1)], ["first"], id="first of a list"),
        pytest.param([7, {"from_name": "caption", "value": 7}, item("a cat")], ["a cat"], id="nonsense skipped"),
    ],
)
def test_captions_are_what_the_person_wrote(result: Any, captions: list[str]) -> None:
    assert read_captions(TARGET, result) == captions


@pytest.mark.parametrize(
    ("texts", "captions"),
    [
        pytest.param(["the suggestion", "typed"], ["typed"], id="left standing before it"),
        pytest.param(["typed", "the suggestion"], ["typed"], id="left standing behind it"),
        pytest.param(["the  suggestion ", "typed"], ["typed"], id="spaced otherwise"),
        pytest.param(["the suggestion", "typed", "more"], ["typed", "more"], id="beside two"),
        pytest.param(["the suggestion"], ["the suggestion"], id="accepted unchanged"),
        pytest.param(["the suggestion", "the suggestion"], ["the suggestion"], id="typed once more"),
        pytest.param(["the suggestion!"], ["the suggestion!"], id="changed a little"),
    ],
)
def test_a_suggestion_left_standing_is_not_the_persons_caption(texts: list[str], captions: list[str]) -> None:
    result = [item(*texts, origin="prediction-changed")]
    assert read_captions(TARGET, result, ["the suggestion"]) == captions


@pytest.mark.parametrize(
    ("most", "texts", "captions"),
    [
        pytest.param(3, ["the suggestion", "a", "b"], ["the suggestion", "a", "b"], id="three wanted, three left"),
        pytest.param(2, ["the suggestion", "a"], ["the suggestion", "a"], id="two wanted, two left"),
        pytest.param(3, ["the suggestion"], ["the suggestion"], id="three wanted, the suggestion accepted"),
        pytest.param(None, ["the suggestion", "a", "b"], ["the suggestion", "a", "b"], id="any number, two added"),
        pytest.param(None, ["the suggestion", "a"], ["a"], id="any number, one typed instead"),
        pytest.param(1, ["the suggestion", "a", "b"], ["a", "b"], id="only one wanted by now"),
    ],
)
def test_a_suggestion_that_is_kept_counts_where_several_captions_are_wanted(
    most: int | None, texts: list[str], captions: list[str]
) -> None:
    target = CaptionTarget("caption", "image", "image", max_submissions=most)
    assert read_captions(target, [item(*texts, origin="prediction-changed")], ["the suggestion"]) == captions


@pytest.mark.parametrize(
    ("items", "captions"),
    [
        pytest.param([item("old", from_name="text"), item("new")], ["new"], id="the present name first"),
        pytest.param([item("older", from_name="words"), item("old", from_name="text")], ["old"], id="the latest name"),
        pytest.param([item(" "), item("older", from_name="words")], ["older"], id="an empty text is none"),
        pytest.param([item("a remark", from_name="remarks")], [], id="another name"),
    ],
)
def test_texts_under_an_earlier_name_count_where_there_are_none_under_the_present_one(
    items: list[dict[str, Any]], captions: list[str]
) -> None:
    target = CaptionTarget("caption", "image", "image", earlier_names=("text", "words"))
    assert read_captions(target, items) == captions
    assert prediction_captions(target, items) == captions


@pytest.mark.parametrize(
    "geometry",
    [
        {"x": 10, "y": 10, "width": 5, "height": 5, "rotation": 0},
        {"points": [[1, 1], [2, 2]], "closed": True},
        {"format": "rle", "rle": [1, 2, 3]},
        {"vertices": [{"x": 1, "y": 1}], "closed": False},
    ],
)
def test_a_text_about_a_region_is_no_caption_of_the_picture(geometry: dict[str, Any]) -> None:
    region = item("the ear of the cat")
    region["value"] |= geometry
    assert read_captions(TARGET, [region, item("a cat")]) == ["a cat"]


@pytest.mark.parametrize(
    ("origins", "origin"),
    [
        (["prediction"], "prediction"),
        (["manual"], "manual"),
        (["prediction", "manual"], "manual"),
        (["prediction", "prediction-changed"], "prediction-changed"),
        ([None], None),
        ([], None),
    ],
)
def test_the_origin_is_label_studios_word(origins: list[str | None], origin: str | None) -> None:
    result = [item(f"text {number}", origin=word) for number, word in enumerate(origins)]
    assert read_origin(TARGET, result) == origin


ANNOTATION: dict[str, Any] = {
    "id": 8,
    "completed_by": 3,
    "result": [item("a cat", origin="prediction-changed")],
    "was_cancelled": False,
    "created_at": "2026-11-23T09:01:01.210963Z",
    "updated_at": "2026-11-23T09:01:02Z",
    "lead_time": 3.2,
    "parent_prediction": 5,
}


def test_an_annotation_is_read_whole() -> None:
    read = read_annotation(TARGET, ANNOTATION)
    assert (read.id, read.captions, read.skipped, read.origin) == (8, ["a cat"], False, "prediction-changed")
    assert (read.control, read.to_name) == ("caption", "image")
    assert (read.parent_prediction, read.completed_by, read.lead_time_s) == (5, 3, 3.2)
    assert read.updated_at == datetime(2026, 11, 23, 9, 1, 2, tzinfo=UTC)


def test_a_skip_is_an_annotation_that_says_so() -> None:
    assert read_annotation(TARGET, ANNOTATION | {"was_cancelled": True, "result": []}).skipped


def test_the_annotator_may_be_given_as_an_object() -> None:
    assert read_annotation(TARGET, ANNOTATION | {"completed_by": {"id": 4, "email": "a@test"}}).completed_by == 4


def test_a_moment_always_has_a_time_zone() -> None:
    assert read_moment("2026-11-23T09:01:01.210963Z").tzinfo is not None
    assert read_moment("2026-11-23T10:01:01+01:00") == read_moment("2026-11-23T09:01:01")
