"""`captionloop caption --style`: a version's directory, in each of the styles that it was taught."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tests.model.captioning.published_layout import write_base

from captionloop.backend.cli import cli
from captionloop.model.blip.checkpoint import load_checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings, TaughtStyle
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.dataset.images import open_image
from captionloop.model.versions.manifest import write_manifest
from captionloop.model.vocabulary.style_tokens import with_style_tokens

GENERATION = GenerationSettings(
    max_length=10,
    styles={"British": TaughtStyle("[style1]"), "terse": TaughtStyle("[style2]")},
    style="British",
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    checkpoint = with_style_tokens(load_checkpoint(write_base(tmp_path / "base")), ["[style1]", "[style2]"])
    save_checkpoint(checkpoint, tmp_path / "version", generation=GENERATION)
    write_manifest(tmp_path / "version", "v2-bbbbbb", {"generation": GENERATION.to_dict()})
    return tmp_path / "version"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 48), "gold").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def caption(photo: Path, directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["caption", str(photo), "--model", str(directory), "--json", *arguments])


@pytest.mark.parametrize(
    ("arguments", "style", "name"),
    [
        ([], "British", "v2-bbbbbb"),
        (["--style", "terse"], "terse", "v2-bbbbbb (style 'terse')"),
        (["--style", ""], None, "v2-bbbbbb (style '')"),
    ],
)
def test_the_caption_is_in_the_style_and_says_so(
    photo: Path, directory: Path, arguments: list[str], style: str | None, name: str
) -> None:
    (row,) = json.loads(caption(photo, directory, *arguments).stdout)
    captioner = Captioner.load(directory, version="v", generation=GENERATION).in_style(style)
    assert row["caption"] == captioner.caption([open_image(photo.read_bytes())])[0].caption
    assert row["model_version"] == name


def test_a_style_that_it_was_not_taught_is_an_error_with_those_that_it_was(photo: Path, directory: Path) -> None:
    done = caption(photo, directory, "--style", "French")
    assert "Generation setting style is 'French'; expected one of 'British', 'terse'." in str(done.exception)
