"""Every template of Label Studio's gallery gives a place for captions, or a sentence that says why it has none."""

import json
from pathlib import Path

import pytest

from captionloop.backend.label_studio.annotations import prediction_captions, to_prediction
from captionloop.backend.label_studio.label_config import CaptionTarget, read_label_config, task_image
from captionloop.errors import LabelConfigError

TEMPLATES: dict[str, str] = json.loads(
    (Path(__file__).parents[2] / "data" / "label-studio-templates.json").read_text(encoding="utf-8")
)["templates"]
USABLE = {
    "computer-vision/image-captioning": CaptionTarget("caption", "image", "captioning", max_submissions=1),
    # Four views of a patient; the radiologist's notes belong to the first.
    "community-contributions/breast-cancer-mammogram-classification": CaptionTarget("notes", "left_cc", "img1"),
}
WITH_IMAGE_AND_TEXT = {
    "community-contributions/ocr-invoices-pre-ner-bio-format",
    "computer-vision/optical-character-recognition",
    "computer-vision/visual-question-answering",
}


@pytest.mark.parametrize("name", USABLE)
def test_a_template_for_captions_is_usable_as_it_is(name: str) -> None:
    target = read_label_config(TEMPLATES[name])

    assert target == USABLE[name]
    prediction = to_prediction(target, "a cat", 0.5, "v1")
    assert prediction_captions(target, prediction["result"]) == ["a cat"]
    assert task_image(target, {target.image_field: "http://x/y.png"}) == "http://x/y.png"


@pytest.mark.parametrize("name", sorted(TEMPLATES.keys() - USABLE.keys()))
def test_another_template_is_refused_with_what_it_lacks(name: str) -> None:
    with pytest.raises(LabelConfigError) as caught:
        read_label_config(TEMPLATES[name])

    said = str(caught.value)
    lacks = "none of its TextAreas describes a whole Image" if name in WITH_IMAGE_AND_TEXT else "it has no "
    assert lacks in said
    assert '<TextArea name="caption" toName="image"/>' in said


def test_the_gallery_is_whole() -> None:
    assert len(TEMPLATES) == 69
