from functools import cache
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from captionloop.model.metrics.word_changes import are_comparable, nearest_reference, word_changes, word_edits


@pytest.mark.parametrize(
    ("caption", "wanted", "changes"),
    [
        ("a red car", "a red car", [("kept", "a red car")]),
        ("a red car", "A red car.", [("kept", "A red"), ("removed", "car"), ("added", "car.")]),
        ("a red car", "a blue car", [("kept", "a"), ("removed", "red"), ("added", "blue"), ("kept", "car")]),
        ("a car", "a red car", [("kept", "a"), ("added", "red"), ("kept", "car")]),
        ("a big car", "a car", [("kept", "a"), ("removed", "big"), ("kept", "car")]),
        ("", "a car", [("added", "a car")]),
        ("a car", "", [("removed", "a car")]),
    ],
)
def test_the_two_captions_are_merged_word_by_word(caption: str, wanted: str, changes: list[tuple[str, str]]) -> None:
    assert [(change.kind, change.text) for change in word_changes(caption, wanted)] == changes


def test_a_long_caption_with_a_common_word_is_not_taken_for_another() -> None:
    words = " ".join(f"the thing{number}" for number in range(300))
    assert [change.kind for change in word_changes(words, words + " the end")] == ["kept", "added"]


def test_the_nearest_reference_needs_the_fewest_words_changed() -> None:
    assert nearest_reference("a red car", ["a dog", "a blue car", "one red car here"]) == "a blue car"


def test_texts_of_the_length_of_books_are_not_compared_word_by_word() -> None:
    suggestion, book = "a red car " * 4_000, "a blue car " * 4_000

    assert [change.kind for change in word_changes(suggestion, book)] == ["removed", "added"]
    assert not are_comparable(suggestion, book)
    assert nearest_reference(suggestion, [book, "a car"]) == book


def test_a_caption_is_compared_with_a_text_of_any_length() -> None:
    book = "a red car " * 50_000

    assert are_comparable("a car", book)
    assert [change.text for change in word_changes("a car", book) if change.kind == "kept"] in (["a car"], ["a", "car"])
    assert nearest_reference("a car", [book, "a car"]) == "a car"


WORDS = st.lists(st.sampled_from(["a", "A", "b", "red", "car", "Über", "x" * 70]), max_size=9).map(" ".join)


@given(caption=WORDS, reference=WORDS)
@example(caption=" ".join(map(str, range(70))), reference=" ".join(map(str, range(1, 140, 2))))  # over 64 words
def test_the_distance_is_that_of_levenshteins_recurrence(caption: str, reference: str) -> None:
    before, after = caption.lower().split(), reference.lower().split()

    @cache
    def distance(first: int, second: int) -> int:
        if not first or not second:
            return first + second
        replaced = distance(first - 1, second - 1) + (before[first - 1] != after[second - 1])
        return min(distance(first - 1, second) + 1, distance(first, second - 1) + 1, replaced)

    assert word_edits(caption, reference) == distance(len(before), len(after))


@given(caption=WORDS, wanted=WORDS)
def test_changes_lead_from_one_caption_to_the_other(caption: str, wanted: str) -> None:
    changes = word_changes(caption, wanted)
    before = " ".join(change.text for change in changes if change.kind != "added")
    after = " ".join(change.text for change in changes if change.kind != "removed")

    assert before.lower() == caption.lower()
    assert after == wanted
    assert all(one.kind != next_one.kind for one, next_one in pairwise(changes))


@pytest.mark.parametrize(
    ("caption", "wanted", "changes"),
    [
        ("一只狗", "一只猫", [("kept", "一只"), ("removed", "狗"), ("added", "猫")]),
        ("犬が走る。", "猫が走る。", [("removed", "犬"), ("added", "猫"), ("kept", "が走る。")]),
        ("สุนัขดำ", "สุนัขปา", [("kept", "สุนัข"), ("removed", "ดำ"), ("added", "ปา")]),
        (
            "红色iPhone手机",
            "红色Nokia手机",
            [("kept", "红色"), ("removed", "iPhone"), ("added", "Nokia"), ("kept", "手机")],
        ),
    ],
)
def test_without_spaces_they_are_merged_by_character(caption: str, wanted: str, changes: list[tuple[str, str]]) -> None:
    found = word_changes(caption, wanted)
    assert [(change.kind, change.text) for change in found] == changes
    assert not any(change.space_before for change in found)


def test_a_combining_mark_is_changed_with_its_letter() -> None:
    assert word_edits("กี่", "กู่") == 1


def test_a_word_in_another_script_has_its_spaces() -> None:
    found = word_changes("a sign ทางออก here", "a sign ทางเข้า here")
    assert "".join(" " * change.space_before + change.text for change in found) == " a sign ทางออกเข้า here"
