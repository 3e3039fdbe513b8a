"""`captionloop caption --out`: each picture once, whatever interrupts it, in every format that others read."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from captionloop.backend.cli import cli
from captionloop.model.exchange.reading import BadRow, find_source

NAMES = ("a.png", "more/b.jpg", "more/c.png")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONLOOP_BEAMS", "1")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    directory = tmp_path / "photos"
    for number, name in enumerate(NAMES):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (80 * number, 90, 100)).save(directory / name)
    return directory


def caption(*arguments: Path | str) -> Result:
    return CliRunner().invoke(cli, ["caption", *map(str, arguments)])


def rows(source: Path, **how: Any) -> dict[str, str]:
    """A dataset as our own readers find it: the picture's name → its caption."""
    found = {}
    for row in find_source(source, **how).rows():
        assert not isinstance(row, BadRow), row.reason
        (found[row.picture.path.name],) = row.captions
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.json"])
def test_a_file_is_a_dataset_that_can_be_read(photos: Path, tmp_path: Path, name: str) -> None:
    done = caption(photos, "--out", tmp_path / name)
    assert done.exit_code == 0, done.output
    found = rows(tmp_path / name)
    assert sorted(found) == ["a.png", "b.jpg", "c.png"]
    assert all(found.values())


def test_sidecars_lie_beside_the_pictures(photos: Path) -> None:
    assert caption(photos, "--out", photos, "--format", "sidecar").exit_code == 0
    assert sorted(rows(photos)) == ["a.png", "b.jpg", "c.png"]
    assert (photos / "more" / "b.txt").is_file()


def test_a_sidecar_that_might_be_anothers_has_the_whole_name(photos: Path) -> None:
    Image.new("RGB", (64, 48), "gold").save(photos / "a.jpg")
    assert caption(photos, "--out", photos, "--format", "sidecar").exit_code == 0
    assert sorted(rows(photos)) == ["a.jpg", "a.png", "b.jpg", "c.png"]


def test_a_sidecar_that_somebody_wrote_stays_unless_it_is_said(photos: Path) -> None:
    (photos / "a.txt").write_text("my own")
    done = caption(photos, "--out", photos, "--format", "sidecar")
    assert "2 captions written" in done.stdout
    assert "1 were there already" in done.stdout
    assert (photos / "a.txt").read_text() == "my own"
    assert caption(photos, "--out", photos, "--format", "sidecar", "--force").exit_code == 0
    assert (photos / "a.txt").read_text() != "my own"


@pytest.mark.parametrize("place", ["elsewhere", "photos"])
def test_an_imagefolder_has_the_pictures_in_it(photos: Path, tmp_path: Path, place: str) -> None:
    out = tmp_path / place
    assert caption(photos, "--out", out, "--format", "imagefolder").exit_code == 0
    assert sorted(rows(out)) == ["a.png", "b.jpg", "c.png"]
    assert (out / "more" / "b.jpg").read_bytes() == (photos / "more" / "b.jpg").read_bytes()


def test_pictures_of_one_name_in_two_directories_are_kept_apart(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (64, 48), "gold").save(other / "a.png")
    assert caption(photos, other, "--out", tmp_path / "out", "--format", "sidecar").exit_code == 0
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.txt"))
    assert written == ["other/a.txt", "photos/a.txt", "photos/more/b.txt", "photos/more/c.txt"]


def test_bad_files_are_named_and_the_others_written(photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"no picture")
    done = caption(photos, "--out", tmp_path / "out.jsonl")
    assert done.exit_code == 6
    assert f"{photos}/bad.png: " in done.stderr
    assert len(lines(tmp_path / "out.jsonl")) == 3


class TestGoingOn:
    @pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.json"])
    def test_what_is_there_is_not_made_again(self, photos: Path, tmp_path: Path, name: str) -> None:
        caption(photos / "more", "--out", tmp_path / name)
        before = rows(tmp_path / name)
        done = caption(photos, "--out", tmp_path / name, "--json")
        assert {key: json.loads(done.stdout)[key] for key in ("new", "known", "bad")} == {
            "new": 1,
            "known": 2,
            "bad": 0,
        }
        assert rows(tmp_path / name) == before | {"a.png": rows(tmp_path / name)["a.png"]}

    @pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
    def test_a_line_that_was_cut_off_is_written_again(self, photos: Path, tmp_path: Path, name: str) -> None:
        out = tmp_path / name
        caption(photos, "--out", out)
        before, whole = rows(out), out.read_bytes()
        out.write_bytes(whole[:-9])
        assert "1 captions written" in caption(photos, "--out", out).stdout
        assert rows(out) == before
        uncut = whole[: whole.rindex(b"\n", 0, -1) + 1]  # the score of a picture alone may end in other digits
        assert out.read_bytes().startswith(uncut)

    def test_captions_of_another_model_are_not_mixed_in(self, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.jsonl"
        caption(photos, "--out", out)
        whole = out.read_bytes()
        done = caption(photos, "--out", out, "--prompt", "a photo of")
        assert "has captions of starter" in str(done.exception)
        assert out.read_bytes() == whole
        assert caption(photos, "--out", out, "--prompt", "a photo of", "--force").exit_code == 0
        assert all("a photo of" in row["model_version"] for row in lines(out))

    @pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.json"])
    def test_what_somebody_else_wrote_stays(self, photos: Path, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("my own notes\n")
        done = caption(photos, "--out", tmp_path / name)
        assert "--force" in str(done.exception)
        assert (tmp_path / name).read_text() == "my own notes\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--format", "csv"], "--out"), (["--force"], "--out"), (["--out", "captions"], "--format")],
)
def test_what_is_not_clear_is_asked(photos: Path, arguments: list[str], said: str) -> None:
    done = caption(photos, *arguments)
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)


def test_a_name_with_a_comma_or_quotes_is_one_cell(photos: Path, tmp_path: Path) -> None:
    (photos / "a.png").rename(photos / 'x, "y".png')
    caption(photos, "--out", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        found = [row["image"] for row in csv.DictReader(file)]
    assert f'{photos}/x, "y".png' in found
    assert "0 captions written" in caption(photos, "--out", tmp_path / "out.csv").stdout


@pytest.fixture
def many(tmp_path: Path) -> Path:
    directory = tmp_path / "many"
    directory.mkdir()
    for number in range(300):
        Image.new("RGB", (16, 16), (number % 256, number // 2, 7)).save(directory / f"{number:03}.png")
    return directory


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "name", "count"),
    [
        ("jsonl", "out.jsonl", lambda out: len(lines(out))),
        ("sidecar", "texts", lambda out: len(list(out.glob("*.txt")))),
    ],
)
def test_killed_twice_each_picture_has_one_caption(
    many: Path, tmp_path: Path, form: str, name: str, count: Callable[[Path], int]
) -> None:
    out = tmp_path / name
    command = [sys.executable, "-m", "captionloop.backend.cli", "caption", str(many), "--out", str(out)]
    program = f"from captionloop.backend.cli import main; main({[*command[3:], '--format', form]!r})"
    for least in (30, 150):
        with subprocess.Popen([sys.executable, "-c", program], env=os.environ, stdout=subprocess.DEVNULL) as process:
            while not out.exists() or _size(out) < least:
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)

    assert caption(many, "--out", out, "--format", form).exit_code == 0

    assert count(out) == 300
    if form == "jsonl":
        assert len({row["image"] for row in lines(out)}) == 300


def _size(out: Path) -> int:
    return len(list(out.glob("*.txt"))) if out.is_dir() else out.read_bytes().count(b"\n")
