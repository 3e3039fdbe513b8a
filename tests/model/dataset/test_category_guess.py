"""What our rules take for the mistake in a suggestion: photographs' captions as COCO has them, and drawn scenes."""

import pytest

from captionloop.model.database import Category
from captionloop.model.dataset.category_guess import content_words, guess_category


@pytest.mark.parametrize(
    ("suggestion", "caption"),
    [
        ("a cat on a sofa", "two cats on a sofa"),
        ("a man riding a horse", "men riding horses"),
        ("three people at a table", "four people at a table"),
        ("a couple of zebras in a field", "several zebras in a field"),
        ("a small red car", "two large blue cars"),
        ("a plate with 3 apples", "a plate with four apples"),
    ],
)
def test_a_number_word_or_a_plural_is_the_number(suggestion: str, caption: str) -> None:
    assert guess_category(suggestion, caption) is Category.NUMBER


@pytest.mark.parametrize(
    ("suggestion", "caption"),
    [
        ("a dog on the grass", "a sheep on the grass"),
        ("a small red circle", "a small red square thing"),
        ("a man holding a tennis racket", "a woman holding a tennis racket"),
        ("a black cat sitting on a bench", "a black dog sitting on a bench"),
        ("a person wearing a hat", "a person wearing a helmet"),
        ("a red car above a tree", "a blue bus above a tree"),
    ],
)
def test_another_noun_is_the_subject(suggestion: str, caption: str) -> None:
    assert guess_category(suggestion, caption) is Category.SUBJECT


@pytest.mark.parametrize(
    ("suggestion", "caption"),
    [
        ("a red bus on a street", "a green bus on a street"),
        ("a man in a red shirt", "a man in a striped shirt"),
        ("a table with food", "a wooden table with food"),
        ("a bus parked in a lot", "a tour bus parked in a lot"),
        ("a small red car to the left of a tree", "a large red car to the left of a tree"),
        ("a cat on a red chair", "a cat on a blue chair"),
    ],
)
def test_a_word_that_describes_a_noun_which_stayed_is_an_attribute(suggestion: str, caption: str) -> None:
    assert guess_category(suggestion, caption) is Category.ATTRIBUTES


@pytest.mark.parametrize(
    ("suggestion", "caption"),
    [
        ("a dog running on the beach", "a dog running on the grass"),
        ("a clock on a tower", "a clock on a pole"),
        ("a cow standing in a field", "a cow standing in a field with mountains in the background"),
        ("a small red car above a large green tree", "a small red car behind a large green tree"),
        ("a cat lying on a bed", "a cat lying under a bed"),
    ],
)
def test_what_follows_a_word_of_place_is_the_background(suggestion: str, caption: str) -> None:
    assert guess_category(suggestion, caption) is Category.BACKGROUND


@pytest.mark.parametrize(
    ("suggestion", "caption"),
    [
        ("a photo of a cat on a couch", "there is a cat on the sofa"),
        ("a gray elephant", "a grey elephant"),
        ("a red and blue kite", "a blue and red kite"),
        ("a man sits on a bench", "a man is sitting on a bench"),
        ("a base ball player", "a baseball player"),
        ("a woman with an umbrela", "a woman with an umbrella"),
        ("2 dogs", "two dogs"),
        ("one cat", "a cat"),
    ],
)
def test_the_same_content_is_wording(suggestion: str, caption: str) -> None:
    assert guess_category(suggestion, caption) is Category.WORDING


def test_what_somebody_does_has_no_category_of_its_own() -> None:
    assert guess_category("a man standing next to a horse", "a man riding a horse") is Category.OTHER


@pytest.mark.parametrize("caption", ["a cat on a sofa", "A cat on a sofa", "a cat  on a sofa"])
def test_an_unchanged_caption_has_none(caption: str) -> None:
    assert guess_category("a cat on a sofa", caption) is None


@pytest.mark.parametrize("odd", ["", "...", "🐈", "猫", "a", "ing s es"])
def test_odd_texts_get_some_answer(odd: str) -> None:
    assert isinstance(guess_category("a cat", odd), Category)
    assert isinstance(guess_category(odd, "a cat"), Category)


def test_content_words_are_the_same_for_the_same_content() -> None:
    assert content_words("There is a gray cat sitting on the couch") == content_words("a grey cat sits on a sofa")
