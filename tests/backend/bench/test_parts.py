"""Results of the benchmark from its turns."""

import pytest

from captionloop.backend.bench.parts import Result
from captionloop.backend.bench.turns import Turn

OURS = [Turn(8, 1.0), Turn(8, 2.0), Turn(8, 0.5)]
PLAIN = [Turn(1, 1.0), Turn(1, 1.0), Turn(1, 2.0)]


def test_the_ratio_is_that_of_the_median_rates_whatever_the_amounts() -> None:
    assert Result("bulk", OURS, PLAIN).ratio == 8.0


def test_the_spread_is_the_lowest_and_highest_ratio_of_turns_side_by_side() -> None:
    assert Result("bulk", OURS, PLAIN).spread == (4.0, 32.0)


@pytest.mark.parametrize(
    ("key", "figures"),
    [
        ("bulk", {"ours": 8.0, "baseline": 1.0, "unit": "captions/s"}),
        ("train_full", {"ours": 8.0, "baseline": 1.0, "unit": "examples/s"}),
        ("gpu_large_bulk", {"ours": 8.0, "baseline": 1.0, "unit": "captions/s"}),
        ("starter_latency", {"ours": 0.125, "baseline": 1.0, "unit": "s per caption"}),
    ],
)
def test_figures_are_rates_but_for_latency(key: str, figures: dict[str, object]) -> None:
    found = Result(key, OURS, PLAIN).figures()

    assert found == figures | {"ratio": 8.0, "runs": 3, "spread": [4.0, 32.0]}


def test_how_busy_the_gpu_was_is_a_figure_where_it_was_looked_at() -> None:
    assert Result("gpu_bulk", OURS, PLAIN, gpu_use=0.9).figures()["gpu_use"] == 0.9
