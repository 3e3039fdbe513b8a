"""A caption that somebody has begun is finished by the model, after the very letters that were typed."""

from pathlib import Path

import pytest
import torch
from tests.model.captioning.published_layout import write_base
from tests.support.pictures import picture_of_scene

from captionloop.image_limits import ImageLimits
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captioning.completion import complete
from captionloop.model.captions.text import decode_caption, encode_caption
from captionloop.model.dataset.images import open_image
from captionloop.model.starter.pool import example


@pytest.fixture(scope="module")
def starter() -> Captioner:
    return Captioner.load("starter", version="v1", generation=GenerationSettings(), precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def features(starter: Captioner) -> torch.Tensor:
    import base64

    scene, seed = example("completion", 3)
    data = base64.b64decode(picture_of_scene(scene, seed=seed).partition(",")[2])
    return starter.encode([open_image(data, limits=ImageLimits())])


def test_without_a_beginning_it_is_the_caption_that_is_served(starter: Captioner, features: torch.Tensor) -> None:
    (served,) = starter.caption_features(features)

    assert complete(starter, features, "") == complete(starter, features, "  ") == served.caption


def test_each_beginning_of_the_caption_leads_to_it(starter: Captioner, features: torch.Tensor) -> None:
    """At every letter: within words, at their ends and after spaces."""
    (served,) = starter.caption_features(features)
    words = served.caption.split()

    for count in range(1, len(words)):
        beginning = " ".join(words[:count])
        assert complete(starter, features, beginning + " ") == " ".join(words[count:])
        assert complete(starter, features, beginning) == " " + " ".join(words[count:])
    finished = {served.caption[:place] + complete(starter, features, served.caption[:place]) for place in range(2, 14)}
    assert served.caption in finished


def test_what_was_typed_stays_as_it_was_typed(starter: Captioner, features: torch.Tensor) -> None:
    for typed in ("A  small Red", "two ", "there is a big, ", "A SMALL ", "a drawing of"):
        rest = complete(starter, features, typed)
        assert rest, typed
        assert typed[-1] != " " or rest[0] != " ", typed


@pytest.mark.parametrize("typed", ["zzqxj", "🦊 ", "猫", "\x00", "ß" * 3, "'", '"a', "a red [SEP]"])
def test_odd_beginnings_do_no_harm(starter: Captioner, features: torch.Tensor, typed: str) -> None:
    complete(starter, features, typed)


def test_a_beginning_as_long_as_any_caption_gets_nothing(starter: Captioner, features: torch.Tensor) -> None:
    assert complete(starter, features, "a red circle " * 200) == ""


def test_it_is_the_prompt_of_plain_transformers(tmp_path: Path) -> None:
    """The same tokens as `generate` with the words as its prompt."""
    settings = GenerationSettings(num_beams=1)
    captioner = Captioner.load(
        write_base(tmp_path / "base"), version="v1", generation=settings, precision="fp32", device="cpu"
    )
    tokenizer, model = captioner.checkpoint.tokenizer, captioner.checkpoint.model
    image = open_image(_noise(), limits=ImageLimits())
    pixels = captioner.checkpoint.image_processor([image], return_tensors="pt")["pixel_values"]
    beginning = encode_caption(tokenizer, "a red")
    start = [model.config.text_config.bos_token_id, *beginning]

    written = captioner.write_on(captioner.encode([image]), beginning)
    generated = model.text_decoder.generate(
        input_ids=torch.tensor([start]),
        encoder_hidden_states=model.vision_model(pixels)[0],
        max_length=settings.max_length,
        eos_token_id=model.config.text_config.sep_token_id,
        pad_token_id=model.config.text_config.pad_token_id,
        repetition_penalty=settings.repetition_penalty,
        num_beams=1,
        do_sample=False,
    )

    assert decode_caption(tokenizer, written) == decode_caption(tokenizer, generated[0].tolist())


def _noise() -> bytes:
    import io

    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
