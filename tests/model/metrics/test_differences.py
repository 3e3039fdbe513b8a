"""Differences are those of the two evaluations, with intervals and p-values from one paired bootstrap."""

import json
from pathlib import Path

import numpy as np
import pytest

from captionloop.model.metrics import compare_captions, compare_figures, evaluate_captions
from captionloop.model.metrics.differences import SCORE, Difference

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "golden.json").read_text(encoding="utf-8"))
REFERENCES = {image: GOLDEN["references"][image] for image in list(GOLDEN["captions"])[:40]}
CAPTIONS = {image: GOLDEN["captions"][image] for image in REFERENCES}
CORPUS = list(GOLDEN["references"].values())


def shuffled(seed: int) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    return {image: " ".join(rng.permutation(caption.split())) for image, caption in CAPTIONS.items()}


@pytest.fixture(scope="module")
def found():  # type: ignore[no-untyped-def]
    return compare_figures(REFERENCES, shuffled(0), CAPTIONS, corpus=CORPUS)


@pytest.mark.parametrize(
    "figure", ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d", "exact_match", "word_edit_rate"]
)
def test_each_figure_is_that_of_the_evaluations(found, figure: str) -> None:  # type: ignore[no-untyped-def]
    before = getattr(evaluate_captions(REFERENCES, shuffled(0), corpus=CORPUS), figure)
    after = getattr(evaluate_captions(REFERENCES, CAPTIONS, corpus=CORPUS), figure)
    difference = found.figures[figure]
    assert (difference.first, difference.second) == (pytest.approx(before, abs=1e-9), pytest.approx(after, abs=1e-9))
    assert difference.difference == pytest.approx(after - before, abs=1e-9)
    assert difference.interval[0] <= difference.difference <= difference.interval[1]


def test_the_score_has_the_interval_that_the_gate_names(found) -> None:  # type: ignore[no-untyped-def]
    gate = compare_captions(REFERENCES, shuffled(0), CAPTIONS, corpus=CORPUS)
    assert found.figures[SCORE].difference == pytest.approx(gate.difference)
    assert found.figures[SCORE].interval == pytest.approx(gate.interval)


def test_a_clear_difference_has_a_small_p_value_and_never_zero(found) -> None:  # type: ignore[no-untyped-def]
    assert 0 < found.figures[SCORE].p_value < 0.01


def test_the_same_captions_differ_in_nothing() -> None:
    for figure in compare_figures(REFERENCES, CAPTIONS, CAPTIONS).figures.values():
        assert (figure.difference, figure.interval, figure.p_value) == (0, (0, 0), 1)


def test_the_other_way_round_is_the_negative(found) -> None:  # type: ignore[no-untyped-def]
    back = compare_figures(REFERENCES, CAPTIONS, shuffled(0), corpus=CORPUS)
    for name, figure in found.figures.items():
        assert back.figures[name].difference == pytest.approx(-figure.difference)
        assert back.figures[name].p_value == pytest.approx(figure.p_value)


def test_two_equally_bad_sets_are_seldom_found_different() -> None:
    pairs = [(shuffled(2 * seed + 1), shuffled(2 * seed + 2)) for seed in range(10)]
    p_values = [compare_figures(REFERENCES, one, other).figures["cider_d"].p_value for one, other in pairs]
    assert sum(p_value < 0.05 for p_value in p_values) <= 2


def test_a_difference_comes_back_from_json(found) -> None:  # type: ignore[no-untyped-def]
    figure = found.figures[SCORE]
    assert Difference.from_dict(json.loads(json.dumps(figure.to_dict()))) == figure
