"""What is done with people's texts takes work in proportion to their length, however they are made.

Hypothesis looks for the texts that are worst.
"""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, example, given, settings, target
from hypothesis import strategies as st
from tests.support.growth import MOST, PIECES, growth

from captionloop.model.captions.orthography import learn_writing
from captionloop.model.captions.ptb_tokens import tokenize
from captionloop.model.captions.text import normalise_caption
from captionloop.model.dataset.category_guess import guess_category
from captionloop.model.dataset.corrections import derived
from captionloop.model.dataset.problems import in_common, looks_like_a_test
from captionloop.model.metrics import evaluate_captions
from captionloop.model.metrics.word_changes import nearest_reference, word_changes, word_edits

WORK: Mapping[str, Callable[[str, str], object]] = {
    "the normal form": lambda one, other: (normalise_caption(one), normalise_caption(other)),
    "words changed": word_edits,
    "the changes shown": word_changes,
    "the nearest of many captions": lambda one, other: nearest_reference(one, other.split(" ")),
    "the guess of what was wrong": guess_category,
    "a correction's figures": lambda one, other: derived(one, [other, one[::-1]]),
    "the dataset's problems": lambda one, other: (in_common(one, other), looks_like_a_test(one)),
    "people's capitals and spaces": lambda one, other: learn_writing([one, other]).write(one),
    "tokens of the metrics": lambda one, other: tokenize({"": [one, other]}),
    "the metrics": lambda one, other: evaluate_captions({"a": [one], "b": ["a car"]}, {"a": other, "b": "a dog"}),
}

patterns = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4)


@pytest.mark.slow
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@given(one=patterns, other=patterns)
@example(one=["p ", "q "], other=["p ", "r "])
@example(one=["a"], other=["b"])
@example(one=["\u0327", "\u0300"], other=["\u0300", "\u0327"])
@example(one=["’", " "], other=["a", "’", " "])
@example(one=["a", "#", " "], other=["b", "#", " "])
@example(one=["‚"], other=["“"])
@example(one=["&"], other=["-", "a"])
@example(one=["<"], other=["<a "])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_the_work_grows_no_faster_than_the_texts(
    work: Callable[[str, str], object], one: list[str], other: list[str]
) -> None:
    found = growth(work, (one, other))
    target(found)
    assert found < MOST
