"""Capitals and spaces of human captions, learnt and restored."""

import json
import unicodedata

import pytest
from tests.support.languages import LANGUAGES
from tests.support.languages import captions as captions_in

from captionloop.errors import CheckpointError
from captionloop.model.captions.orthography import Writing, learn_writing
from captionloop.model.captions.text import lower_case, normalise_caption

GERMAN = [
    "Die Zeitung liegt im Haus",
    "Eine Wohnung braucht Heizung",
    "Die Kleidung hängt im Haus",
    "Der Hund bellt",
]
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


def test_a_word_is_written_as_its_neighbours_ask() -> None:
    writing = learn_writing(["A man speaks American Sign Language", "A stop sign", "A sign on a wall", "A red sign"])

    assert writing.write("a woman learns american sign language near a sign") == (
        "A woman learns American Sign Language near a sign"
    )


def test_a_mark_is_spaced_as_its_neighbours_ask() -> None:
    writing = learn_writing(["c'est qu'il pleut", "le quai qu'il voit", "un 'mot' rare", "le 'mot' juste", "qu'elle"])

    assert writing.write("voit qu 'il pleut") == "voit qu'il pleut"
    assert writing.write("un ' mot ' vrai") == "un 'mot' vrai"


def test_a_caption_that_is_written_unlike_the_others_says_nothing_about_any_place() -> None:
    assert learn_writing([*STYLES["plain"], *STYLES["plain"], "A Red Boat"]).write("a red boat") == "a red boat"


def test_german_nouns_have_their_capitals_and_others_of_their_kind_too() -> None:
    writing = learn_writing(GERMAN)

    assert writing.write("die zeitung und die wohnung") == "Die Zeitung und die Wohnung"
    assert writing.write("eine werbung ist da") == "Eine Werbung ist da"
    assert learn_writing(["A busy town in Boston", "A red house in Kingston", "A fish in Preston"]).endings == ()


@pytest.mark.parametrize(
    ("caption", "captions"),
    [
        ("iki köpek", ["İki köpek koşuyor.", "İki kedi uyuyor."]),
        ("ორი ძაღლი", ["A dog.", "A cat.", "Two fish."]),  # no capitals at the beginning, in whatever company
    ],
)
def test_first_letters_are_those_of_their_script(caption: str, captions: list[str]) -> None:
    written = learn_writing(captions).write(caption)

    assert written == {"iki köpek": "İki köpek", "ორი ძაღლი": "ორი ძაღლი"}[caption]


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_in_any_language_come_back_to_the_letter(language: str) -> None:
    captions = [unicodedata.normalize("NFC", caption) for caption in captions_in(language)]
    writing = learn_writing(captions)

    assert [writing.write(lower_case(normalise_caption(caption))) for caption in captions] == captions
    assert Writing.from_dict(json.loads(json.dumps(writing.to_dict()))) == writing


def test_a_version_of_an_earlier_release_is_read() -> None:
    assert (
        Writing.from_dict({"case": "sentence", "words": {"london": "London"}, "openings": {}, "spacing": {}}).write(
            "a cat in london"
        )
        == "A cat in London"
    )
