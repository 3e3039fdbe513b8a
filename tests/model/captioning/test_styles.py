"""A model that writes in several styles: each is what plain `transformers` writes after the style's token."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.model.captioning.published_layout import write_base
from tests.model.captioning.test_captioner import IMAGES, captions, load
from transformers import BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

from captionloop.errors import CheckpointError
from captionloop.model.blip.checkpoint import load_checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings, TaughtStyle
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captioning.word_regions import word_regions
from captionloop.model.captions.orthography import Writing
from captionloop.model.captions.text import decode_caption
from captionloop.model.vocabulary.style_tokens import with_style_tokens

STYLES = {"British": TaughtStyle("[style1]"), "Titles": TaughtStyle("[style2]", Writing(case="title"))}
TWO = GenerationSettings(max_length=12, styles=STYLES)
ASKED = {
    "greedy": replace(TWO, num_beams=1),
    "3 beams": TWO,
    "prompt": replace(TWO, prompt="a picture of", max_length=16),
    "penalty": replace(TWO, repetition_penalty=1.5),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the published layout with two styles."""
    models = tmp_path_factory.mktemp("models")
    checkpoint = with_style_tokens(load_checkpoint(write_base(models / "base")), ["[style1]", "[style2]"])
    save_checkpoint(checkpoint, models / "styled", generation=TWO)
    return models / "styled"


def plain(directory: Path, generation: GenerationSettings) -> list[str]:
    """What somebody gets who uses `transformers` alone, as the model card says."""
    model = BlipForConditionalGeneration.from_pretrained(directory)
    # BlipProcessor takes torchvision's image processor where that is installed, which resizes differently.
    processor = BlipProcessor(
        image_processor=BlipImageProcessorPil.from_pretrained(directory),
        tokenizer=BlipProcessor.from_pretrained(directory).tokenizer,
    )
    text = {"text": [generation.plain_prompt] * len(IMAGES)} if generation.plain_prompt else {}
    inputs = processor(images=IMAGES, **text, return_tensors="pt")
    settings = generation.for_transformers(model.config.text_config)
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    ids = model.generate(**inputs, generation_config=model.generation_config)
    prompt = len(processor.tokenizer(generation.prompt, add_special_tokens=False)["input_ids"])
    token = generation.style is not None
    return [decode_caption(processor.tokenizer, written[1 + token + prompt :]) for written in ids.tolist()]


@pytest.mark.parametrize("style", [None, "British", "Titles"])
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_each_style_is_what_plain_transformers_writes_after_its_token(
    directory: Path, asked: GenerationSettings, style: str | None
) -> None:
    captioner = load(directory, asked).in_style(style)
    expected = plain(directory, replace(asked, style=style))
    assert captions(captioner.caption(IMAGES, batch_size=len(IMAGES))) == [
        captioner.generation.style_writing.write(caption) for caption in expected
    ]


def test_styles_write_differently_and_none_shows_its_token(directory: Path) -> None:
    captioner = load(directory, TWO)
    written = {style: captions(captioner.in_style(style).caption(IMAGES)) for style in (None, "British", "Titles")}
    assert written[None] != written["British"] != [caption.lower() for caption in written["Titles"]]
    assert not any("style" in caption.lower() for found in written.values() for caption in found)


def test_each_style_has_its_own_capitals(directory: Path) -> None:
    caption = load(directory, TWO).in_style("Titles").caption(IMAGES[:1])[0].caption
    assert caption == Writing(case="title").write(caption) != caption.lower()


def test_a_style_is_the_same_in_batches_one_by_one_and_in_beams(directory: Path) -> None:
    captioner = load(directory, TWO).in_style("British")
    together = captions(captioner.caption(IMAGES, batch_size=5))
    features = captioner.encode(IMAGES)
    assert together == [captioner.caption([image])[0].caption for image in IMAGES]
    assert together == captions([found[0].scored for found in captioner.beams(features)])
    assert together == captions(captioner.caption_features(features))


def test_a_captioner_without_a_named_style_writes_as_the_model_did_before(directory: Path, tmp_path: Path) -> None:
    """The rows that styles added change nothing for those who do not ask for one."""
    before = load(write_base(tmp_path), GenerationSettings(max_length=12))
    assert captions(load(directory, TWO).caption(IMAGES)) == captions(before.caption(IMAGES))


def test_styles_share_the_weights_and_the_lock(directory: Path) -> None:
    captioner = load(directory, TWO)
    styled = captioner.in_style("British")
    assert styled.checkpoint is captioner.checkpoint
    assert (captioner.generation.style, styled.generation.style) == (None, "British")
    assert styled.in_style("British") is styled
    assert captions(styled.in_style(None).caption(IMAGES)) == captions(captioner.caption(IMAGES))


def test_several_threads_may_ask_for_several_styles(directory: Path) -> None:
    captioner = load(directory, TWO)
    expected = {style: captions(captioner.in_style(style).caption(IMAGES)) for style in (None, "British", "Titles")}
    found: dict[str | None, list[str]] = {}

    def ask(style: str | None) -> None:
        found[style] = captions(captioner.in_style(style).caption(IMAGES))

    threads = [threading.Thread(target=ask, args=(style,)) for style in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_the_words_of_a_styled_caption_have_their_regions(directory: Path) -> None:
    captioner = load(directory, TWO).in_style("Titles")
    found = word_regions(captioner, IMAGES[0])
    assert found.beams[0].caption == captioner.caption(IMAGES[:1])[0].caption
    assert "".join(word.text for word in found.words) == found.beams[0].caption.replace(" ", "")


def test_the_style_has_no_part_in_the_score(directory: Path) -> None:
    captioner = load(directory, replace(TWO, num_beams=1)).in_style("British")
    ((beam,),) = captioner.beams(captioner.encode(IMAGES[:1]))
    assert len(beam.log_probabilities) == len(beam.ids) - 2 == len(beam.ids) - captioner.prompt_length


def test_an_unknown_style_is_named_with_those_there_are(directory: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"Version v1 was not taught the style 'French'\. It knows: 'British', 'Ti"
    ):
        load(directory, TWO).in_style("French")
    with pytest.raises(CheckpointError, match="It knows: none with a name"):
        load(directory).in_style("French")


def test_settings_of_another_models_styles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'British' is led in by \[style1\], which the tokenizer of .* lacks"):
        load(write_base(tmp_path), replace(TWO, style="British"))


def test_a_style_counts_against_the_length(directory: Path) -> None:
    captioner = load(directory, replace(TWO, num_beams=1, min_length=0, max_length=8)).in_style("British")
    for (beam,) in captioner.beams(captioner.encode(IMAGES)):
        assert len(beam.ids) <= 8


def test_features_do_not_depend_on_the_style(directory: Path) -> None:
    captioner: Captioner = load(directory, TWO)
    assert captioner.encoder_hash == captioner.in_style("British").encoder_hash
    torch.testing.assert_close(captioner.encode(IMAGES), captioner.in_style("British").encode(IMAGES))
