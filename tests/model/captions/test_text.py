"""Captions as text: what people write, what the model reads and writes back, and when two captions are the same."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.captioning.published_layout import bert_tokenizer

from captionloop.model.captions.text import (
    composed,
    decode_caption,
    encode_caption,
    is_representable,
    normalise_caption,
    same_caption,
    split_tokens,
)

TOKENIZER = bert_tokenizer()

ORDINARY = [
    "a red car",
    "illustration: small red car, left of a tree.",
    "alt text: two fish; one sun, no cloud!",
    "a woman's t-shirt",
    "it's a light-blue, black-and-white cat.",
    "don't look: they're the girls' toys",
    'a sign that says "stop here", near a tree',
    "a sign that says 'stop here', near a tree",
    "a boat (small, red) in front of a house",
    "5% of 1,200 fish and 3.5 boats for $20",
    "red and/or blue at 10:30",
    "wait... what?!",
    "three o'clock, e.g. at 3 p.m.",
    "[red] {blue} #1",
    "rock & roll",
    "a photo of name.com",
    "a cat – a dog — a bird…",
]


@pytest.mark.parametrize("caption", ORDINARY)
def test_an_ordinary_caption_is_already_in_normal_form(caption: str) -> None:
    assert normalise_caption(caption) == caption


@pytest.mark.parametrize("caption", ORDINARY)
def test_what_is_read_back_from_the_ids_is_what_was_written(caption: str) -> None:
    assert decode_caption(TOKENIZER, encode_caption(TOKENIZER, caption)) == caption


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("  a  red\tcar \n", "a red car"),
        ("a red car .", "a red car."),
        ("light - blue", "light-blue"),
        ("small red car , left of a tree ; one sun", "small red car, left of a tree; one sun"),
        ("a woman ' s t - shirt", "a woman's t-shirt"),
        ("don ’ t", "don’t"),
        ('a sign that says " stop "', 'a sign that says "stop"'),
        ("in 2019 , 5 people", "in 2019, 5 people"),
        ("scene 1 : 3 cars", "scene 1: 3 cars"),
        ("- red car", "- red car"),
        ("at -5 degrees", "at-5 degrees"),
        ("http : / / name . com", "http://name.com"),
        ("A Red Car", "A Red Car"),
        ("cafe\u0301", "caf\u00e9"),
        ("a\u200bb\x00c", "abc"),
        ("a\u00a0b\u3000c", "a b c"),
        ("", ""),
        (" \n", ""),
    ],
)
def test_the_normal_form(written: str, normal: str) -> None:
    assert normalise_caption(written) == normal


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise_caption(text)
    assert normalise_caption(once) == once


@given(st.text(alphabet="ab12 .,:;!?'\"-()/%$’“”–&#@\n", max_size=30))
def test_the_normal_form_does_not_depend_on_spaces_around_punctuation(text: str) -> None:
    spread = "".join(c if c.isalnum() or c.isspace() else f" {c} " for c in text)
    assert normalise_caption(spread) == normalise_caption(text)


WORDS = st.sampled_from(["a", "red", "car", "woman", "light", "t", "s", "don", "o", "clock", "5", "10", "200", "2019"])
MARKS = st.sampled_from(list(",.:;!?'\"-()/%$&") + [""] * 10)
SPACES = st.sampled_from(["", " "])


@st.composite
def captions(draw: st.DrawFn) -> str:
    """Words with punctuation between them, spaced by chance."""
    parts = []
    for _ in range(draw(st.integers(1, 10))):
        mark = draw(MARKS)
        parts += [draw(WORDS), draw(SPACES) + mark + draw(SPACES) if mark else " "]
    return "".join(parts).strip()


@settings(deadline=None)
@given(captions())
def test_ids_keep_all_that_the_normal_form_tells(caption: str) -> None:
    assert decode_caption(TOKENIZER, encode_caption(TOKENIZER, caption)) == normalise_caption(caption)
    assert is_representable(TOKENIZER, caption)


def test_two_captions_are_the_same_but_for_case_and_spacing() -> None:
    assert same_caption("A Light - Blue car .", "a light-blue car.")
    assert not same_caption("a light-blue car", "a light blue car")


def test_words_outside_the_vocabulary_are_spelled_in_pieces() -> None:
    ids = encode_caption(TOKENIZER, "xylophones")
    assert len(ids) > 1
    assert decode_caption(TOKENIZER, ids) == "xylophones"


def test_reading_back_does_not_rewrite_words() -> None:
    assert decode_caption(TOKENIZER, encode_caption(TOKENIZER, "people do not look")) == "people do not look"


def test_special_tokens_and_ids_beyond_the_tokenizer_leave_no_trace() -> None:
    red = encode_caption(TOKENIZER, "red")
    start = len(TOKENIZER)
    assert decode_caption(TOKENIZER, [start, *red, TOKENIZER.sep_token_id, TOKENIZER.pad_token_id, start + 1]) == "red"


def test_a_special_token_typed_by_a_person_is_ordinary_text() -> None:
    ids = encode_caption(TOKENIZER, "a [SEP] car")
    assert not set(ids) & set(TOKENIZER.all_special_ids)
    assert decode_caption(TOKENIZER, ids) == "a [sep] car"


@pytest.mark.parametrize("caption", ["A red car", "light - blue", "café au lait".replace("é", "e"), "xylophones"])
def test_a_caption_that_loses_only_case_or_spacing_can_be_learnt(caption: str) -> None:
    assert is_representable(TOKENIZER, caption)


@pytest.mark.parametrize("caption", ["a 🚗 car", "café", "", "  "])
def test_a_caption_that_loses_letters_cannot_be_learnt(caption: str) -> None:
    assert not is_representable(TOKENIZER, caption)


@given(st.text(st.sampled_from("ae\u0301\u0300\u0327\u0308\u0345\u0f71\u1161\u11a8가한ﬁÅΩé日\ud800 "), max_size=30))
def test_letters_and_their_marks_are_composed_as_unicode_says(text: str) -> None:
    assert "".join(split_tokens(text)) == "".join(split_tokens(unicodedata.normalize("NFC", text)))
    assert composed(text) == unicodedata.normalize("NFC", text)
