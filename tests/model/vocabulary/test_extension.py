"""A checkpoint that can write what people wrote, saved and loaded by plain `transformers`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.captioning.published_layout import tiny_config, tiny_model, write_base
from tests.support.languages import LANGUAGES, captions
from transformers import BlipForConditionalGeneration, BlipProcessor

from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from captionloop.model.captions.text import decode_caption, encode_caption, is_representable
from captionloop.model.vocabulary.extension import extended_checkpoint
from captionloop.model.vocabulary.wordpiece import first_added_id

ENGLISH = ["a small red car", "two blue fish; an umbrella", "A woman's light-blue t-shirt."]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A random model of the published layout: `pytorch_model.bin`, and two tokens that no tokenizer knows."""
    return load_checkpoint(write_base(tmp_path_factory.mktemp("published")))


@pytest.fixture(scope="module")
def starter() -> Checkpoint:
    return load_checkpoint("starter")


def extended(base: Checkpoint, texts: list[str], **options: Any) -> Checkpoint:
    return extended_checkpoint(base, [(f"{number:064x}", text) for number, text in enumerate(texts)], **options)


def embedding(checkpoint: Checkpoint) -> torch.Tensor:
    return checkpoint.model.text_decoder.get_input_embeddings().weight


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("base", ["starter", "published"])
def test_every_caption_can_be_written(base: str, language: str, request: pytest.FixtureRequest) -> None:
    checkpoint = extended(request.getfixturevalue(base), captions(language))
    assert [caption for caption in captions(language) if not is_representable(checkpoint.tokenizer, caption)] == []


def test_words_are_few_pieces(starter: Checkpoint) -> None:
    """In single characters they would be 20 to 50."""
    for language in LANGUAGES:
        tokenizer = extended(starter, captions(language)).tokenizer
        lengths = [len(encode_caption(tokenizer, caption)) for caption in captions(language)]
        assert sum(lengths) / len(lengths) < 24, language


def test_where_nothing_is_asked_for_it_is_the_very_same(starter: Checkpoint) -> None:
    assert extended(starter, ENGLISH) is starter
    assert extended(starter, []) is starter


def test_old_weights_stay_the_same_and_are_not_copied(starter: Checkpoint) -> None:
    before = {name: tensor.clone() for name, tensor in starter.model.state_dict().items()}
    checkpoint = extended(starter, captions("ru"))
    old, new = starter.model, checkpoint.model
    size = old.config.text_config.vocab_size
    assert torch.equal(embedding(checkpoint)[:size], embedding(starter))
    assert new.vision_model is old.vision_model
    shared = new.text_decoder.bert.encoder.layer[0].attention.self.query.weight
    assert shared is old.text_decoder.bert.encoder.layer[0].attention.self.query.weight
    assert all(torch.equal(tensor, before[name]) for name, tensor in old.state_dict().items())
    assert old.config.text_config.vocab_size == size


def test_sizes_agree_and_the_head_is_tied(published: Checkpoint) -> None:
    checkpoint = extended(published, captions("el"))
    size = checkpoint.model.config.text_config.vocab_size
    head = checkpoint.model.text_decoder.cls.predictions
    assert len(checkpoint.tokenizer) == size == len(embedding(checkpoint)) == len(head.bias)
    assert head.decoder.weight is embedding(checkpoint)
    assert head.decoder.bias is head.bias


def test_plain_transformers_loads_and_writes_with_it(published: Checkpoint, tmp_path: Path) -> None:
    checkpoint = extended(published, captions("hi"))
    save_checkpoint(checkpoint, tmp_path)
    model = BlipForConditionalGeneration.from_pretrained(tmp_path)
    processor = BlipProcessor.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), checkpoint.model.parameters(), strict=True))
    for caption in captions("hi"):
        ids = encode_caption(checkpoint.tokenizer, caption)
        assert processor.tokenizer(caption, add_special_tokens=False)["input_ids"] == ids
        assert decode_caption(processor.tokenizer, ids) == decode_caption(checkpoint.tokenizer, ids)


def test_a_version_is_extended_again_without_renumbering_anything(published: Checkpoint, tmp_path: Path) -> None:
    first = extended(published, captions("ru"))
    save_checkpoint(first, tmp_path)
    again = load_checkpoint(tmp_path)
    second = extended(again, [*captions("ru"), *captions("zh")])
    assert second.tokenizer.get_vocab().items() >= first.tokenizer.get_vocab().items()
    assert first_added_id(second.tokenizer) == first_added_id(first.tokenizer)
    assert torch.equal(embedding(second)[: len(embedding(first))], embedding(again))
    assert all(is_representable(second.tokenizer, caption) for caption in [*captions("ru"), *captions("zh")])


def test_the_same_captions_again_add_nothing(starter: Checkpoint) -> None:
    checkpoint = starter
    for _ in range(3):
        before, checkpoint = checkpoint, extended(checkpoint, captions("ru"))
    assert checkpoint is before


def test_english_is_written_with_the_tokens_that_it_always_was(starter: Checkpoint) -> None:
    checkpoint = extended(starter, [caption for language in LANGUAGES for caption in captions(language)])
    for caption in ENGLISH:
        assert encode_caption(checkpoint.tokenizer, caption) == encode_caption(starter.tokenizer, caption)


def test_a_word_begins_as_what_it_was_written_with(starter: Checkpoint) -> None:
    texts = ["die häuser", "die häuser", "die häuser"]
    checkpoint = extended(starter, texts)
    ids = encode_caption(starter.tokenizer, "häuser")
    (new,) = encode_caption(checkpoint.tokenizer, "häuser")
    torch.testing.assert_close(embedding(checkpoint)[new], embedding(starter)[ids].mean(dim=0))


def test_a_word_begins_as_what_the_model_says_in_its_place(starter: Checkpoint) -> None:
    told = {f"{number:064x}": text for number, text in enumerate(["a cat", "a tree", "a cat", "a tree"])}
    checkpoint = extended(
        starter, ["кошка", "дерево"] * 2, tell=lambda images: {image: told[image] for image in images}
    )
    (new,) = encode_caption(checkpoint.tokenizer, "кошка")
    near = torch.cosine_similarity(embedding(checkpoint)[new][None], embedding(starter))
    assert starter.tokenizer.convert_ids_to_tokens(int(near.argmax())) == "cat"


def test_a_model_without_spare_ids_is_extended_too(tmp_path: Path) -> None:
    """Whose start token is one that its tokenizer knows."""
    base = load_checkpoint(write_base(tmp_path))
    size = len(base.tokenizer)
    config = tiny_config(vocab_size=size, bos_token_id=base.tokenizer.cls_token_id)
    checkpoint = extended(Checkpoint(tiny_model(config), base.tokenizer, base.image_processor, ""), captions("de"))
    assert len(checkpoint.tokenizer) == checkpoint.model.config.text_config.vocab_size > size
    assert checkpoint.tokenizer.bos_token is None
