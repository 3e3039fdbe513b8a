"""Captioning and training leave no tensor on the CPU that belongs on the device, and come to the same as on the CPU.

There is no GPU here. `pretend_device` is one that refuses what GPUs refuse, in a process of its own, as it stays
registered; docs/devices.md says what it does not find.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
import torch
from PIL import Image

from captionloop.model.active_learning.diversity import pooled
from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.blip.image_tensors import Pixels
from captionloop.model.captioning import word_regions
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captioning.decoder import _Layer as ServingLayer
from captionloop.model.captions.example import Example
from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.pool import IMAGE_SIZE, example
from captionloop.model.starter.scenes import draw
from captionloop.model.training import decoder as training_decoder
from captionloop.model.training import encoder as training_encoder
from captionloop.model.training.caption_targets import TrainingBatch
from captionloop.model.training.examples import TrainingData
from captionloop.model.training.loop import finetune
from captionloop.model.training.settings import FinetuneSettings

pytestmark = pytest.mark.slow

WAYS = {
    "decoder": {"way": "decoder"},
    "lora": {"way": "lora"},
    "lora in both": {"way": "lora", "lora_parts": "both"},
    "full": {"way": "full"},
    "full, recomputing": {"way": "full", "gradient_checkpointing": True},
}
SEARCHES = {"greedy": {"num_beams": 1}, "beams": {"num_beams": 3, "repetition_penalty": 1.3, "prompt": "a"}}

Elsewhere = Callable[..., Any]
"""Calls a function of this module, with arguments, in a process of its own."""


def _pictures() -> dict[str, Image.Image]:
    return {
        str(number): draw(scene, IMAGE_SIZE, seed) for number in range(3) for scene, seed in [example("device", number)]
    }


def _loaded(device: str) -> Checkpoint:
    if device != "cpu":
        import tests.support.pretend_device  # noqa: F401 (registers it)
    return load_checkpoint(STARTER_DIR, device=device)


def _captioner(device: str, **generation: Any) -> Captioner:
    settings = GenerationSettings(**generation)
    return Captioner(_loaded(device), version="v", generation=settings, precision="fp32")


def captions(device: str, generation: dict[str, Any]) -> tuple[str, list[tuple[str, float]]]:
    captioner = _captioner(device, **generation)
    found = captioner.caption(list(_pictures().values()))
    return captioner.device.type, [(suggestion.caption, suggestion.score) for suggestion in found]


def around_it(device: str) -> list[list[float]]:
    """What else is made of the encoder's output: where the model looks, and what a picture is like others by."""
    captioner, picture = _captioner(device), next(iter(_pictures().values()))
    words = word_regions.word_regions(captioner, picture).words
    return [*(word.attention.ravel().tolist() for word in words), pooled(captioner.encode([picture])).ravel().tolist()]


def losses(device: str, settings: dict[str, Any]) -> tuple[str, tuple[float, ...]]:
    """Of two steps, with all that a step can have in it but chance."""
    checkpoint, pictures = _loaded(device), _pictures()
    captioner = Captioner(checkpoint, version="v", generation=GenerationSettings(), precision="fp32")
    features = dict(zip(pictures, captioner.encode(list(pictures.values())), strict=True))
    result = finetune(
        checkpoint,
        [Example(number, name, "a small white cat") for number, name in enumerate(pictures)],
        settings=FinetuneSettings(steps=2, batch_size=3, micro_batch_size=2, dropout=0.0, ema=0.9, **settings),
        features=features,
        pictures=pictures.__getitem__,
    )
    return result.checkpoint.model.device.type, result.losses


# -- in a process of its own -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """Calls a function of this module there."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield lambda function, *arguments: process.submit(function, *arguments).result()


@pytest.mark.parametrize("generation", SEARCHES.values(), ids=SEARCHES.keys())
def test_captions_are_those_of_the_cpu(generation: dict[str, Any], elsewhere: Elsewhere) -> None:
    (place, found), (_, expected) = (elsewhere(captions, device, generation) for device in ("pretend", "cpu"))

    assert place == "pretend"
    assert [caption for caption, _ in found] == [caption for caption, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-4)


def test_everything_made_of_the_encoders_output_is_that_of_the_cpu(elsewhere: Elsewhere) -> None:
    found, expected = (elsewhere(around_it, device) for device in ("pretend", "cpu"))
    assert len(found) > 2
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("settings", WAYS.values(), ids=WAYS.keys())
def test_training_losses_are_those_of_the_cpu(settings: dict[str, Any], elsewhere: Elsewhere) -> None:
    (place, found), (_, expected) = (elsewhere(losses, device, settings) for device in ("pretend", "cpu"))
    assert place == "pretend"
    assert found == pytest.approx(expected, rel=1e-4)


# -- what it is for: each of these is a mistake that the CPU alone would never show ------------------------------------


def _on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    def left(*arguments: Any, **options: Any) -> Any:
        found = function(*arguments, **options)
        return found.cpu() if isinstance(found, torch.Tensor) else found

    return left


def _without_device(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, device=None, **options: function(*arguments, **options)


def _table_on_cpu(pixels: Pixels, *arguments: Any) -> None:
    _PIXELS(pixels, *arguments)
    pixels._table = pixels._table.cpu()


_PIXELS = Pixels.__init__
_QUERIES, _ATTEND = training_decoder._split, training_encoder._attend


def planted(mistake: str, function: Callable[..., Any], *arguments: Any) -> str:
    """What comes of it with a mistake in the code."""
    plants: dict[str, Callable[[], Any]] = {
        "the pixels' table": partial(patch.object, Pixels, "__init__", _table_on_cpu),
        "the pixels": partial(patch.object, Pixels, "__call__", _on_cpu(Pixels.__call__)),
        "positions in a step": partial(patch.object, torch, "tensor", _without_device(torch.tensor)),
        "which beam sees itself": partial(patch.object, torch, "eye", _without_device(torch.eye)),
        "the prompt's mask": partial(patch.object, torch, "ones", _without_device(torch.ones)),
        "rows of the search": partial(patch.object, torch, "arange", _without_device(torch.arange)),
        "a step's keys": partial(patch.object, ServingLayer, "_split", _on_cpu(ServingLayer._split)),
        "the texts": partial(patch.object, TrainingBatch, "to", lambda batch, device: batch),
        "the examples' features": partial(patch.object, TrainingData, "images", _features_on_cpu),
        "queries in training": partial(patch.object, training_decoder, "_split", _on_cpu(_QUERIES)),
        "the encoder in training": partial(
            patch.object, training_encoder, "_attend", _on_cpu(training_encoder._attend)
        ),
        "numpy": partial(patch.object, torch.Tensor, "cpu", lambda tensor: tensor),
    }
    try:
        with plants[mistake]():
            function(*arguments)
    except (RuntimeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


_IMAGES = TrainingData.images


def _features_on_cpu(data: TrainingData, step: int, batch: Any) -> Any:
    features, pixels = _IMAGES(data, step, batch)
    return (None, pixels.cpu()) if pixels is not None else (features, None)


@pytest.mark.parametrize(
    "mistake",
    [
        "the pixels' table",
        "the pixels",
        "positions in a step",
        "which beam sees itself",
        "the prompt's mask",
        "rows of the search",
        "a step's keys",
    ],
)
def test_a_tensor_that_captioning_leaves_on_the_cpu_is_found(mistake: str, elsewhere: Elsewhere) -> None:
    assert "MixedDevicesError" in elsewhere(planted, mistake, captions, "pretend", SEARCHES["beams"])


@pytest.mark.parametrize(
    ("way", "mistake"),
    [
        *((way, "the texts") for way in WAYS),
        *((way, "queries in training") for way in WAYS),
        ("full", "the examples' features"),
        ("full", "the encoder in training"),
    ],
)
def test_a_tensor_that_training_leaves_on_the_cpu_is_found(way: str, mistake: str, elsewhere: Elsewhere) -> None:
    assert "MixedDevicesError" in elsewhere(planted, mistake, losses, "pretend", WAYS[way])


def test_numbers_that_are_taken_to_numpy_from_the_device_are_found(elsewhere: Elsewhere) -> None:
    assert "can't convert pretend:0 device type tensor to numpy" in elsewhere(planted, "numpy", around_it, "pretend")


def _doubled(device: str) -> None:
    import tests.support.pretend_device  # noqa: F401

    torch.ones(2, dtype=torch.float64).to(device)


def test_float64_is_refused_as_by_apples_gpus(elsewhere: Elsewhere) -> None:
    with pytest.raises(TypeError, match="float64"):
        elsewhere(_doubled, "pretend")
