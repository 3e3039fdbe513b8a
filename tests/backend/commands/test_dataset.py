"""`captionloop dataset`, as it is called."""

import json
from pathlib import Path

import pytest
from tests.support.datasets import write_pictures
from tests.support.models import add_project

from captionloop.backend.cli import main
from captionloop.model.database import Database


@pytest.fixture
def call(database: Database, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    add_project(database, server="local")

    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["dataset", *arguments])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run_command


@pytest.fixture
def flickr(tmp_path: Path) -> Path:
    """A folder of images and a file of captions, of which one names a picture that is not there."""
    folder = tmp_path / "flickr"
    write_pictures(folder / "Images", ["a.jpg", "b.jpg"])
    (folder / "captions.txt").write_text("image,caption\na.jpg,a cat\nb.jpg,a dog\nc.jpg,nothing\n")
    return folder


def test_a_folder_of_images_and_a_file_of_captions_is_one_command(call, flickr: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, err = call("import", str(flickr))
    assert (code, out) == (6, "2 captions imported, 0 were there already, 1 rows could not be used.\n")
    assert f"{flickr / 'captions.txt'}, line 4: There is no picture 'c.jpg'" in err


def test_programs_get_the_figures_and_the_bad_rows(call, flickr: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call("import", str(flickr / "captions.txt"), "--images", str(flickr / "Images"), "--json")
    found = json.loads(out)
    (bad,) = found.pop("bad_rows")
    assert (code, found) == (6, {"format": "csv", "new": 2, "known": 0, "bad": 1})
    assert (bad["file"], bad["line"], bad["entry"]) == (str(flickr / "captions.txt"), 4, None)


def test_an_import_without_bad_rows_is_exit_code_0(call, flickr: Path) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call("import", str(flickr), "--limit", "2", "--format", "csv")
    assert (code, err) == (0, "")


def test_a_dataset_that_is_not_there_is_named(call) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call("import", "nowhere")
    assert (code, "no file or directory nowhere" in err) == (4, True)


def test_what_was_imported_is_in_the_dataset(call, flickr: Path) -> None:  # type: ignore[no-untyped-def]
    call("import", str(flickr))
    rows = json.loads(call("show", "--json")[1])
    assert [row["caption"] for row in rows] == ["a cat", "a dog"]


def test_captions_and_snapshots_are_found_without_case_and_accents(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "french"
    write_pictures(folder, ["a.jpg", "b.jpg"])
    (folder / "captions.csv").write_text("image,caption\na.jpg,un éléphant\nb.jpg,un chat\n")
    call("import", str(folder))
    call("snapshot")

    assert [row["caption"] for row in json.loads(call("show", "--search", "ELEPHANT", "--json")[1])] == ["un éléphant"]
    assert [row["captions"] for row in json.loads(call("list", "--search", "e\u0301le", "--json")[1])] == [1]
    assert json.loads(call("list", "--search", "chien", "--json")[1]) == []


def test_figures_that_are_lists_begin_with_their_count(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "odd"
    write_pictures(folder, [f"{number}.jpg" for number in range(14)])
    (folder / "captions.csv").write_text("image,caption\n" + "".join(f"{n}.jpg,{'é' * 1001} {n}\n" for n in range(14)))
    assert stats_line(call, "cannot be written") == "0"
    call("import", str(folder), "--limit", "1")
    assert stats_line(call, "cannot be written") == "1 (number 1)"
    call("import", str(folder))
    assert stats_line(call, "cannot be written") == "14 (numbers 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 4 more)"
    assert json.loads(call("stats", "--json")[1])["cannot_be_written"] == list(range(1, 15))


def stats_line(call, name: str) -> str:  # type: ignore[no-untyped-def]
    (line,) = [line for line in call("stats")[1].splitlines() if line.startswith(name)]
    return line.removeprefix(name).strip()
