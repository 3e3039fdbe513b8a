"""The fast path writes what plain `transformers` writes: `generate`, in fp32, is the reference."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from tests.model.captioning.published_layout import tiny_config, tiny_model
from transformers import BlipConfig, BlipForConditionalGeneration, GenerationConfig

from captionloop.model.blip.checkpoint import load_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning import packed_linear
from captionloop.model.captioning.beam_search import SearchRules, search
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captioning.decoder import TextDecoder
from captionloop.model.captioning.encoder import ImageEncoder
from captionloop.model.metrics import evaluate_captions
from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.evaluate import UNSEEN
from captionloop.model.starter.pool import IMAGE_SIZE, example
from captionloop.model.starter.scenes import caption, draw
from captionloop.model.training.encoder import encode_images

PICTURES = 200
BATCH = 50


def with_untied_head(config: BlipConfig) -> BlipConfig:
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    return config


CONFIGURATIONS = {
    "base": tiny_config,
    "wider vision": lambda: tiny_config(vision_hidden=48),
    "one layer": lambda: tiny_config(num_hidden_layers=1),
    "five layers": lambda: tiny_config(num_hidden_layers=5),
    "odd width": lambda: tiny_config(hidden_size=36, num_attention_heads=3, intermediate_size=50),
    "other activation": lambda: tiny_config(hidden_act="relu"),
    "larger vocabulary": lambda: tiny_config(vocab_size=1000),
    "untied head": lambda: with_untied_head(tiny_config()),
}
RULES: dict[str, dict[str, Any]] = {
    "greedy": {"num_beams": 1},
    "3 beams": {},
    "5 beams": {"num_beams": 5},
    "at least 12": {"min_length": 12},
    "at most 7": {"max_length": 7},
    "penalty": {"repetition_penalty": 1.5},
    "greedy with penalty": {"num_beams": 1, "repetition_penalty": 1.5},
    "prompt": {"prompt": (40, 41, 42)},
    "greedy with prompt": {"num_beams": 1, "prompt": (40, 41, 42)},
    "all at once": {
        "num_beams": 5, "min_length": 9, "max_length": 15, "repetition_penalty": 1.2, "prompt": (40, 41, 42)
    },
}  # fmt: skip


@cache
def model_of(name: str) -> BlipForConditionalGeneration:
    return tiny_model(CONFIGURATIONS[name]())


def pixels() -> Iterator[torch.Tensor]:
    """Coarse noise, so that the encoder sees something else in each picture."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(PICTURES, 3, 4, 4, generator=generator)
    yield from torch.nn.functional.interpolate(noise, scale_factor=8).split(BATCH)


def ids_of_transformers(model: BlipForConditionalGeneration, rules: dict[str, Any]) -> list[list[int]]:
    """What its own `generate` writes, without the padding."""
    text = model.config.text_config
    prompt = torch.tensor([[text.bos_token_id, *rules.get("prompt", ())]])
    settings = GenerationConfig(
        **({"num_beams": 3, "min_length": 5, "max_length": 20} | {k: v for k, v in rules.items() if k != "prompt"}),
        do_sample=False,
        bos_token_id=text.bos_token_id,
        eos_token_id=text.sep_token_id,
        pad_token_id=text.pad_token_id,
    )
    found = []
    for some in pixels():
        begin = prompt.expand(len(some), -1)
        features = model.vision_model(pixel_values=some).last_hidden_state
        written = model.text_decoder.generate(
            input_ids=begin,
            attention_mask=torch.ones_like(begin),
            encoder_hidden_states=features,
            generation_config=settings,
        )
        for ids in written.tolist():
            end = ids.index(text.sep_token_id, prompt.shape[1]) + 1 if text.sep_token_id in ids else len(ids)
            found.append(ids[:end])
    return found


def our_ids(model: BlipForConditionalGeneration, rules: dict[str, Any]) -> list[list[int]]:
    text = model.config.text_config
    read, decoder = ImageEncoder(model.vision_model), TextDecoder(model.text_decoder)
    ours = SearchRules(
        beams=rules.get("num_beams", 3),
        shortest=rules.get("min_length", 5),
        longest=rules.get("max_length", 20),
        repetition_penalty=rules.get("repetition_penalty", 1.0),
        end=text.sep_token_id,
    )
    prompt = torch.tensor([text.bos_token_id, *rules.get("prompt", ())])
    return [list(captions[0].ids) for some in pixels() for captions in search(decoder, read(some), prompt, ours)]


def assert_same(name: str, rules: dict[str, Any]) -> None:
    model = model_of(name)
    with torch.inference_mode():
        expected, ours = ids_of_transformers(model, rules), our_ids(model, rules)

    assert ours == expected
    assert len(set(map(tuple, expected))) > PICTURES // 3, "it says the same of all pictures, so this proves nothing"


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
def test_in_fp32_every_token_of_200_pictures_is_that_of_transformers(rules: dict[str, Any]) -> None:
    assert_same("base", rules)


@pytest.mark.parametrize("rules", ["greedy", "3 beams"])
@pytest.mark.parametrize("configuration", [name for name in CONFIGURATIONS if name != "base"])
def test_every_token_is_that_of_transformers_with_other_configurations(configuration: str, rules: str) -> None:
    assert_same(configuration, RULES[rules])


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
def test_every_token_is_that_of_transformers_with_packed_matrices(
    rules: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_linear, "_LARGE", 0)  # as if those of this small model were worth it

    assert_same("base", rules)


def test_the_encoder_passes_gradients_on_as_transformers_does() -> None:
    model = model_of("base")
    some = next(pixels())[:2]
    gradients = []
    for output in (model.vision_model(pixel_values=some).last_hidden_state, encode_images(model.vision_model, some)):
        model.zero_grad()
        output.square().mean().backward()
        gradients.append(model.vision_model.embeddings.patch_embedding.weight.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("has_amx", [True, False])
def test_in_bf16_pictures_are_read_as_exactly_as_by_transformers(
    has_amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both roundings are as far from fp32, whichever way attention is computed."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_tile": has_amx, "avx512_bf16": True})
    model, some = model_of("base").vision_model, next(pixels())
    rounded = copy.deepcopy(model).bfloat16()
    with torch.inference_mode():
        exact = model(pixel_values=some).last_hidden_state
        theirs = rounded(pixel_values=some.bfloat16()).last_hidden_state
        ours = ImageEncoder(rounded)(some.bfloat16())

    assert (ours - exact).abs().mean() <= 1.05 * (theirs - exact).abs().mean()


TwoPrecisions = tuple[list[str], list[str], dict[str, list[str]]]
"""Captions in fp32, the same in bf16, and the references by the picture's number."""


@pytest.fixture(scope="module")
def captions_of_the_starter_model() -> TwoPrecisions:
    """Of scenes that it has not seen."""
    scenes = [example(UNSEEN, number) for number in range(PICTURES)]
    pictures = [draw(scene, IMAGE_SIZE, seed) for scene, seed in scenes]
    both = []
    for precision in ("fp32", "bf16"):
        captioner = Captioner(
            load_checkpoint(STARTER_DIR), version="starter", generation=GenerationSettings(),
            precision=precision,
        )  # fmt: skip
        both.append([suggestion.caption for suggestion in captioner.caption(pictures, batch_size=BATCH)])
    return both[0], both[1], {str(number): [caption(scene)] for number, (scene, _) in enumerate(scenes)}


def test_in_bf16_98_of_100_captions_of_the_starter_model_are_those_in_fp32(
    captions_of_the_starter_model: TwoPrecisions,
) -> None:
    exact, rounded, _ = captions_of_the_starter_model
    assert sum(map(str.__eq__, exact, rounded)) >= 0.98 * PICTURES


def test_in_bf16_the_starter_models_cider_is_within_half_a_point(captions_of_the_starter_model: TwoPrecisions) -> None:
    exact, rounded, references = captions_of_the_starter_model
    scores = []
    for captions in (exact, rounded):
        candidates = {str(number): caption for number, caption in enumerate(captions)}
        scores.append(100 * evaluate_captions(references, candidates).cider_d)
    assert abs(scores[0] - scores[1]) <= 0.5
