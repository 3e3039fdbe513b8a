import pytest

from captionloop.model.metrics.word_changes import nearest_reference, word_changes


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


def test_texts_of_the_length_of_documents_are_not_compared_word_by_word() -> None:
    document = "a red car " * 10_000

    assert [change.kind for change in word_changes("a car", document)] == ["removed", "added"]
    assert nearest_reference("a car", [document, "a car"]) == document
