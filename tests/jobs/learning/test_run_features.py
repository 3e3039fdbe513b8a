"""The pictures of a run and what an encoder makes of them."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.model.training.test_loop import checkpoint

from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.learning import run_features as run_images
from captionloop.jobs.learning.run_features import RunFeatures, image_features
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.dataset.corrections import write_image
from captionloop.model.dataset.images import ImageLimits
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import draw
from captionloop.settings import Settings

_COUNT = 40


@pytest.fixture
def context(home: Home, redis_url: str, tmp_path: Path) -> Iterator[Context]:
    opened = Context.open(Settings.read({"REDIS_URL": redis_url, "CAPTIONLOOP_HOME": str(home.root)}))
    yield opened
    opened.close()


@pytest.fixture
def images(context: Context) -> list[str]:
    limits = ImageLimits(max_bytes=10**7, max_pixels=10**7)
    stored = []
    for index in range(_COUNT):
        scene, seed = example("run images", index)
        file = io.BytesIO()
        draw(scene, seed=seed).save(file, "PNG")
        stored.append(write_image(context.home, file.getvalue(), limits=limits).sha256)
    return stored


@pytest.fixture
def captioner(context: Context) -> Captioner:
    return Captioner(
        checkpoint(),
        version="v",
        generation=GenerationSettings(),
        precision="fp32",
        features=context.features,
    )


def test_features_of_images_beyond_the_memory_are_read_from_the_cache(
    context: Context, captioner: Captioner, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_images, "_MOST_IN_MEMORY_BYTES", 1)
    features = RunFeatures(context, captioner, images, lambda share: None)
    monkeypatch.setattr(captioner, "encode", None)  # nothing is encoded a second time
    asked = [images[0], images[-1], images[-1]]
    alone = image_features(context, captioner, asked)
    assert torch.equal(features(asked), torch.stack([alone[image] for image in asked]))


def test_features_in_memory_need_no_cache(
    context: Context, captioner: Captioner, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = RunFeatures(context, captioner, images, lambda share: None)
    monkeypatch.setattr(type(context.features), "get_many", None)
    assert features(images[:3]).shape[0] == 3


def test_progress_is_told_batch_by_batch(context: Context, captioner: Captioner, images: list[str]) -> None:
    shares: list[float] = []
    RunFeatures(context, captioner, images, shares.append)
    assert shares == [0.0, run_images.BATCH / _COUNT]
