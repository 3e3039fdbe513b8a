"""Two models on the same pictures, and one alone, without Redis, Label Studio or database."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from captionloop.backend.cli import cli
from captionloop.model.captions.example import Example
from captionloop.model.dataset.corrections import freeze
from captionloop.model.dataset.images import content_hash
from captionloop.model.starter import STARTER_DIR

COLOURS = ("red", "green", "blue", "gold", "navy", "pink", "brown", "white")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONLOOP_BEAMS", "1")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    directory = tmp_path / "photos"
    directory.mkdir()
    for colour in COLOURS:
        Image.new("RGB", (64, 48), colour).save(directory / f"{colour}.png")
        (directory / f"{colour}.txt").write_text(f"a {colour} <picture>")
    return directory


@pytest.fixture
def trained(photos: Path, tmp_path: Path) -> Path:
    """The starter model as if `captionloop train` had made it from these pictures."""
    directory = tmp_path / "my-blip"
    shutil.copytree(STARTER_DIR, directory, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    images = [content_hash((photos / f"{colour}.png").read_bytes()) for colour in COLOURS]
    freeze((Example(n, image, "a colour") for n, image in enumerate(images)), directory / "datasets")
    return directory


def run(*arguments: Path | str) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def test_a_model_is_scored(photos: Path) -> None:
    done = run("evaluate", "--model", "starter", "--dataset", photos, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == len(COLOURS)


def test_two_models_are_compared(photos: Path, trained: Path) -> None:
    done = run("compare", "starter", trained, "--dataset", photos, "--split", "all", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["first"].startswith("starter-")
    assert found["second"].startswith("my-blip-")
    assert found["images"] == len(COLOURS)
    assert found["figures"]["score"]["difference"] == 0


def test_what_a_model_was_trained_on_says_nothing_of_it(photos: Path, trained: Path) -> None:
    done = run("compare", "starter", trained, "--dataset", photos, "--json")
    left = len(COLOURS) - json.loads(done.stdout)["images"]
    assert 0 < left < len(COLOURS)
    assert f"{left} images are left out" in done.stderr


def test_a_dataset_with_nothing_else_in_it_is_refused(photos: Path, trained: Path) -> None:
    held_out = json.loads(run("compare", "starter", trained, "--dataset", photos, "--json").stdout)["images"]
    for path in sorted(photos.glob("*.png")):
        alone = path.parent.parent / f"alone-{path.stem}"
        alone.mkdir()
        shutil.copy(path, alone)
        shutil.copy(path.with_suffix(".txt"), alone)
    said = [
        str(run("compare", "starter", trained, "--dataset", alone).exception)
        for alone in sorted(photos.parent.glob("alone-*"))
    ]
    assert sum("trained on every image" in text for text in said) == len(COLOURS) - held_out


def test_the_page_has_each_picture_with_both_captions(photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = run("compare", "starter", "starter", "--dataset", photos, "--html", page)
    assert done.exit_code == 0, done.output
    html = page.read_text()
    assert html.count("data:image/jpeg") == len(COLOURS)
    assert "a red &lt;picture&gt;" in html
    assert "<picture>" not in html
    assert "How it trained" not in html


@pytest.fixture
def partly_bad(photos: Path) -> Path:
    """The same pictures, one of them no picture any more, and a caption of none."""
    (photos / "red.png").write_bytes(b"no picture")
    (photos / "alone.txt").write_text("of nothing")
    return photos


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--model", "starter"],
        ["evaluate", "--model", "starter", "--against", "starter"],
        ["compare", "starter", "starter"],
        ["simulate", "--rounds", "1", "--first", "2", "--per-round", "2", "--seeds", "1", "--strategy", "random",
         "--set", "steps=1"],
    ],
    ids=["evaluate", "evaluate --against", "compare", "simulate"],
)  # fmt: skip
def test_bad_rows_are_named_and_the_rest_is_scored(partly_bad: Path, arguments: list[str]) -> None:
    if arguments[0] == "simulate":  # needs eight pictures
        for colour in ("lime", "teal"):
            Image.new("RGB", (64, 48), colour).save(partly_bad / f"{colour}.png")
            (partly_bad / f"{colour}.txt").write_text(f"a {colour} picture")

    done = run(*arguments, "--dataset", partly_bad, "--json")
    said = run(*arguments, "--dataset", partly_bad)

    assert (done.exit_code, said.exit_code) == (6, 6), done.output
    assert json.loads(done.stdout)["bad_rows"] == 2
    assert json.loads(done.stdout).get("images", len(COLOURS) - 1) == len(COLOURS) - 1
    assert "red.txt: The file is not an image" in done.stderr
    assert "alone.txt: There is no picture" in done.stderr
    assert "2 rows could not be used (named above); the figures are of the rest." in said.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "starter", "nowhere", "--dataset", "photos"], "no model directory nowhere"),
        (["compare", "starter", "starter", "--dataset", "nothing"], "no dataset 'nothing'"),
        (["evaluate", "--model", "v3-9c41f2", "--dataset", "photos"], "--version"),
        (["evaluate", "--model", "starter", "--version", "v3", "--dataset", "photos"], "not both"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_what_is_not_there_is_named(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)
