"""The pictures of a run and what an encoder makes of them."""

import io
from pathlib import Path

import pytest
import torch
from tests.model.training.test_loop import checkpoint

from captionloop.image_limits import ImageLimits
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.dataset.images import content_hash
from captionloop.model.finetuning import pictures as pictures_module
from captionloop.model.finetuning.pictures import EncodedPictures, Pictures
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import draw

_COUNT = 40


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    found = {}
    for index in range(_COUNT):
        scene, seed = example("run images", index)
        file = io.BytesIO()
        draw(scene, seed=seed).save(file, "PNG")
        found[content_hash(file.getvalue())] = file.getvalue()
    return found


@pytest.fixture
def images(drawn: dict[str, bytes]) -> list[str]:
    return list(drawn)


@pytest.fixture
def pictures(drawn: dict[str, bytes], tmp_path: Path) -> Pictures:
    return Pictures(drawn.__getitem__, ImageLimits(), FeatureCache(tmp_path / "features", max_bytes=10**9))


@pytest.fixture
def captioner(pictures: Pictures) -> Captioner:
    generation = GenerationSettings()
    return Captioner(checkpoint(), version="v", generation=generation, precision="fp32", features=pictures.cache)


def test_features_of_images_beyond_the_memory_are_read_from_the_cache(
    pictures: Pictures, captioner: Captioner, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures_module, "_MOST_IN_MEMORY_BYTES", 1)
    features = EncodedPictures(pictures, captioner, images, lambda share: None)
    monkeypatch.setattr(captioner, "encode", None)  # nothing is encoded a second time
    asked = [images[0], images[-1], images[-1]]
    alone = pictures.features(captioner, asked)
    assert torch.equal(features(asked), torch.stack([alone[image] for image in asked]))


def test_features_in_memory_need_no_cache(
    pictures: Pictures, captioner: Captioner, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = EncodedPictures(pictures, captioner, images, lambda share: None)
    monkeypatch.setattr(FeatureCache, "get_many", None)
    assert features(images[:3]).shape[0] == 3


def test_progress_is_told_batch_by_batch(pictures: Pictures, captioner: Captioner, images: list[str]) -> None:
    shares: list[float] = []
    EncodedPictures(pictures, captioner, images, shares.append)
    assert shares == [0.0, pictures_module.BATCH / _COUNT]
