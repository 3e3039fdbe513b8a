"""Which old words a new one goes with is counted from captions of the same pictures."""

import itertools

import pytest

from captionloop.model.vocabulary.alignment import old_tokens_of

COLOURS, KINDS = [1, 2, 3], [4, 5, 6]
NEW = {1: 101, 2: 102, 3: 103, 4: 104, 5: 105, 6: 106}


def test_words_that_come_together_go_together_in_whatever_order() -> None:
    pairs = [([NEW[kind], NEW[colour]], [colour, kind]) for colour, kind in itertools.product(COLOURS, KINDS)]
    found = old_tokens_of(pairs)
    assert {new: max(olds, key=olds.__getitem__) for new, olds in found.items()} == {
        new: old for old, new in NEW.items()
    }
    assert all(olds[old] > 0.9 for old, new in NEW.items() for olds in [found[new]])


def test_shares_sum_to_one() -> None:
    found = old_tokens_of([([101, 102], [1, 2]), ([101], [1, 3])])
    assert all(sum(olds.values()) == pytest.approx(1) for olds in found.values())


def test_a_word_that_comes_once_goes_with_what_the_others_leave_over() -> None:
    found = old_tokens_of([([101], [1])] * 5 + [([101, 102], [1, 2])])
    assert max(found[102], key=found[102].__getitem__) == 2


def test_nothing_is_known_of_nothing() -> None:
    assert old_tokens_of([]) == {}
    assert old_tokens_of([([], [1]), ([101], [])]) == {}
