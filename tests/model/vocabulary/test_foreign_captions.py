"""Only captions in another language ask for new words."""

from collections.abc import Callable

import pytest
from tests.support.languages import LANGUAGES, captions

from captionloop.model.blip.checkpoint import load_checkpoint
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene
from captionloop.model.starter.styles import STYLES
from captionloop.model.vocabulary.extension import extended_checkpoint
from captionloop.model.vocabulary.foreign_captions import foreign_captions

STARTER = load_checkpoint("starter")
ENGLISH = [
    "A brown dog runs along the beach.",
    "Two children are playing football in the park.",
    "An elderly man reads a newspaper on a bench.",
    "Vintage typewriter on a mahogany desk",
    "A barista is pouring latte art.",
    "Giraffes nibbling at acacia leaves",
]


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_english_styles_ask_for_none(style: Callable[[Scene], str]) -> None:
    assert foreign_captions(STARTER.tokenizer, [style(example("foreign", index)[0]) for index in range(60)]) == []


def test_english_with_rare_words_asks_for_none() -> None:
    assert foreign_captions(STARTER.tokenizer, ENGLISH) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_cannot_be_written_asks_for_them(language: str) -> None:
    assert foreign_captions(STARTER.tokenizer, captions(language))


def test_a_language_that_can_be_written_in_pieces_asks_for_them() -> None:
    dutch = ["een bruine hond rent langs het strand", "twee kinderen voetballen samen", "een zwarte kat slaapt rustig"]
    assert foreign_captions(STARTER.tokenizer, dutch) == dutch


def test_in_a_mixed_project_the_other_language_alone_does() -> None:
    mixed = [*ENGLISH, "Коричневая собака", "a café"]
    assert foreign_captions(STARTER.tokenizer, mixed) == ["Коричневая собака", "a café"]


def test_further_words_of_a_language_that_was_learnt_ask_again() -> None:
    learnt = extended_checkpoint(STARTER, [("", caption) for caption in captions("ru")])
    assert "Синхрофазотрон" not in learnt.tokenizer.get_vocab()
    assert foreign_captions(learnt.tokenizer, [*ENGLISH, "синхрофазотрон"]) == ["синхрофазотрон"]


def test_no_captions_ask_for_nothing() -> None:
    assert foreign_captions(STARTER.tokenizer, []) == []
