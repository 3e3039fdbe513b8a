"""Which names of a model mean a directory on this machine."""

from pathlib import Path

import pytest

from captionloop.model.blip.model_source import STARTER, local_directory
from captionloop.model.starter import STARTER_DIR


def test_the_starter_is_the_one_that_ships_with_the_package() -> None:
    assert local_directory(STARTER) == STARTER_DIR


def test_a_directory_is_itself(tmp_path: Path) -> None:
    assert local_directory(str(tmp_path)) == tmp_path


def test_the_home_directory_may_be_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "blip").mkdir()

    assert local_directory("~/blip") == tmp_path / "blip"


def test_anything_else_may_be_a_hub_id() -> None:
    assert local_directory("Salesforce/blip-image-captioning-base") is None
