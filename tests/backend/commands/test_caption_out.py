"""`captionloop caption --out`: each picture once, whatever interrupts it, in every format that others read."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
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


@pytest.mark.parametrize("there", ["a.txt", "a.png.txt", "a.caption", "a.png.caption"])
def test_a_text_of_any_name_that_readers_take_for_the_pictures_stays(photos: Path, there: str) -> None:
    (photos / there).write_text("my own")
    done = caption(photos, "--out", photos, "--format", "sidecar")
    assert "2 captions written" in done.stdout
    assert rows(photos)["a.png"] == "my own"
    assert caption(photos, "--out", photos, "--format", "sidecar", "--force").exit_code == 0
    assert rows(photos)["a.png"] != "my own"


@pytest.mark.parametrize("name", ["readme.jpg", "LICENSE.png", "b.jpg.png", "x" * 251 + ".png"])
def test_the_text_of_a_picture_with_an_odd_name_is_found_again(photos: Path, name: str) -> None:
    Image.new("RGB", (64, 48), "gold").save(photos / name)
    (photos / "readme.txt").write_text("how to use these")
    assert caption(photos, "--out", photos, "--format", "sidecar").exit_code == 0
    assert sorted(rows(photos)) == sorted([name, "a.png", "b.jpg", "c.png"])
    assert (photos / "readme.txt").read_text() == "how to use these"


def test_a_name_that_leaves_no_room_for_a_texts_is_named_and_the_others_written(photos: Path) -> None:
    long = "x" * 251
    for name in (f"{long}.png", f"{long}.gif"):
        Image.new("RGB", (64, 48), "gold").save(photos / name)
    done = caption(photos, "--out", photos, "--format", "sidecar")
    assert done.exit_code == 6
    assert done.stderr.count("its name is too long for a text file to be called after it; rename it.") == 2
    assert sorted(rows(photos)) == ["a.png", "b.jpg", "c.png"]


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


FORMS = {"jsonl": "out.jsonl", "csv": "out.csv", "coco": "out.json", "sidecar": "texts", "imagefolder": "folder"}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_killed_twice_each_picture_has_one_caption(many: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / FORMS[form]
    for least in (30, 150):
        with _started(many, out, form) as process:
            while _size(out, form) < least:
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)

    assert caption(many, "--out", out, "--format", form).exit_code == 0

    assert _captions(many, out, form) == [f"{number:03}.png" for number in range(300)]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("most", [23, 4321])
def test_killed_within_a_write_each_picture_has_one_caption(many: Path, tmp_path: Path, form: str, most: int) -> None:
    """The kernel kills a process whose file outgrows a limit, when the part up to the limit is written."""
    out = tmp_path / FORMS[form]
    with _started(many, out, form, most_bytes=most) as process:
        process.wait()
    assert process.returncode in (0, -signal.SIGXFSZ)  # not every file becomes that long

    assert caption(many, "--out", out, "--format", form).exit_code == 0

    assert _captions(many, out, form) == [f"{number:03}.png" for number in range(300)]


def _started(many: Path, out: Path, form: str, *, most_bytes: int | None = None) -> "subprocess.Popen[bytes]":
    command = ["caption", str(many), "--out", str(out), "--format", form]
    limit = (
        ""
        if most_bytes is None
        else "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes}, {most_bytes})); "
    )
    program = f"from captionloop.backend.cli import main; {limit}main({command!r})"
    return subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _size(out: Path, form: str) -> int:
    """About how many captions are there."""
    if form == "sidecar":
        return len(list(out.glob("*.txt")))
    file = {"coco": out.with_name(f"{out.name}.part"), "imagefolder": out / "metadata.jsonl"}.get(form, out)
    return file.read_bytes().count(b"\n") if file.exists() else 0


def _captions(many: Path, out: Path, form: str) -> list[str]:
    """The name of the picture of each caption, by a reader of that format; no file is half written or left over."""
    if form == "sidecar":
        assert all(path.read_text().endswith("\n") for path in out.glob("*.txt"))
        return sorted(f"{path.stem}.png" for path in out.glob("[!.]*.txt"))
    if form == "imagefolder":
        assert all(path.read_bytes() == (many / path.name).read_bytes() for path in out.glob("[!.]*.png"))
    assert not out.with_name(f"{out.name}.part").exists()
    found = []
    for row in find_source(out).rows():
        assert not isinstance(row, BadRow), row.reason
        found += [row.picture.path.name] * len(row.captions)
    return sorted(found)
