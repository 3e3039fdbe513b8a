"""Tokens that stand for styles: a model gets them, plain `transformers` reads them in a prompt, no caption has them."""

from pathlib import Path

import pytest
import torch
from tests.model.captioning.published_layout import write_base
from tests.model.vocabulary.test_extension import embedding, extended
from tests.support.languages import captions
from transformers import BlipProcessor

from captionloop.errors import CheckpointError
from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from captionloop.model.captions.text import decode_caption, encode_caption, is_representable, lead_in
from captionloop.model.vocabulary.style_tokens import tokens_for, with_style_tokens


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(write_base(tmp_path_factory.mktemp("published")))


def token_id(checkpoint: Checkpoint, token: str) -> int:
    return int(checkpoint.tokenizer.convert_tokens_to_ids(token))


def test_a_token_is_one_row_behind_all_that_the_model_has(published: Checkpoint) -> None:
    size = published.model.config.text_config.vocab_size
    checkpoint = with_style_tokens(published, ["[style1]", "[style2]"])
    assert [token_id(checkpoint, "[style1]"), token_id(checkpoint, "[style2]")] == [size, size + 1]
    assert len(checkpoint.tokenizer) == checkpoint.model.config.text_config.vocab_size == size + 2
    assert torch.equal(embedding(checkpoint)[:size], embedding(published))


def test_tokens_that_are_there_change_nothing(published: Checkpoint) -> None:
    assert with_style_tokens(published, []) is published
    checkpoint = with_style_tokens(published, ["[style1]"])
    assert with_style_tokens(checkpoint, ["[style1]"]) is checkpoint


def test_styles_that_come_one_after_the_other_begin_apart(published: Checkpoint) -> None:
    first = with_style_tokens(published, ["[style1]"])
    second = with_style_tokens(first, ["[style2]"])
    one, other = (embedding(second)[token_id(second, token)] for token in ("[style1]", "[style2]"))
    assert not torch.allclose(one, other)


def test_a_caption_that_has_the_text_is_written_with_brackets_and_letters(published: Checkpoint) -> None:
    checkpoint = with_style_tokens(published, ["[style1]"])
    tokenizer = checkpoint.tokenizer
    ids = encode_caption(tokenizer, "a [style1] sign")
    assert token_id(checkpoint, "[style1]") not in ids
    assert decode_caption(tokenizer, ids) == "a [style1] sign"
    assert (
        decode_caption(tokenizer, [token_id(checkpoint, "[style1]"), *encode_caption(tokenizer, "a sign")]) == "a sign"
    )


def test_captions_are_written_with_the_tokens_that_they_always_were(published: Checkpoint) -> None:
    tokenizer = with_style_tokens(published, ["[style1]"]).tokenizer
    for caption in ("A woman's t-shirt: light-blue, 50%!", "don't look at the STOP sign"):
        assert encode_caption(tokenizer, caption) == encode_caption(published.tokenizer, caption)


def test_the_token_comes_before_the_prompt(published: Checkpoint) -> None:
    checkpoint = with_style_tokens(published, ["[style1]"])
    ids = lead_in(checkpoint.tokenizer, "a picture of", token="[style1]")
    assert ids == [token_id(checkpoint, "[style1]"), *encode_caption(published.tokenizer, "a picture of")]
    assert lead_in(checkpoint.tokenizer, "a picture of") == ids[1:]


def test_plain_transformers_reads_the_token_in_a_prompt(published: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(with_style_tokens(published, ["[style1]"]), tmp_path)
    tokenizer = BlipProcessor.from_pretrained(tmp_path).tokenizer
    ids = tokenizer("[style1] a picture of", add_special_tokens=False)["input_ids"]
    assert ids == lead_in(load_checkpoint(tmp_path).tokenizer, "a picture of", token="[style1]")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a picture of"


def test_words_of_another_language_and_styles_go_together(published: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(extended(with_style_tokens(published, ["[style1]"]), captions("ru")), tmp_path)
    checkpoint = with_style_tokens(load_checkpoint(tmp_path), ["[style1]", "[style2]"])
    assert all(is_representable(checkpoint.tokenizer, caption) for caption in captions("ru"))
    assert len(checkpoint.tokenizer) == checkpoint.model.config.text_config.vocab_size
    assert token_id(checkpoint, "[style2]") == len(checkpoint.tokenizer) - 1
    assert {"[style1]", "[style2]"} <= set(checkpoint.tokenizer.all_special_tokens)


def test_a_known_style_keeps_its_token_and_a_new_one_gets_the_next(published: Checkpoint) -> None:
    tokenizer = with_style_tokens(published, ["[style1]", "[style2]"]).tokenizer
    known = {"British": "[style2]"}
    assert tokens_for(["terse", "British"], tokenizer, known=known) == {"terse": "[style3]", "British": "[style2]"}
    assert tokens_for(["terse"], published.tokenizer, known={}) == {"terse": "[style1]"}


def test_a_tokenizer_that_cannot_be_extended_is_named(published: Checkpoint) -> None:
    class Other:
        def get_vocab(self) -> dict[str, int]:
            return {}

    other = Checkpoint(published.model, Other(), published.image_processor, "other")
    with pytest.raises(CheckpointError, match="A tokenizer of the kind Other cannot get new words"):
        with_style_tokens(other, ["[style1]"])
