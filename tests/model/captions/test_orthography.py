"""Capitals and spaces of human captions, learnt and restored."""

import json

import pytest

from captionloop.errors import CheckpointError
from captionloop.model.captions.orthography import Writing, learn_writing
from captionloop.model.captions.text import normalise_caption

STYLES = {
    "sentence": ["Alt text: Red boat, left of a cat.", "Alt text: Two fish, above a sun.", "Alt text: One blue house."],
    "title": ["A Red Boat Left of a Tree", "A Blue House Above the Clouds", "Two Yellow Fish in Front of a Boat"],
    "upper": ["RED BOAT", "BLUE HOUSE, LEFT OF A TREE", "TWO FISH"],
    "spaced hyphen": ["red boat - left of a cat", "two fish - above a sun", "blue house - nothing else"],
    "tight slash and arrow": ["cat->boat", "sun->small red car", "two fish->tree"],
    "plain": ["a red boat left of a cat", "two fish above a sun", "it's a light-blue house."],
    "names": ["a cat in London", "a boat near London", "a red BMW in London", "a blue BMW"],
    "acronym first": ["ALT: a red boat", "ALT: a blue cat", "ALT: two fish"],
    "two sentences": ["Red boat. Left of a cat.", "Blue sun. Above a house.", "Two fish. In front of a tree."],
}


@pytest.mark.parametrize("captions", STYLES.values(), ids=STYLES)
def test_captions_of_one_style_come_back_to_the_letter(captions: list[str]) -> None:
    writing = learn_writing(captions)

    assert [writing.write(normalise_caption(caption).lower()) for caption in captions] == captions


def test_words_that_nobody_wrote_yet_follow_the_rule() -> None:
    assert learn_writing(STYLES["title"]).write("a green umbrella of a car") == "A Green Umbrella of a Car"
    assert learn_writing(STYLES["spaced hyphen"]).write("green umbrella-above a car") == "green umbrella - above a car"


def test_a_habit_of_the_few_changes_nothing() -> None:
    writing = learn_writing([*STYLES["plain"], *STYLES["plain"], "A Red Boat - Left of a Cat"])

    assert writing == Writing()


def test_nothing_learnt_leaves_the_normal_form() -> None:
    assert learn_writing([]).write("a woman's t-shirt, red.") == "a woman's t-shirt, red."


def test_what_is_learnt_survives_the_way_through_a_manifest() -> None:
    writing = learn_writing([*STYLES["sentence"], *STYLES["spaced hyphen"]])

    assert Writing.from_dict(json.loads(json.dumps(writing.to_dict()))) == writing


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(CheckpointError, match="camel"):
        Writing.from_dict({"case": "camel"})


@pytest.mark.parametrize("spacing", [{"-": [True]}, {"-": None}, ["-"]])
def test_spacing_that_is_not_two_sides_is_refused(spacing: object) -> None:
    with pytest.raises(CheckpointError, match="expected two booleans for each mark"):
        Writing.from_dict({"spacing": spacing})
