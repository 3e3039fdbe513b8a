"""How sure a comparison is, in words."""

import pytest

from captionloop.model.evaluation.certainty import odds, verdict


@pytest.mark.parametrize(
    ("probability", "said"),
    [
        (1.0, "better"),
        (0.975, "better"),
        (0.95, "probably better (19 in 20)"),
        (0.9, "probably better (9 in 10)"),
        (0.8, "probably better (4 in 5)"),
        (0.79, "too close to call"),
        (0.5, "too close to call"),
        (0.21, "too close to call"),
        (0.05, "probably worse (19 in 20)"),
        (0.0, "worse"),
    ],
)
def test_a_verdict_says_how_sure_it_is(probability: float, said: str) -> None:
    assert verdict(probability) == said


def test_odds_are_never_rounded_up() -> None:
    assert [odds(share) for share in (0.5, 0.74, 0.75, 0.949, 0.99)] == [
        "1 in 2", "2 in 3", "3 in 4", "9 in 10", "19 in 20",
    ]  # fmt: skip
