"""A folder of drawn pictures, and a model that was fine-tuned on it."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import captionloop as cl
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import draw
from captionloop.model.starter.styles import STYLES

COUNT = 24
STEPS = 12
SETTINGS: dict[str, Any] = {"steps": STEPS, "batch_size": 4, "validation_share": 0.2, "patience": 99}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONLOOP_BEAMS", "1")


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with sidecars, two of which look alike."""
    directory = tmp_path_factory.mktemp("data") / "photos"
    directory.mkdir()
    for number in range(COUNT - 1):
        scene, seed = example("python", number)
        draw(scene, seed=seed).save(directory / f"{number:02}.png")
        (directory / f"{number:02}.txt").write_text(f"{STYLES['new_words'](scene).capitalize()}.\n")
    scene, seed = example("python", 5)
    draw(scene, seed=seed).save(directory / "05-again.jpg", quality=90)
    (directory / "05-again.txt").write_text("The fifth once more.")
    return directory


@pytest.fixture
def data(photos: Path) -> cl.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return cl.load_dataset(photos)


@pytest.fixture(scope="package")
def better(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cl.Model]:
    """The starter model after a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONLOOP_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("CAPTIONLOOP_BEAMS", "1")
        yield cl.finetune(cl.load_model("starter"), cl.load_dataset(photos), **SETTINGS)
