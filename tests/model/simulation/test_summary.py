import math

import pytest

from captionloop.model.simulation.rounds import Point, same_words
from captionloop.model.simulation.summary import gains, mean_over_seeds, stages


def point(strategy: str, seed: int, number: int, unchanged: float) -> Point:
    return Point(strategy, seed, number, 20 * number, 100 * number, unchanged, 10 * unchanged, None)


POINTS = [
    point(strategy, seed, number, value + seed / 10 if number else 0.0)
    for strategy, value in (("random", 0.2), ("uncertainty", 0.5), (same_words("uncertainty"), 0.4))
    for seed in (0, 1, 2)
    for number in (0, 1)
]


def test_stages_are_means_over_seeds() -> None:
    found = {(stage.strategy, stage.round): stage for stage in stages(POINTS)}

    assert found["uncertainty", 1].unchanged.value == pytest.approx(0.6)
    assert found["uncertainty", 1].corrections == 20
    assert found["uncertainty", 1].asked_unchanged is None


def test_the_interval_is_students() -> None:
    found = mean_over_seeds([1.0, 2.0, 3.0])

    # 4.3027 is the 97.5 % quantile of Student's t with 2 degrees of freedom.
    assert found.high - found.value == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)


def test_a_single_seed_says_nothing_about_chance() -> None:
    assert math.isinf(mean_over_seeds([0.5]).high)


def test_gains_are_taken_seed_by_seed() -> None:
    found = {(gain.strategy, gain.against): gain.unchanged for gain in gains(POINTS)}

    assert found.keys() == {("uncertainty", "random"), ("uncertainty", same_words("uncertainty"))}
    assert found["uncertainty", "random"].value == pytest.approx(0.3)
    assert found["uncertainty", "random"].low == pytest.approx(0.3)


def test_without_random_picks_nothing_is_gained_over_them() -> None:
    assert gains([found for found in POINTS if found.strategy == "uncertainty"]) == []
