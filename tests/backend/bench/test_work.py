"""The counted operations equal PyTorch's own count for the plain model."""

from collections.abc import Callable

import pytest
import torch
from tests.model.captioning.published_layout import tiny_config, tiny_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import BlipForConditionalGeneration

from captionloop.backend.bench.work import encoding, full_step, writing

CONFIG = tiny_config(vision_hidden=48)
PATCHES = (CONFIG.vision_config.image_size // CONFIG.vision_config.patch_size) ** 2 + 1


def operations(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


@pytest.fixture(scope="module")
def model() -> BlipForConditionalGeneration:
    return tiny_model(CONFIG)


@torch.no_grad()
def test_reading_a_picture(model: BlipForConditionalGeneration) -> None:
    pixels = torch.zeros(1, 3, CONFIG.vision_config.image_size, CONFIG.vision_config.image_size)

    expected = operations(lambda: model.vision_model(pixel_values=pixels))

    assert encoding(CONFIG, batch=1).operations == expected


@torch.no_grad()
def test_writing_a_token(model: BlipForConditionalGeneration) -> None:
    features = torch.zeros(1, PATCHES, CONFIG.vision_config.hidden_size)
    token = torch.full((1, 1), CONFIG.text_config.bos_token_id)

    expected = operations(lambda: model.text_decoder(input_ids=token, encoder_hidden_states=features))

    assert writing(CONFIG, tokens=1, beams=1, batch=1).operations == pytest.approx(expected, rel=0.05)


def test_a_step_of_training_all_weights(model: BlipForConditionalGeneration) -> None:
    pixels = torch.zeros(1, 3, CONFIG.vision_config.image_size, CONFIG.vision_config.image_size)
    tokens = torch.full((1, 12), CONFIG.text_config.bos_token_id)

    expected = operations(lambda: model(pixel_values=pixels, input_ids=tokens, labels=tokens).loss.backward())

    assert full_step(CONFIG, tokens=12).operations == pytest.approx(expected, rel=0.05)
