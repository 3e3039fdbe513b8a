"""What a run can teach is no problem of a dataset; what it cannot is one."""

import pytest
from tests.model.captioning.published_layout import bert_tokenizer
from tests.support.languages import LANGUAGES, captions
from tests.support.odd_captions import KEPT, NOT_A_LETTER_LEFT
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from captionloop.model.captions.text import is_representable
from captionloop.model.vocabulary.learnable import is_learnable
from captionloop.model.vocabulary.pieces import missing_pieces
from captionloop.model.vocabulary.wordpiece import extended_tokenizer

TOKENIZER = bert_tokenizer()
SIZE = len(TOKENIZER) + 2


def really_learnt(caption: str) -> bool:
    """By way of an extension with the words of this very caption."""
    gentle = extended_tokenizer(TOKENIZER, [], size=SIZE, start_id=SIZE - 2)
    pieces = missing_pieces(gentle.backend_tokenizer, [caption])
    return is_representable(extended_tokenizer(TOKENIZER, pieces, size=SIZE, start_id=SIZE - 2), caption)


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_in_any_language_are(language: str) -> None:
    assert all(is_learnable(TOKENIZER, caption) for caption in captions(language))


@pytest.mark.parametrize("caption", [*KEPT.values(), *NOT_A_LETTER_LEFT, "é" * 1001, "é" * 1000, "ΟΔΟΣ İ ǅ ﬁ 𝒜"])
def test_it_is_what_an_extension_comes_to(caption: str) -> None:
    assert is_learnable(TOKENIZER, caption) == (is_representable(TOKENIZER, caption) or really_learnt(caption))


def test_nothing_new_is_for_a_tokenizer_that_cannot_be_extended() -> None:
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    assert not is_learnable(other, "кот")
