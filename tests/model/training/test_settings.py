"""Settings as people type them, and what follows from some of them."""

import random

import numpy as np
import pytest
from PIL import Image
from tests.model.training.test_loop import checkpoint

from captionloop.errors import SettingsError
from captionloop.model.training.augmentation import augmented
from captionloop.model.training.loop import schedule
from captionloop.model.training.settings import SCHEDULES, FinetuneSettings, Schedule, default_learning_rate, read_pairs
from captionloop.model.training.trainable import Trainable


def test_typed_settings_get_their_types() -> None:
    typed = ["way=lora", "steps=300", "learning_rate=3e-4", "augment=false", "prompt=a photo of"]
    assert read_pairs(typed) == {
        "way": "lora", "steps": 300, "learning_rate": 3e-4, "augment": False, "prompt": "a photo of",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("steps", "'steps' is no fine-tuning setting; expected name=value"),
        ("epochs=3", "Unknown fine-tuning setting epochs"),
        ("steps=many", "steps is 'many'; expected a whole number above 0"),
        ("augment=maybe", "augment is 'maybe'; expected true or false"),
        ("way=sideways", "way is 'sideways'; expected one of decoder, lora, full"),
        ("learning_rate=nan", "learning_rate is nan; expected a number above 0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_its_reason(typed: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        FinetuneSettings.from_text([typed])


def test_settings_come_back_from_their_manifest() -> None:
    settings = FinetuneSettings(way="lora", lora_parts="encoder", ema=0.99, steps=7)
    assert FinetuneSettings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_schedule_rises_to_its_peak_and_never_rises_again(name: Schedule) -> None:
    rates = [schedule(name, step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize(
    ("name", "last"), [("cosine", 0.0003), ("linear", 1 / 90), ("constant", 1.0), ("inverse_sqrt", 0.332)]
)
def test_where_each_schedule_ends(name: Schedule, last: float) -> None:
    assert schedule(name, 99, 100, 0.1) == pytest.approx(last, abs=1e-3)


def test_a_wider_model_and_more_trained_weights_get_a_lower_rate() -> None:
    assert default_learning_rate(128, "full") < default_learning_rate(128) < default_learning_rate(128, "lora")
    assert default_learning_rate(1024) < default_learning_rate(768)


def test_with_layer_decay_the_lower_layers_learn_more_slowly() -> None:
    trainable = Trainable(checkpoint(), FinetuneSettings(way="full", layer_decay=0.5))
    rate_of = {id(p): group["peak_rate"] for group in trainable.groups(1.0) for p in group["params"]}
    rates = {name: rate_of[id(parameter)] for name, parameter in trainable.parameters.items()}
    assert rates["text_decoder.bert.encoder.layer.1.output.dense.weight"] == 1.0
    assert rates["text_decoder.bert.encoder.layer.0.output.dense.weight"] == 0.5
    assert rates["text_decoder.cls.predictions.transform.dense.weight"] == 1.0


def test_no_weight_decay_on_biases_norms_and_positions() -> None:
    trainable = Trainable(checkpoint(), FinetuneSettings(way="full"))
    free = {id(p) for group in trainable.groups(1.0) if group["weight_decay"] == 0 for p in group["params"]}
    names = {name for name, parameter in trainable.parameters.items() if id(parameter) in free}
    assert "vision_model.embeddings.position_embedding" in names
    assert "text_decoder.bert.embeddings.position_embeddings.weight" in names
    assert "text_decoder.bert.encoder.layer.0.output.LayerNorm.weight" in names
    assert not any(name.endswith("dense.weight") for name in names)


def test_an_augmented_picture_keeps_its_size_and_its_left_and_right() -> None:
    picture = Image.new("RGB", (64, 48), "white")
    picture.paste((200, 0, 0), (0, 0, 32, 48))
    changed = augmented(picture, random.Random(1))
    assert changed.size == picture.size
    assert changed != picture
    pixels = np.asarray(changed)  # uint8 (height, width, 3)
    left, right = pixels[24, 8], pixels[24, 56]
    assert left[0] > 3 * left[1]
    assert min(right) > 150


def test_augmentation_follows_from_its_random_numbers() -> None:
    picture = Image.radial_gradient("L").convert("RGB")
    assert augmented(picture, random.Random(3)) == augmented(picture, random.Random(3))
    assert augmented(picture, random.Random(3)) != augmented(picture, random.Random(4))
