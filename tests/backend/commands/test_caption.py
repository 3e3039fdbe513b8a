"""`captionloop caption`: good pictures have their captions, bad ones are named, whatever was meant by a source."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from captionloop.backend.cli import cli
from captionloop.backend.commands.picture_files import BadFile, PictureFiles


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures, one of them in a directory below, beside what is none."""
    directory = tmp_path / "photos"
    (directory / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.jpg"):
        Image.new("RGB", (64, 48), "navy").save(directory / name)
    for name in ("a.txt", ".DS_Store", "._a.png", "Thumbs.db"):
        (directory / name).write_bytes(b"no picture")
    return directory


@pytest.fixture
def caption() -> Callable[..., Result]:
    def run(*arguments: Path | str) -> Result:
        return CliRunner().invoke(cli, ["caption", *map(str, arguments)])

    return run


def names(*sources: Path) -> list[str]:
    return [found.image if isinstance(found, BadFile) else str(found) for found in PictureFiles(sources)]


class TestSources:
    def test_a_directory_stands_for_the_pictures_below_it(self, photos: Path) -> None:
        assert names(photos) == [f"{photos}/a.png", f"{photos}/more/b.jpg"]

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [("*.png", ["a.png"]), ("**/*.jpg", ["more/b.jpg"]), ("m*", ["more/b.jpg"]), ("[ab].png", ["a.png"])],
    )
    def test_a_pattern_stands_for_what_fits_it(self, photos: Path, pattern: str, expected: list[str]) -> None:
        assert names(photos / pattern) == [f"{photos}/{name}" for name in expected]

    def test_a_file_with_the_name_of_a_pattern_is_that_file(self, photos: Path) -> None:
        (photos / "a.png").rename(photos / "[ab].png")
        assert names(photos / "[ab].png") == [f"{photos}/[ab].png"]

    def test_no_file_comes_twice(self, photos: Path) -> None:
        assert names(photos / "a.png", photos, photos / "*.png") == [f"{photos}/a.png", f"{photos}/more/b.jpg"]

    def test_what_is_named_by_itself_counts_whatever_it_is_called(self, photos: Path) -> None:
        assert names(photos / "a.txt") == [f"{photos}/a.txt"]

    @pytest.mark.parametrize(("source", "reason"), [("*.webp", "fits this pattern"), ("none", "no pictures in this")])
    def test_a_source_without_pictures_is_named(self, photos: Path, source: str, reason: str) -> None:
        (photos / "none").mkdir()
        (found,) = PictureFiles([photos / source])
        assert isinstance(found, BadFile)
        assert reason in found.reason

    def test_an_address_is_told_from_a_file(self, photos: Path) -> None:
        (found,) = PictureFiles([Path("http://pictures.test/a.png")])
        assert isinstance(found, BadFile)
        assert "is an address" in found.reason


@pytest.mark.slow
class TestCaptions:
    def test_all_pictures_of_a_directory_are_captioned(self, caption: Callable[..., Result], photos: Path) -> None:
        done = caption(photos, "--json")
        assert done.exit_code == 0, done.output
        assert [entry["image"] for entry in json.loads(done.stdout)] == [f"{photos}/a.png", f"{photos}/more/b.jpg"]
        assert all(entry["caption"] for entry in json.loads(done.stdout))

    @pytest.mark.parametrize("bad", ["a.txt", "missing.png"])
    def test_a_bad_one_is_named_and_the_others_are_captioned(
        self, caption: Callable[..., Result], photos: Path, bad: str
    ) -> None:
        done = caption(photos / "a.png", photos / bad, photos / "more" / "b.jpg")
        assert done.exit_code == 6
        assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [
            f"{photos}/a.png",
            f"{photos}/more/b.jpg",
        ]
        assert f"{photos}/{bad}: " in done.stderr

    def test_json_holds_the_good_ones_alone(self, caption: Callable[..., Result], photos: Path) -> None:
        done = caption(photos / "a.png", photos / "a.txt", "--json")
        assert done.exit_code == 6
        assert [entry["image"] for entry in json.loads(done.stdout)] == [f"{photos}/a.png"]


def test_no_model_is_loaded_where_nothing_is_good(caption: Callable[..., Result], photos: Path) -> None:
    done = caption(photos / "a.txt", "--model", photos / "no-model")
    assert done.exit_code == 6
    assert done.stdout == ""
