import math

import pytest

from captionloop.model.captioner import Beam, Suggestion
from captionloop.model.confidence import confidence_of, words_apart


def beam(caption: str, *probabilities: float) -> Beam:
    ids = tuple(range(1 + len(probabilities)))
    score = sum(probabilities) / len(probabilities)
    return Beam(ids, Suggestion(caption, score), tuple(math.log(value) for value in probabilities))


def test_the_log_probability_is_the_mean_over_the_served_captions_tokens() -> None:
    found = confidence_of([beam("a red car", 0.5, 1.0, 0.25), beam("a red boat", 0.9, 0.9, 0.9)])

    assert math.exp(found.log_probability) == pytest.approx((0.5 * 0.25) ** (1 / 3))


def test_equally_likely_captions_have_the_highest_entropy() -> None:
    found = confidence_of([beam("a red car", 0.5, 0.5), beam("a red boat", 0.25, 1.0), beam("a car", 0.25)])

    assert found.entropy == pytest.approx(math.log(3))


def test_a_caption_that_all_but_fills_the_search_has_next_to_no_entropy() -> None:
    found = confidence_of([beam("a red car", 0.99), beam("a red boat", 1e-6)])

    assert found.entropy == pytest.approx(0, abs=1e-4)


def test_a_single_beam_has_no_entropy_and_no_disagreement() -> None:
    found = confidence_of([beam("a red car", 0.1, 0.2)])

    assert (found.entropy, found.disagreement) == (0, 0)


def test_captions_too_unlikely_for_a_float_are_weighed_all_the_same() -> None:
    unlikely = [1e-200, 1e-200, 1e-200]

    found = confidence_of([beam("a red car", *unlikely), beam("a red boat", *unlikely)])

    assert found.entropy == pytest.approx(math.log(2))


def test_disagreement_is_the_expected_share_of_other_words() -> None:
    found = confidence_of([beam("a red car", 0.5), beam("a red boat", 0.25), beam("the blue boat", 0.25)])

    assert found.disagreement == pytest.approx(0.25 * 1 / 3 + 0.25 * 3 / 3)


@pytest.mark.parametrize(
    ("caption", "other", "share"),
    [
        ("a red car", "a red car", 0),
        ("A red  car", "a red car", 0),
        ("a red car", "a red car on grass", 2 / 5),
        ("a red car", "two boats", 1),
        ("", "", 0),
        ("", "a car", 1),
    ],
)
def test_captions_are_apart_by_their_share_of_different_words(caption: str, other: str, share: float) -> None:
    assert words_apart(caption, other) == pytest.approx(share)
