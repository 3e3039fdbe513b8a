"""The encoder's input equals the output of the checkpoint's image processor, bit for bit."""

from typing import Any

import pytest
import torch
from PIL import Image
from transformers import BlipImageProcessorPil

from captionloop.model.blip.image_tensors import Pixels

CPU = torch.device("cpu")


def noise(width: int, height: int) -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((width, height), 80) for _ in range(3)])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"size": {"height": 96, "width": 128}, "resample": Image.Resampling.BILINEAR},
        {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3], "rescale_factor": 1 / 127.5},
        {"do_normalize": False},
        {"do_rescale": False},
        {"do_rescale": False, "do_normalize": False},
    ],
)
def test_pictures_are_what_the_processor_makes_of_them(settings: dict[str, Any]) -> None:
    processor = BlipImageProcessorPil(**settings)
    pictures = [noise(640, 480), noise(30, 700), noise(1, 1)]

    found = Pixels(processor, CPU)(pictures)

    expected = processor(pictures, return_tensors="pt")["pixel_values"]
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_pictures_keep_their_size_where_the_processor_does_not_resize() -> None:
    processor = BlipImageProcessorPil(do_resize=False)
    picture = noise(40, 30)

    found = Pixels(processor, CPU)([picture])

    assert torch.equal(found, processor([picture], return_tensors="pt")["pixel_values"])


def test_what_comes_of_a_shrunk_picture_is_what_comes_of_the_picture() -> None:
    pixels = Pixels(BlipImageProcessorPil(), CPU)
    picture = noise(500, 300)

    shrunk = pixels.shrink(picture)

    assert shrunk.size == (384, 384)
    assert torch.equal(pixels([shrunk]), pixels([picture]))
