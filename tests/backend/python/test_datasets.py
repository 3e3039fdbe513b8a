"""A dataset in files as a sequence, with its split."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from tests.backend.python.conftest import COUNT

import captionloop as cl
from captionloop.errors import CaptionFileError, ImageError, NotFoundError, RunError
from captionloop.model.dataset.images import content_hash


def test_it_is_a_sequence_of_pictures(data: cl.Dataset, photos: Path) -> None:
    items = list(data)
    assert len(data) == len(items) == COUNT
    assert items[0]["path"] == str(photos / "00.png")
    assert items[0]["captions"] == [(photos / "00.txt").read_text().strip()]
    assert items[0]["image"].mode == "RGB"
    assert data[-1]["path"] == items[-1]["path"]
    with pytest.raises(IndexError):
        data[COUNT]


def test_a_slice_is_a_dataset(data: cl.Dataset) -> None:
    part = data[2:5]
    assert isinstance(part, cl.Dataset)
    assert [item["path"] for item in part] == [data[place]["path"] for place in (2, 3, 4)]


def test_the_split_has_every_picture_once_and_near_duplicates_together(data: cl.Dataset, photos: Path) -> None:
    assert sorted([*data.train.hashes, *data.held_out.hashes]) == sorted(data.hashes)
    assert data.split.keys() == {"train", "held_out"}
    assert len(data.train) > len(data.held_out) > 0
    alike = [content_hash((photos / name).read_bytes()) in data.train.hashes for name in ("05.png", "05-again.jpg")]
    assert len(set(alike)) == 1


def test_pictures_that_are_trained_on_stay_so_in_a_part(data: cl.Dataset) -> None:
    held_out = set(data.held_out.hashes)
    assert set(data[:20].train.hashes) <= set(data.train.hashes) | held_out
    assert set(data[:20].held_out.hashes) <= held_out


def test_rows_that_cannot_be_used_are_its_problems(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "00.png").write_bytes(b"no picture")
    (folder / "alone.txt").write_text("of nothing")

    with pytest.warns(UserWarning, match=r"2 rows of .* cannot be used, the first of them .*00\.txt: The file is not"):
        data = cl.load_dataset(folder)

    assert len(data) == COUNT - 1
    assert [Path(problem.place).name for problem in data.problems] == ["00.txt", "alone.txt"]
    assert "There is no picture" in data.problems[1].reason
    assert repr(data) == f"Dataset('photos', {COUNT - 1} pictures, {COUNT - 1} captions, 2 problems)"


def test_a_notebook_shows_it_as_a_gallery(tmp_path: Path) -> None:
    for number in range(14):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
        (tmp_path / f"{number:02}.txt").write_text(f"<b>picture {number}</b>")
    html = cl.load_dataset(tmp_path)._repr_html_()
    assert html.count("data:image/jpeg") == 12
    assert "&lt;b&gt;picture 3&lt;/b&gt;" in html
    assert "picture 13" not in html


def test_options_are_those_of_the_commands(photos: Path, tmp_path: Path) -> None:
    rows = [f"{number:02}.png,caption {number},{'test' if number % 2 else 'train'}" for number in range(8)]
    table = tmp_path / "captions.csv"
    table.write_text("\n".join(["image,caption,split", *rows]))
    assert len(cl.load_dataset(table, images=photos)) == 8
    assert len(cl.load_dataset(str(table), images=str(photos), split="held-out")) == 4
    assert len(cl.load_dataset(table, images=photos, limit=3)) == 3


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda path: None, NotFoundError, "There is no file or directory"),
        (lambda path: path.mkdir(), CaptionFileError, "has no file of captions"),
        (lambda path: (path.mkdir(), (path / "a.csv").write_text("image,caption\n")), RunError, "at least two"),
    ],
    ids=["nothing there", "no captions", "an empty table"],
)
def test_what_is_no_dataset_is_refused_as_by_the_commands(tmp_path: Path, make, error, said: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "data")
    with pytest.raises(error, match=said):
        cl.load_dataset(tmp_path / "data")


def test_a_picture_that_has_changed_meanwhile_is_named(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    data = cl.load_dataset(folder)
    Image.new("RGB", (9, 9)).save(folder / "00.png")
    with pytest.raises(ImageError, match=r"00\.png has changed"):
        data[0]
