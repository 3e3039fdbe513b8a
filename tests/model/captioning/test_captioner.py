"""The captioner gives the captions of plain `transformers`, in every way of calling it."""

from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.model.captioning.published_layout import write_base, write_fp16, write_large

from captionloop.device import bf16_unit_of_cpu
from captionloop.errors import CheckpointError
from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner, ScoredCaption
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.captions.text import decode_caption, normalise_caption
from captionloop.model.dataset.images import content_hash

GREEDY = GenerationSettings(num_beams=1)
BEAMS = GenerationSettings()


def pictures(count: int) -> list[Image.Image]:
    """Coarse noise, so that the encoder sees something else in each."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [Image.fromarray(pixels).resize((48, 40), Image.Resampling.NEAREST) for pixels in small]


IMAGES = pictures(12)
HASHES = [content_hash(image.tobytes()) for image in IMAGES]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("models") / "base")


def load(source: Path, generation: GenerationSettings = BEAMS, **options: Any) -> Captioner:
    options = {"precision": "fp32", "device": "cpu"} | options
    return Captioner.load(source, version="v1", generation=generation, **options)


def captions(suggestions: Sequence[ScoredCaption]) -> list[str]:
    return [suggestion.caption for suggestion in suggestions]


def plain_ids(checkpoint: Checkpoint, settings: GenerationSettings, **options: Any) -> torch.Tensor:
    """What somebody would write who uses `transformers` alone."""
    pixels = checkpoint.image_processor(IMAGES, return_tensors="pt")["pixel_values"]
    inputs = {}
    if settings.prompt:
        inputs = dict(checkpoint.tokenizer([settings.prompt] * len(IMAGES), return_tensors="pt"))
        inputs.pop("token_type_ids", None)
    output: torch.Tensor = checkpoint.model.generate(
        pixel_values=pixels,
        **inputs,
        num_beams=settings.num_beams,
        min_length=settings.min_length,
        max_length=settings.max_length,
        repetition_penalty=settings.repetition_penalty,
        **options,
    )
    return output


SETTINGS = {
    "greedy": GREEDY,
    "3 beams": BEAMS,
    "5 beams": GenerationSettings(num_beams=5),
    "prompt": GenerationSettings(prompt="a picture of"),
    "greedy with prompt": GenerationSettings(num_beams=1, prompt="a picture of "),
    "longer than 20": GenerationSettings(min_length=25, max_length=40),
    "shorter": GenerationSettings(min_length=0, max_length=6),
    "penalty": GenerationSettings(repetition_penalty=1.5),
    "greedy with penalty": GenerationSettings(num_beams=1, repetition_penalty=1.5),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_captions_are_those_of_plain_transformers(directory: Path, settings: GenerationSettings) -> None:
    captioner = load(directory, settings)
    prompt = len(captioner.checkpoint.tokenizer(settings.prompt, add_special_tokens=False)["input_ids"])
    expected = [
        decode_caption(captioner.checkpoint.tokenizer, ids[1 + prompt :])
        for ids in plain_ids(load_checkpoint(directory), settings)
    ]
    assert captions(captioner.caption(IMAGES, batch_size=len(IMAGES))) == expected
    assert len(set(expected)) > len(IMAGES) // 2, "the model says the same of all images, so this proves nothing"


@pytest.mark.parametrize("layout", [write_large, write_fp16])
def test_captions_are_those_of_transformers_in_the_other_published_layouts(layout: Any, tmp_path: Path) -> None:
    source = layout(tmp_path / "model")
    checkpoint = load_checkpoint(source)
    expected = [decode_caption(checkpoint.tokenizer, ids) for ids in plain_ids(checkpoint, BEAMS)]
    assert captions(load(source).caption(IMAGES)) == expected


def test_a_caption_starts_from_the_start_token_of_the_configuration(directory: Path) -> None:
    checkpoint = load_checkpoint(directory)
    before = captions(load(directory, GREEDY).caption(IMAGES))
    start = checkpoint.model.config.text_config.bos_token_id
    with torch.no_grad():
        checkpoint.model.text_decoder.bert.embeddings.word_embeddings.weight[start] *= -1
    after = Captioner(checkpoint, version="v2", generation=GREEDY, precision="fp32").caption(IMAGES)
    assert captions(after) != before


@pytest.mark.parametrize("settings", [GREEDY, BEAMS], ids=["greedy", "3 beams"])
def test_captions_are_the_same_one_by_one_and_in_batches(directory: Path, settings: GenerationSettings) -> None:
    captioner = load(directory, settings)
    together = captioner.caption(IMAGES, batch_size=5)
    alone = [captioner.caption([image])[0] for image in IMAGES]
    assert captions(together) == captions(alone)
    assert [s.score for s in together] == pytest.approx([s.score for s in alone], abs=1e-5)


def test_no_images_give_no_captions(directory: Path) -> None:
    assert load(directory).caption([]) == []
    assert load(directory).caption_features(torch.zeros(0, 5, 32)) == []


def test_captions_are_in_normal_form(directory: Path) -> None:
    for caption in captions(load(directory).caption(IMAGES)):
        assert caption == normalise_caption(caption)


def test_lengths_are_kept(directory: Path) -> None:
    text = load_checkpoint(directory).model.config.text_config
    for ids in plain_ids(load_checkpoint(directory), GenerationSettings(min_length=7, max_length=11)):
        written = [int(i) for i in ids]
        end = written.index(text.sep_token_id) if text.sep_token_id in written else 11
        assert 7 <= end <= 11


# -- scores ------------------------------------------------------------------------------------------------------


def score_by_hand(captioner: Captioner, image: Image.Image, ids: list[int]) -> float:
    """One token at a time, without a cache: the probability of each token after those before it."""
    text = captioner.checkpoint.model.config.text_config
    features = captioner.encode([image])
    probabilities = []
    for position in range(1, len(ids)):
        with torch.no_grad():
            logits = captioner.checkpoint.model.text_decoder(
                input_ids=torch.tensor([ids[:position]]), encoder_hidden_states=features
            ).logits[0, -1]
        probabilities.append(float(torch.softmax(logits, 0)[ids[position]]))
        if ids[position] == text.sep_token_id:
            break
    return sum(probabilities) / len(probabilities)


@pytest.mark.parametrize(
    "settings",
    [GREEDY, BEAMS, GenerationSettings(num_beams=5, repetition_penalty=1.5), GenerationSettings(max_length=7)],
    ids=["greedy", "3 beams", "penalty", "cut short"],
)
def test_the_score_is_the_mean_probability_of_the_tokens_written(directory: Path, settings: GenerationSettings) -> None:
    captioner = load(directory, settings)
    sequences = plain_ids(load_checkpoint(directory), settings)
    for image, ids, suggestion in zip(IMAGES, sequences, captioner.caption(IMAGES), strict=True):
        assert 0 <= suggestion.score <= 1
        assert suggestion.score == pytest.approx(score_by_hand(captioner, image, ids.tolist()), abs=1e-5)


def test_the_prompt_has_no_part_in_the_score(directory: Path) -> None:
    settings = GenerationSettings(num_beams=1, prompt="a picture of")
    captioner = load(directory, settings)
    ids = plain_ids(load_checkpoint(directory), settings)[0].tolist()
    probabilities_with_prompt = score_by_hand(captioner, IMAGES[0], ids)
    assert captioner.caption(IMAGES[:1])[0].score != pytest.approx(probabilities_with_prompt, abs=1e-6)


def test_a_prompt_that_the_vocabulary_lacks_is_left_out_and_named(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Instead of [UNK], which no training taught the model anything about."""
    captioner = load(directory, GenerationSettings(prompt="图片 of"))
    assert captioner.caption(IMAGES) == load(directory, GenerationSettings()).caption(IMAGES)
    assert captioner.prompt_length == 1
    assert "without the prompt '图片 of': its vocabulary lacks 图, 片. A run on corrections adds it." in caplog.text


def log_probabilities_by_hand(captioner: Captioner, image: Image.Image, ids: Sequence[int]) -> list[float]:
    """One token at a time, without a cache."""
    features = captioner.encode([image])
    found = []
    for position in range(captioner.prompt_length, len(ids)):
        with torch.no_grad():
            logits = captioner.checkpoint.model.text_decoder(
                input_ids=torch.tensor([ids[:position]]), encoder_hidden_states=features
            ).logits[0, -1]
        found.append(float(torch.log_softmax(logits, 0)[ids[position]]))
    return found


# -- beams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_the_first_beam_of_each_picture_is_what_is_served(directory: Path, settings: GenerationSettings) -> None:
    captioner = load(directory, settings)
    features = captioner.encode(IMAGES)

    beams = captioner.beams(features)

    assert [len(found) for found in beams] == [settings.num_beams] * len(IMAGES)
    assert [found[0].scored for found in beams] == captioner.caption_features(features)


@pytest.mark.parametrize("name", ["greedy", "3 beams", "prompt", "penalty", "shorter"])
def test_the_first_beam_has_the_very_tokens_of_plain_transformers(directory: Path, name: str) -> None:
    captioner = load(directory, SETTINGS[name])
    expected = plain_ids(load_checkpoint(directory), SETTINGS[name]).tolist()

    beams = captioner.beams(captioner.encode(IMAGES))

    for found, ids in zip(beams, expected, strict=True):
        assert list(found[0].ids) == ids[: len(found[0].ids)]


@pytest.mark.parametrize("name", ["greedy", "3 beams", "prompt", "penalty", "shorter"])
def test_beams_come_with_the_log_probability_of_each_token(directory: Path, name: str) -> None:
    captioner = load(directory, SETTINGS[name])

    for image, found in zip(IMAGES[:3], captioner.beams(captioner.encode(IMAGES[:3])), strict=True):
        for beam in found:
            by_hand = log_probabilities_by_hand(captioner, image, beam.ids)
            assert beam.log_probabilities == pytest.approx(by_hand, abs=1e-4)


def test_no_pictures_have_no_beams(directory: Path) -> None:
    assert load(directory).beams(torch.zeros(0, 5, 32)) == []


# -- features ----------------------------------------------------------------------------------------------------


def test_the_encoders_output_is_that_of_the_vision_model(directory: Path) -> None:
    captioner = load(directory)
    checkpoint = load_checkpoint(directory)
    pixels = checkpoint.image_processor(IMAGES, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = checkpoint.model.vision_model(pixel_values=pixels).last_hidden_state
    encoded = captioner.encode(IMAGES)
    assert encoded.shape == (12, 5, 32)
    torch.testing.assert_close(encoded, expected)


def test_encoder_outputs_can_be_trained_on(directory: Path) -> None:
    weight = torch.ones(32, requires_grad=True)
    (load(directory).encode(IMAGES[:2]) * weight).sum().backward()
    assert weight.grad is not None


def test_captions_from_features_are_those_from_images(directory: Path) -> None:
    captioner = load(directory)
    assert captioner.caption_features(captioner.encode(IMAGES)) == captioner.caption(IMAGES, batch_size=12)


def test_a_known_image_skips_the_encoder(directory: Path, tmp_path: Path) -> None:
    features = FeatureCache(tmp_path, max_bytes=1_000_000)
    first = load(directory, features=features).caption(IMAGES, image_hashes=HASHES)

    second = load(directory, features=features)
    del second._encoder  # whoever needs it fails
    assert second.caption(IMAGES, image_hashes=HASHES) == first
    with pytest.raises(AttributeError):
        second.caption(IMAGES)


def test_known_and_unknown_images_may_come_together_and_twice(directory: Path, tmp_path: Path) -> None:
    captioner = load(directory, features=FeatureCache(tmp_path, max_bytes=1_000_000))
    captioner.encode(IMAGES[:3], image_hashes=HASHES[:3])
    order = [5, 1, 5, 0, 7]
    mixed = captioner.encode([IMAGES[i] for i in order], image_hashes=[HASHES[i] for i in order])
    torch.testing.assert_close(mixed, captioner.encode([IMAGES[i] for i in order]), atol=1e-5, rtol=1e-4)


def test_a_hash_too_few_is_noticed(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="12 images, but 11 hashes"):
        load(directory).encode(IMAGES, image_hashes=HASHES[:11])


def test_features_of_another_precision_are_other_features(directory: Path) -> None:
    assert load(directory, precision="bf16").encoder_hash != load(directory).encoder_hash
    assert load(directory).encoder_hash == load(directory, GREEDY).encoder_hash


# -- settings ----------------------------------------------------------------------------------------------------


def test_a_captioner_says_what_it_is(directory: Path) -> None:
    captioner = load(directory, precision="bf16")
    assert (captioner.version, captioner.generation, captioner.precision) == ("v1", BEAMS, "bf16")
    assert captioner.device == torch.device("cpu")
    assert captioner.encode(IMAGES[:1]).dtype == torch.bfloat16


def test_auto_precision_is_one_of_the_two(directory: Path) -> None:
    captioner = load(directory, precision="auto")
    hardware = bf16_unit_of_cpu() is not None
    assert captioner.precision == ("bf16" if hardware else "fp32")
    assert all(0 <= s.score <= 1 for s in captioner.caption(IMAGES))


def test_an_unknown_precision_is_refused(directory: Path) -> None:
    with pytest.raises(ValueError, match="precision is 'int8'; expected 'auto', 'fp32' or 'bf16'"):
        load(directory, precision="int8")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (GenerationSettings(max_length=500), "max_length is 500; the model has only 64 positions"),
        (GenerationSettings(max_length=6, prompt="a picture of a red"), "leaves no room for a caption"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(
    directory: Path, settings: GenerationSettings, message: str
) -> None:
    checkpoint = load_checkpoint(directory)
    checkpoint.model.config.text_config.max_position_embeddings = 64
    with pytest.raises(CheckpointError, match=message):
        Captioner(checkpoint, version="v1", generation=settings)


def test_generation_keys_in_the_models_own_files_change_nothing(directory: Path) -> None:
    checkpoint = load_checkpoint(directory)
    checkpoint.model.text_decoder.generation_config.update(
        do_sample=True, num_beams=7, max_length=9, no_repeat_ngram_size=1, length_penalty=-5.0, suppress_tokens=[20]
    )
    stubborn = Captioner(checkpoint, version="v1", generation=BEAMS, precision="fp32")
    assert captions(stubborn.caption(IMAGES)) == captions(load(directory).caption(IMAGES))


def test_callers_from_several_threads_take_turns(directory: Path) -> None:
    captioner = load(directory)
    expected = captions(captioner.caption(IMAGES, batch_size=3))
    results: list[list[str]] = []
    threads = [
        Thread(target=lambda: results.append(captions(captioner.caption(IMAGES, batch_size=3)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 3


@pytest.mark.parametrize("size", [(500, 300), (3, 900), (96, 96), (40, 30), (1, 1)])
def test_what_is_made_of_a_shrunk_picture_is_what_is_made_of_the_picture(size: tuple[int, int]) -> None:
    captioner = Captioner.load("starter", version="starter", generation=GenerationSettings(), precision="fp32")
    picture = Image.effect_noise(size, 80).convert("RGB")

    shrunk = captioner.shrink(picture)

    assert shrunk.size == (96, 96)
    assert torch.equal(captioner.encode([shrunk]), captioner.encode([picture]))
