import math

import pytest

from captionloop.model.captioning.captioner import Beam, ScoredCaption
from captionloop.model.metrics import DocumentFrequencies
from captionloop.model.simulation.confidence import SIGNALS, Background, confidence_of, consensus, words_apart

NOTHING_YET = DocumentFrequencies.of([])


def beam(caption: str, *probabilities: float) -> Beam:
    ids = tuple(range(1 + len(probabilities)))
    score = sum(probabilities) / len(probabilities)
    return Beam(ids, ScoredCaption(caption, score), tuple(math.log(value) for value in probabilities))


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


def test_consensus_is_full_where_all_captions_are_the_same_or_there_is_only_one() -> None:
    alike = [beam("a red car on grass", 0.5), beam("A red car on grass.", 0.4)]

    assert consensus(alike, NOTHING_YET) == pytest.approx(10)
    assert consensus(alike[:1], NOTHING_YET) == 10


def test_consensus_is_that_of_the_caption_that_is_served() -> None:
    two_cars = [beam("a red car on grass", 0.5), beam("a red car on sand", 0.4), beam("two boats", 0.1)]

    with_the_others = consensus(two_cars, NOTHING_YET)

    assert with_the_others > consensus(two_cars[::-1], NOTHING_YET) == 0


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_every_signal_is_lower_where_the_search_is_in_doubt(signal: str) -> None:
    background = Background(NOTHING_YET, previous="a red car on grass")
    sure = [beam("a red car on grass", *[0.99] * 5), beam("a red car on grass .", *[1e-6] * 5)]
    doubtful = [beam("a blue boat at night", *[0.3] * 5), beam("two red cars", *[0.3] * 5)]

    low, high = (SIGNALS[signal](beams, background) for beams in (doubtful, sure))

    assert 0 <= low < high <= 1 + 1e-9


def test_without_a_version_before_there_is_nothing_to_differ_from() -> None:
    assert SIGNALS["previous_version"]([beam("a red car", 0.5)], Background(NOTHING_YET)) == 1


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
