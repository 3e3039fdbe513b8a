"""Files of a checkpoint that are not of the same model are refused when it is loaded, not at the first picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.model.captioning.published_layout import write_base, write_large

from captionloop.errors import CheckpointError
from captionloop.model.blip.checkpoint import load_checkpoint

Change = Callable[[dict[str, Any]], object]


def edit(path: Path, change: Change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("write", [write_base, write_large])
def test_the_published_layouts_fit(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    assert not load_checkpoint(write(tmp_path / "model")).model.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(size={"height": 480, "width": 480}), "makes pictures of 480 x 480"),
        (lambda c: c.update(size={"height": 16, "width": 16}), "makes pictures of 16 x 16"),
        (lambda c: c.update(size={"height": 32, "width": 48}), "makes pictures of 48 x 32"),
        (lambda c: c.update(size={"height": 48, "width": 32}), "makes pictures of 32 x 48"),
        (lambda c: c.update(size={"shortest_edge": 32}), r"preprocessor_config\.json"),
        (lambda c: c.update(size=48), "makes pictures of 48 x 48"),
        (lambda c: c.update(do_resize=False), "but config.json says that the model sees 32 x 32"),
        (lambda c: c.update(do_center_crop=True, crop_size={"height": 8, "width": 8}), "makes pictures of 8 x 8"),
        (lambda c: c.update(image_mean=[0.5, 0.5]), r"preprocessor_config\.json cannot be used on a picture"),
        (lambda c: c.update(image_mean="grey"), r"preprocessor_config\.json cannot be used on a picture"),
        (lambda c: c.update(image_std=[0.0, 0.0, 0.0]), "image_mean and image_std"),
        (lambda c: c.update(rescale_factor="a lot"), r"preprocessor_config\.json cannot be used on a picture"),
    ],
)
def test_an_image_processor_of_another_model(tmp_path: Path, change: Change, message: str) -> None:
    model = write_base(tmp_path / "model")
    edit(model / "preprocessor_config.json", change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(model)


def test_the_message_says_which_two_files(tmp_path: Path) -> None:
    model = write_base(tmp_path / "model")
    edit(model / "preprocessor_config.json", lambda c: c.update(size={"height": 480, "width": 480}))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model)
    assert f"{model}/preprocessor_config.json" in str(caught.value)
    assert "config.json says that the model sees 32 x 32 (image_size of vision_config)" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["vision_config"].update(image_size=480),
        lambda c: c["vision_config"].update(patch_size=8),
        lambda c: c["vision_config"].update(hidden_size=48),
        lambda c: c["vision_config"].update(num_attention_heads=5),
        lambda c: c["text_config"].update(hidden_size=48),
        lambda c: c["text_config"].update(max_position_embeddings=8),
        lambda c: c["text_config"].update(num_attention_heads=5),
    ],
)
def test_a_configuration_of_another_model(tmp_path: Path, change: Change) -> None:
    model = write_base(tmp_path / "model")
    edit(model / "config.json", change)
    with pytest.raises(CheckpointError, match=str(model)):
        load_checkpoint(model)


def test_a_tokenizer_without_padding(tmp_path: Path) -> None:
    model = write_base(tmp_path / "model")
    edit(model / "tokenizer_config.json", lambda c: c.update(pad_token=None))
    with pytest.raises(CheckpointError, match="no token for padding"):
        load_checkpoint(model)
