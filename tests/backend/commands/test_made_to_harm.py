"""Commands without a service on files and names that are made to harm: a sentence, soon, and nothing lost."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from captionloop.backend.cli import main
from captionloop.model import starter

ESCAPES = "a\x1b[31mred\nFORGED\x07"
DEEP = "[" * 200_000
STARTER = Path(starter.__file__).parent / "weights"

Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Runs a command; returns its exit code and all that it said."""
    monkeypatch.setenv("CAPTIONLOOP_BEAMS", "1")

    def run(*arguments: str | Path) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return int(end.value.code or 0), shown.out + shown.err

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    Image.new("RGB", (32, 32), "red").save(path)
    return path


LONG = "x" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ("caption", LONG),
        ("caption", "a.png", "--out", f"{LONG}.jsonl"),
        ("caption", "a.png", "--out", LONG, "--format", "sidecar"),
        ("caption", "a.png", "--model", LONG),
        ("train", LONG),
        ("evaluate", "--model", "starter", "--dataset", LONG),
        ("compare", "starter", LONG, "--dataset", "captions.jsonl"),
        ("dataset", "import", LONG),
    ],
    ids=lambda arguments: " ".join(arguments).replace(LONG, "long"),
)
def test_a_name_that_no_file_can_have_is_named(
    said: Said, picture: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(picture.parent)
    Path("captions.jsonl").write_text(json.dumps({"image": "a.png", "caption": "a red square"}) + "\n")
    code, text = said(*arguments)

    assert code in {1, 2, 3, 6}
    assert "File name too long" in text
    assert len(text) < 30_000


class TestWhereCaptionsGo:
    @pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.json"])
    def test_a_pipe_or_a_device_is_refused_at_once(self, said: Said, picture: Path, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / name)
        for out in (tmp_path / name, "/dev/full", "/dev/zero"):
            code, text = said("caption", picture, "--out", out, "--format", {"n": "coco"}.get(name[-1], "jsonl"))
            assert (code, "no regular file" in text) == (1, True)

    def test_a_pipe_in_place_of_an_imagefolders_metadata(self, said: Said, picture: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        os.mkfifo(tmp_path / "out" / "metadata.jsonl")

        assert "no regular file" in said("caption", picture, "--out", tmp_path / "out", "--format", "imagefolder")[1]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("notes.jsonl", '{"mine": "a day of work"}'),
            ("notes.jsonl", '{"image": "a.png", "text": "a day of work"}'),
            ("notes.jsonl", "my own notes"),
            ("notes.csv", "mine,a day of work"),
            ("notes.csv", "image,caption,notes"),
            ("notes.json", '{"mine": "a day of work"}'),
        ],
    )
    def test_somebody_elses_file_stays_though_its_last_line_has_no_end(
        self, said: Said, picture: Path, tmp_path: Path, name: str, content: str
    ) -> None:
        (tmp_path / name).write_text(content)

        code, text = said("caption", picture, "--out", tmp_path / name)

        assert (code, "--force" in text) == (1, True)
        assert (tmp_path / name).read_text() == content

    def test_a_line_that_lacks_only_its_end_is_written_again(self, said: Said, picture: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.jsonl"
        said("caption", picture, "--out", out)
        whole = out.read_bytes()
        out.write_bytes(whole[:-1])

        assert said("caption", picture, "--out", out)[0] == 0
        assert out.read_bytes() == whole

    @pytest.mark.parametrize(
        "line",
        [
            DEEP,
            '{"image": "a", "caption": "b", "score": 1' + "0" * 400 + ', "model_version": "starter"}',
            '{"image": "a", "caption": "b", "score": ' + "9" * 6000 + ', "model_version": "starter"}',
            '{"image": "\\ud800", "caption": "b", "score": 1, "model_version": "starter"}',
            "[1]",
        ],
        ids=["deep", "a large number", "a long number", "half a character", "a list"],
    )
    @pytest.mark.parametrize("form", ["jsonl", "coco"])
    def test_lines_that_it_never_wrote(self, said: Said, picture: Path, tmp_path: Path, form: str, line: str) -> None:
        out = tmp_path / "out"
        content = f"{line}\n" if form == "jsonl" else f'{{"images": [\n{line}\n], "annotations": [\n{line}\n]}}\n'
        out.write_text(content)

        code, text = said("caption", picture, "--out", out, "--format", form)

        assert (code, "`captionloop caption`" in text) == (1, True)
        assert out.read_text() == content

    def test_a_table_with_a_cell_that_is_too_long(self, said: Said, picture: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.csv"
        out.write_text(f"image,caption,score,model_version\n{'x' * 200_000},b,1,starter\n")

        assert "line 2 is not one that" in said("caption", picture, "--out", out)[1]


def assert_shows_only_lines(text: str) -> None:
    assert not any(character in text for character in "\x1b\x07\r")
    assert "FORGED" in text
    assert not any(line.startswith("FORGED") for line in text.split("\n"))


class TestNamesThatCommandATerminal:
    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        directory = tmp_path / ESCAPES
        directory.mkdir()
        for number, colour in enumerate(["red", "green", "blue", "gold", "black", "white"]):
            Image.new("RGB", (32, 32), colour).save(directory / f"{number}.png")
        (directory / f"bad{ESCAPES}.png").write_bytes(b"no picture")
        return directory

    @pytest.fixture
    def dataset(self, photos: Path) -> Path:
        (photos / f"bad{ESCAPES}.png").unlink()
        rows = [{"file_name": f"{number}.png", "text": f"a picture of number {number}"} for number in range(6)]
        (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return photos

    @pytest.mark.parametrize("form", ["jsonl", "csv", "coco", "sidecar", "imagefolder"])
    def test_captions_in_files(self, said: Said, photos: Path, tmp_path: Path, form: str) -> None:
        code, text = said("caption", photos, "--out", tmp_path / f"out{ESCAPES}", "--format", form)

        written = 0 if form == "csv" else 6  # a table has no cells with a line break
        assert (code, f"{written} captions written" in text) == (6, True), text
        assert_shows_only_lines(text)

    @pytest.mark.parametrize("also", [[], ["--json"]])
    def test_captions_that_are_shown(self, said: Said, photos: Path, also: list[str]) -> None:
        assert_shows_only_lines(said("caption", photos, *also)[1])

    @pytest.mark.slow
    def test_training(self, said: Said, dataset: Path, tmp_path: Path) -> None:
        out = tmp_path / f"out{ESCAPES}"
        code, text = said("train", dataset, "--out", out, "--set", "steps=1")

        assert (code, "captionloop caption" in text) == (0, True), text
        assert_shows_only_lines(text)

    def test_comparing_and_evaluating(self, said: Said, dataset: Path, tmp_path: Path) -> None:
        page = tmp_path / f"page{ESCAPES}.html"
        for arguments in (
            ("compare", "starter", "starter", "--dataset", dataset, "--html", page),
            ("evaluate", "--model", f"no{ESCAPES}", "--dataset", dataset),
            ("evaluate", "--model", "starter", "--dataset", tmp_path / f"no{ESCAPES}"),
        ):
            assert_shows_only_lines(said(*arguments)[1])


def test_a_prompt_of_bytes_that_are_no_text(said: Said, picture: Path) -> None:
    code, text = said("caption", picture, "--prompt", "a photo of \udcff")

    assert (code, "prompt" in text) == (1, True)


class TestModels:
    @pytest.mark.parametrize(
        "content",
        [DEEP, "[]", "\x00", '{"version": ' + "9" * 5000 + "}", '{"version": "v", "generation": {"num_beams": 1e9}}'],
        ids=["deep", "a list", "no JSON", "a long number", "a billion beams"],
    )
    def test_a_manifest_that_is_none(self, said: Said, picture: Path, tmp_path: Path, content: str) -> None:
        shutil.copytree(STARTER, tmp_path / "model")
        (tmp_path / "model" / "captionloop.json").write_text(content)

        code, text = said("caption", picture, "--model", tmp_path / "model")

        assert code == 1
        assert text.startswith("Error: ")

    @pytest.mark.parametrize("name", sorted(path.name for path in STARTER.iterdir() if path.suffix != ".md"))
    def test_a_pipe_in_place_of_a_file(self, said: Said, picture: Path, tmp_path: Path, name: str) -> None:
        shutil.copytree(STARTER, tmp_path / "model")
        (tmp_path / "model" / name).unlink()
        os.mkfifo(tmp_path / "model" / name)

        code, text = said("caption", picture, "--model", tmp_path / "model")

        assert code in {0, 1}, text
        assert code == 0 or text.startswith("Error: ")


@pytest.mark.parametrize(
    "plan", [DEEP, "[]", "\x00", '{"settings": 5}', '{"settings": {"steps": ' + "9" * 5000 + "}}"],
    ids=["deep", "a list", "no JSON", "wrong settings", "a long number"],
)  # fmt: skip
def test_a_plan_of_a_training_that_is_none(said: Said, picture: Path, tmp_path: Path, plan: str) -> None:
    picture.with_suffix(".txt").write_text("a red square")
    (tmp_path / "out" / ".training").mkdir(parents=True)
    (tmp_path / "out" / ".training" / "plan.json").write_text(plan)

    code, text = said("train", picture.parent, "--out", tmp_path / "out", "--resume")

    assert (code, "plan.json" in text) == (1, True), text
