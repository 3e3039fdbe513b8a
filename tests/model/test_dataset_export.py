"""Corrections written out as a dataset that other tools read."""

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from captionloop.errors import CaptionloopError
from captionloop.home import Home
from captionloop.model.corrections import Example, Snapshot, write_image
from captionloop.model.dataset_export import FORMATS, export
from captionloop.model.images import ImageLimits

_COUNT = 12


@pytest.fixture
def snapshot(home: Home) -> Snapshot:
    limits = ImageLimits(max_bytes=10**6, max_pixels=10**6)
    examples = []
    for number in range(_COUNT):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(file, "JPEG" if number % 2 else "PNG")
        image = write_image(home, file.getvalue(), limits=limits).sha256
        examples.append(Example(number, image, f'picture {number}, "quoted" and déjà vu'))
    examples.append(Example(_COUNT, examples[0].image, "a second caption"))
    return Snapshot(hash="0" * 64, path=home.datasets / "x.jsonl", examples=tuple(examples))


def expected(snapshot: Snapshot) -> list[tuple[str, str]]:
    return sorted((example.image, example.caption) for example in snapshot.examples)


def read_back(directory: Path, form: str) -> list[tuple[str, str]]:
    """(content hash, caption) of each caption, as a reader of that format would find them."""
    if form == "imagefolder":
        rows = [json.loads(line) for line in (directory / "metadata.jsonl").read_text().splitlines()]
        pairs = [(row["file_name"], row["text"]) for row in rows]
    elif form == "jsonl":
        rows = [json.loads(line) for line in (directory / "captions.jsonl").read_text().splitlines()]
        pairs = [(row["image"], text) for row in rows for text in row["captions"]]
    elif form == "csv":
        with (directory / "captions.csv").open(newline="", encoding="utf-8") as file:
            pairs = [(row["image"], row["caption"]) for row in csv.DictReader(file)]
    else:
        content = json.loads((directory / "captions.json").read_text())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        pairs = [(names[note["image_id"]], note["caption"]) for note in content["annotations"]]
    assert all((directory / name).is_file() for name, _ in pairs)
    return sorted((Path(name).stem, text) for name, text in pairs)


@pytest.mark.parametrize("form", FORMATS)
def test_every_caption_is_found_again_beside_its_picture(snapshot: Snapshot, home: Home, tmp_path: Path, form) -> None:
    assert export(snapshot, home, tmp_path / "out", form=form) == _COUNT
    assert read_back(tmp_path / "out", form) == expected(snapshot)


def test_pictures_keep_their_bytes_and_are_named_by_their_kind(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    export(snapshot, home, tmp_path / "out", form="csv")
    written = list((tmp_path / "out" / "images").iterdir())
    assert {path.suffix for path in written} == {".png", ".jpg"}
    assert all(path.read_bytes() == home.image(path.stem).read_bytes() for path in written)


def test_train_and_held_out_make_the_whole(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    counts = [export(snapshot, home, tmp_path / split, form="jsonl", split=split) for split in ("train", "held-out")]
    assert min(counts) > 0
    assert sum(counts) == _COUNT


def test_a_directory_with_something_in_it_is_left_alone(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(CaptionloopError, match="is there already and not empty; name another"):
        export(snapshot, home, tmp_path / "out", form="csv")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_lost_picture_is_named_and_nothing_is_half_written(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    lost = home.image(snapshot.examples[3].image)
    lost.unlink()
    with pytest.raises(CaptionloopError, match=lost.name):
        export(snapshot, home, tmp_path / "out" / "deep", form="csv")
    assert list((tmp_path / "out").iterdir()) == []
