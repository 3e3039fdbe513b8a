"""Texts are found as people type them."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.languages import LANGUAGES, captions

from captionloop.model.captions.search import search_form


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Éléphant à Noël", "elephant a noel"),
        ("Łódź", "lodz"),
        ("bờ biển Đà Nẵng", "bo bien da nang"),
        ("Straße", "STRASSE"),
        ("GROẞE", "große"),
        ("İstanbul", "istanbul"),
        ("ISPARTA", "ısparta"),
        ("smørrebrød og æbler", "smorrebrod og aebler"),
        ("Ένας ΣΚΎΛΟΣ", "ενας σκυλος"),
        ("Зелёная ёлка", "зеленая елка"),
        ("مُحَمَّدٌ", "محمد"),
        ("أحمر وإبريق وآلة", "احمر وابريق والة"),
        ("سـيـارة", "سياره"),
        ("می‌رود کتاب", "ميرود كتاب"),
        ("שָׁלוֹם", "שלום"),
        ("फ़िल्म", "फिल्म"),
        ("ＡＢＣ　ｶﾞﾗｽ", "abc ガラス"),
        ("l’été", "l'ete"),
        ("co\u00adoperate", "cooperate"),
        ("ﻣﺤﻤﺪ", "محمد"),
        ("ﬁne", "FINE"),
    ],
)
def test_what_people_leave_out_when_they_type_is_left_out(written: str, typed: str) -> None:
    assert search_form(written) == search_form(typed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ガラス", "カラス"),  # glass, crow: voiced kana are other letters
        ("क्या", "कया"),  # the virama
        ("คา", "ค่า"),  # Thai tones
        ("דג", "דוג"),
        ("한국", "하국"),
    ],
)
def test_marks_that_spell_another_word_stay(one: str, other: str) -> None:
    assert search_form(one) != search_form(other)


@given(st.text())
def test_the_form_depends_neither_on_case_nor_on_how_letters_are_composed(text: str) -> None:
    form = search_form(text)

    assert search_form(form) == form
    for same in (text.upper(), *(unicodedata.normalize(kind, text) for kind in ("NFC", "NFD", "NFKC", "NFKD"))):
        assert search_form(same) == form


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_of_each_language_are_found_by_their_own_words(language: str) -> None:
    for caption in captions(language):
        for word in caption.split():
            assert search_form(unicodedata.normalize("NFD", word).upper()) in search_form(caption)


def test_marks_without_a_letter_take_no_longer() -> None:
    begun = time.process_time()
    search_form("\u0301\u0323" * 100_000)
    assert time.process_time() - begun < 10
