"""A validation: the score with how sure it is, all figures, and samples that stay the same."""

import json
from pathlib import Path

import pytest

from captionloop.model.metrics import evaluate_captions
from captionloop.model.training.validation import SAMPLES, ValidationResult

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "golden.json").read_text(encoding="utf-8"))


def validation(images: int) -> ValidationResult:
    captions = dict(list(GOLDEN["captions"].items())[:images])
    return ValidationResult.of({image: GOLDEN["references"][image] for image in captions}, captions)


def test_the_score_is_cider_d_and_bleu_4_as_blip_chooses() -> None:
    result = validation(20)
    assert result.score.value == pytest.approx(result.metrics["cider_d"] + result.metrics["bleu_4"])
    low, high = result.score.interval
    assert low < result.score.value < high
    assert (result.metrics["score"], result.metrics["score_low"], result.metrics["score_high"]) == (
        result.score.value,
        low,
        high,
    )


def test_every_figure_of_an_evaluation_is_there() -> None:
    captions = dict(list(GOLDEN["captions"].items())[:20])
    found = evaluate_captions({image: GOLDEN["references"][image] for image in captions}, captions)
    assert validation(20).metrics.items() >= found.to_dict().items()


def test_fewer_images_are_less_sure() -> None:
    few, many = validation(8).score.interval, validation(40).score.interval
    assert few[1] - few[0] > 1.3 * (many[1] - many[0])


def test_what_is_said_names_the_interval_and_the_number_of_images() -> None:
    result = validation(8)
    low, high = result.score.interval
    value = result.score.value
    assert str(result) == f"CIDEr-D + BLEU-4 {value:.2f}, 95 % interval {low:.2f} to {high:.2f}, on 8 images"


def test_a_single_image_is_not_taken_for_certainty() -> None:
    assert "on a single image, which says next to nothing" in str(validation(1))


@pytest.mark.parametrize(("images", "shown"), [(3, 3), (20, SAMPLES)])
def test_the_first_images_are_the_samples(images: int, shown: int) -> None:
    result = validation(images)
    assert [sample.image for sample in result.samples] == list(GOLDEN["captions"])[:shown]
    assert result.samples[0].references == GOLDEN["references"][result.samples[0].image]
