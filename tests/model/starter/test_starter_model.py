"""The starter model as it ships: small, honest about itself, and right about unseen scenes."""

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    PreTrainedTokenizerBase,
)

from captionloop.model.starter import STARTER_DIR, STARTER_NOTICE
from captionloop.model.starter.drawing import layout
from captionloop.model.starter.evaluate import evaluate, score
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import KINDS
from captionloop.model.starter.train import patch_targets, train
from captionloop.model.starter.vocabulary import build_tokenizer, words


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(STARTER_DIR)


def test_a_thousand_words_are_whole_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(words()) >= 1000
    for word in words():
        assert tokenizer.tokenize(word) == [word]


@pytest.mark.parametrize(
    "text",
    [
        "a small red car to the left of a large green tree",
        "xylophone quartz 0123456789 vexingly",
        "the quick brown fox jumps over the lazy dog",
        "illustration: a 3/4 view (left), 50% off!",
        'a #1 mug & "best" t-shirt; it\'s 20°c - really?',
        "tag: [cat] {dog} <bird> a_b*c+d=e@f^g`h|i~j\\k$5",
    ],
)
def test_any_english_caption_survives_the_tokenizer(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_the_tokenizer_lower_cases_and_drops_accents(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.tokenize("A Red CAFÉ") == ["a", "red", "cafe"]


def test_special_tokens_lie_as_in_published_checkpoints(tokenizer: PreTrainedTokenizerBase) -> None:
    config = BlipConfig.from_pretrained(STARTER_DIR)
    assert tokenizer.pad_token_id == config.text_config.pad_token_id == 0
    assert tokenizer.bos_token is None
    assert config.text_config.bos_token_id == len(tokenizer)
    assert config.text_config.sep_token_id == tokenizer.sep_token_id
    assert config.text_config.vocab_size == len(tokenizer) + 2


def test_the_shipped_tokenizer_is_the_one_that_the_code_builds(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()


def test_the_starter_model_is_small() -> None:
    model = BlipForConditionalGeneration.from_pretrained(STARTER_DIR)
    assert model.num_parameters() <= 3_000_000
    assert model.dtype == torch.float16
    assert (STARTER_DIR / "model.safetensors").stat().st_size <= 8 * 2**20
    assert not list(STARTER_DIR.glob("*.bin"))


def test_the_starter_model_says_what_it_is() -> None:
    assert "knows only our drawn scenes" in STARTER_NOTICE
    assert STARTER_NOTICE in (STARTER_DIR / "README.md").read_text().replace("\n", " ")


def test_no_file_of_the_starter_model_names_the_machine_that_made_it() -> None:
    for path in STARTER_DIR.glob("*.json"):
        assert not re.search(r'"/(tmp|work|home|root)', path.read_text())
        assert json.loads(path.read_text())


def test_pictures_are_prepared_as_blip_does_at_96_pixels() -> None:
    processor = BlipImageProcessor.from_pretrained(STARTER_DIR)
    assert dict(processor.size) == {"height": 96, "width": 96}


@pytest.mark.parametrize(("size", "beams"), [(96, 1), (480, 3)])
def test_the_starter_model_captions_unseen_scenes(size: int, beams: int) -> None:
    found = evaluate(STARTER_DIR, images=60, beams=beams, size=size)
    assert found.exact >= 0.95
    assert found.bleu_4 >= 0.98


def test_the_score_counts_whole_captions_and_their_parts() -> None:
    perfect = score(["a small red car"], ["a small red car"])
    assert (perfect.exact, perfect.bleu_4) == (1.0, 1.0)
    half = score(["a b c d e", "a b c d f"], ["a b c d e", "a b c d e"])
    assert half.exact == 0.5
    # 9/10, 7/8, 5/6 and 3/4 of the n-grams are found.
    assert half.bleu_4 == pytest.approx((9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** 0.25)


def test_the_patches_are_told_what_lies_there() -> None:
    scene, seed = example("unseen", 0)
    targets = patch_targets(scene, picture_seed=seed)
    for index, (thing, place) in enumerate(zip(scene.things, layout(scene, seed=seed), strict=True)):
        patch = targets[int(place.y * 8) * 8 + int(place.x * 8)]
        assert (patch[0], patch[3]) == (1 + KINDS.index(thing.kind), 1 + index)


@pytest.mark.slow
def test_training_runs_and_writes_a_model_that_plain_transformers_loads(tmp_path: Path) -> None:
    train(tmp_path / "model", seed=0, steps=3, pictures=40, cache=tmp_path, workers=1)
    model = BlipForConditionalGeneration.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert model.generate(torch.zeros(1, 3, 96, 96), max_length=8).shape[0] == 1
