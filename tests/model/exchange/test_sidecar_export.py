"""Corrections written out as pictures with a text beside each, under the names that they came with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.datasets import picture_bytes, write_pictures
from tests.support.models import add_project

from captionloop.backend.cli import main
from captionloop.home import Home
from captionloop.model.database import Database, PictureName
from captionloop.model.dataset.images import content_hash
from captionloop.model.dataset.picture_names import names_of, remember
from captionloop.model.exchange.export import kind_of
from captionloop.model.exchange.reading import BadRow, find_source
from captionloop.model.exchange.safe_names import safe_name
from captionloop.model.exchange.sidecar_export import SidecarExport, SidecarResult


class Command:
    """`captionloop dataset`, with what it said."""

    def __init__(self, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
        self.project = add_project(database, server="local").id
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str | Path) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(["dataset", *map(str, arguments)])
        out, self.err = self._capsys.readouterr()
        return int(end.value.code or 0), out

    def export(self, out: Path, *more: str) -> int:
        return self("export", "--format", "sidecar", "--out", out, *more)[0]


@pytest.fixture
def dataset(database: Database, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(database, capsys)


def texts(directory: Path, names: dict[str, str | bytes]) -> None:
    for name, text in names.items():
        (directory / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def read(directory: Path, *, by_line: bool = False) -> dict[str, tuple[str, ...]]:
    """Each picture's captions, as our own reader finds them."""
    rows = list(find_source(directory, form="sidecar", by_line=by_line).rows())
    assert [row.reason for row in rows if isinstance(row, BadRow)] == []
    return {row.name: row.captions for row in rows if not isinstance(row, BadRow)}


def files(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


ODD = {
    "a.png": "  a cat \r\n on a mat\n\n",
    "b.png": "\ufeff\ufeffa dog",
    "c.jpg": "\tzwei Hunde 🐕‍🦺 \u2028 im Gras\n",
    "d.png": "[a chair]",
    "deep/er/e.PNG": "['a list', 'of two']",
    "readme.jpg": "a page",
    "f.png.jpg": "a picture of a picture",
    "ü ber.png": "(a table)",
}


def test_an_export_is_what_was_imported(dataset: Command, tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    write_pictures(source, list(ODD))
    texts(source, {f"{name}.txt": text for name, text in ODD.items()})
    before = read(source)
    assert dataset("import", source)[0] == 0

    assert dataset.export(out) == 0

    assert read(out) == before
    assert {name for name in files(out) if not name.endswith(".txt")} == set(ODD)
    assert all((out / name).read_bytes() == (source / name).read_bytes() for name in ODD)
    assert "0 captions imported, 8 were there already" in dataset("import", out)[1]


def test_several_captions_of_a_picture_are_as_many_lines(dataset: Command, tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    write_pictures(source, ["a.png", "b.png"])
    texts(source, {"a.txt": "a cat\na red cat\n", "b.txt": "a dog\n"})
    dataset("import", source, "--lines")

    code, said = dataset("export", "--format", "sidecar", "--out", out)

    assert code == 0
    assert "1 images have several captions, one in each line: read them with --lines." in said
    assert read(out, by_line=True) == {"a.png": ("a cat", "a red cat"), "b.png": ("a dog",)}


def test_the_directory_that_pictures_came_from_gets_texts_and_nothing_else(dataset: Command, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write_pictures(source, ["a.png", "sub/b.jpg", "what?.png"])
    rows = [{"file_name": name, "text": f"of {name}"} for name in ("a.png", "sub/b.jpg", "what?.png")]
    (source / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset("import", source)

    assert dataset.export(source) == 0

    assert dataset.err == ""
    assert files(source) == ["a.png", "a.txt", "metadata.jsonl", "sub/b.jpg", "sub/b.txt", "what?.png", "what?.txt"]
    assert read(source) == {"a.png": ("of a.png",), "sub/b.jpg": ("of sub/b.jpg",), "what?.png": ("of what?.png",)}


@pytest.mark.parametrize("there", ["a.txt", "a.caption", "a.png.txt"])
def test_a_text_with_another_caption_stays_unless_it_is_forced(dataset: Command, tmp_path: Path, there: str) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    write_pictures(source, ["a.png", "b.png"])
    texts(source, {"a.txt": "a cat", "b.txt": "a dog"})
    dataset("import", source)
    out.mkdir()
    texts(out, {there: "my own"})

    assert dataset.export(out) == 6
    assert f"{out / there} is there with another text, and stays as it is (--force writes over it)." in dataset.err
    assert read(out) == {"a.png": ("my own",), "b.png": ("a dog",)}

    assert dataset.export(out, "--force") == 0
    assert read(out) == {"a.png": ("a cat",), "b.png": ("a dog",)}


def test_a_text_that_says_the_same_in_other_bytes_is_left_as_it_is(dataset: Command, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write_pictures(source, ["a.png"])
    texts(source, {"a.txt": b"\xef\xbb\xbfa cat\r\non a mat"})
    dataset("import", source)
    assert dataset.export(source, "--force") == 0
    assert (source / "a.txt").read_bytes() == b"\xef\xbb\xbfa cat\r\non a mat"


def test_force_is_for_sidecars_alone(dataset: Command, tmp_path: Path) -> None:
    assert dataset("export", "--out", tmp_path / "out", "--force")[0] == 2


class Export:
    """Of one picture for each name, each with the caption `_of(NAME)`."""

    def __init__(self, home: Home, out: Path) -> None:
        self._home, self._out = home, out

    def __call__(
        self, *names: str, pictures: list[bytes] | None = None, force: bool = False
    ) -> tuple[SidecarResult, list[str]]:
        said: list[str] = []
        found: dict[str, list[str]] = {}
        for number, name in enumerate(names):
            data = pictures[number] if pictures else picture_bytes(number)
            path = self._home.image(content_hash(data))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            found.setdefault(content_hash(data), []).append(name)
        export = SidecarExport(self._home, self._out, force=force, kind_of=kind_of, tell=said.append)
        return export.write({image: [_of(of[0])] for image, of in found.items()}, found), said


def _of(name: str) -> str:
    return f"of {name!a}"


class TestNames:
    """Of pictures as others have called them."""

    @pytest.fixture
    def export(self, home: Home, tmp_path: Path) -> "Export":
        return Export(home, tmp_path / "out")

    @pytest.mark.parametrize(
        ("name", "written"),
        [
            ("../../etc/a.png", "etc/a.png"),
            ("/etc/a.png", "etc/a.png"),
            ("C:\\temp\\a.png", "temp_a.png"),
            ("..\\a.png", ".._a.png"),
            ("con.png", "_con.png"),
            ("sub/LPT1.tar.png", "sub/_LPT1.tar.png"),
            ("aux", "_aux.png"),
            ("a\nb\x00\x1b[2J.png", "a_b__[2J.png"),
            (".hidden/.a.png", "_.hidden/_.a.png"),
            ("__MACOSX/a.png", "___MACOSX/a.png"),
            ("a. /b.png", "a/b.png"),
            ('a<b>:"|?*.png', "a_b______.png"),
            ("x" * 300 + ".png", "x" * 172 + ".png"),
            ("ü" * 150 + ".png", "ü" * 86 + ".png"),
            ("photo", "photo.png"),
            ("half\ud83d.png", "half_.png"),
        ],
    )
    def test_a_name_that_is_no_safe_one_is_changed_and_told(
        self, export: Export, tmp_path: Path, name: str, written: str
    ) -> None:
        result, said = export(name)
        pictures = [file for file in files(tmp_path) if not file.endswith(".txt") and file.startswith("out/")]
        # `..` of a Windows path is a part of one name, whose dots make it a hidden one.
        assert pictures == [f"out/{'_' if written.startswith('.') else ''}{written}"]
        assert len(said) == result.renamed == 1
        assert said[0].startswith(f"{name!r} is written as ")
        assert len(read(tmp_path / "out")) == 1

    @pytest.mark.parametrize("name", ["..", "/", "./..", ""])
    def test_a_name_of_which_nothing_is_left_is_the_hash(self, export: Export, tmp_path: Path, name: str) -> None:
        export(name)
        assert content_hash(picture_bytes(0)) + ".png" in files(tmp_path / "out")

    @pytest.mark.parametrize(
        "names",
        [
            ("a.png", "a.png"),
            ("a.png", "A.PNG"),
            ("\u00e9.png", "e\u0301.png"),
            ("Stra\u00dfe.png", "STRASSE.png"),
            ("../a.png", "a.png"),
            ("a.png", "a.png/b.png"),
            ("a.png/b.png", "a.png"),
            ("x" * 300 + "1.png", "x" * 300 + "2.png"),
        ],
    )
    def test_pictures_of_one_name_are_set_apart_and_told(
        self, export: Export, tmp_path: Path, names: tuple[str, str]
    ) -> None:
        result, said = export(*names)
        found = read(tmp_path / "out")
        assert sorted(caption for captions in found.values() for caption in captions) == sorted(
            _of(name) for name in names
        )
        folded = [name.casefold() for name in files(tmp_path / "out")]
        assert len(set(folded)) == len(folded) == 4
        assert result.images == 2
        assert any("another picture has that name" in sentence for sentence in said)

    def test_pictures_of_one_stem_have_texts_of_their_whole_names(self, export: Export, tmp_path: Path) -> None:
        export("a.jpg", "A.png")
        assert files(tmp_path / "out") == ["A.png", "A.png.txt", "a.jpg", "a.jpg.txt"]

    def test_one_picture_under_two_names_has_its_captions_under_both(self, export: Export, tmp_path: Path) -> None:
        same = picture_bytes(1)
        export("a.png", "sub/b.png", pictures=[same, same])
        assert read(tmp_path / "out") == {"a.png": (_of("a.png"),), "sub/b.png": (_of("a.png"),)}

    def test_a_file_of_that_name_with_other_contents_is_never_written_over(
        self, export: Export, tmp_path: Path
    ) -> None:
        write_pictures(tmp_path / "out", ["x.png", "a.png"])
        before = (tmp_path / "out" / "a.png").read_bytes()
        _, said = export("a.png", pictures=[picture_bytes(9)], force=True)
        assert (tmp_path / "out" / "a.png").read_bytes() == before
        mark = content_hash(picture_bytes(9))[:8]
        assert said == [f"'a.png' is written as 'a~{mark}.png': another picture has that name."]
        assert read(tmp_path / "out") == {f"a~{mark}.png": (_of("a.png"),)}
        assert export("a.png", pictures=[picture_bytes(9)])[0].known == 1

    def test_a_picture_for_which_no_name_is_left_is_told_and_nothing_written_over(
        self, export: Export, tmp_path: Path
    ) -> None:
        image = content_hash(picture_bytes(0))
        names = ["a.png", f"a~{image[:8]}.png", f"a~{image}.png", f"{image}.png"]
        write_pictures(tmp_path / "out", ["first of them all.png", *names])
        before = {name: (tmp_path / "out" / name).read_bytes() for name in names}
        result, said = export("a.png")
        assert (result.failed, result.images) == (1, 0)
        assert said[-1] == f"'{image}.png' is not written: there is something else of that name."
        assert {name: (tmp_path / "out" / name).read_bytes() for name in names} == before

    def test_a_link_out_of_the_directory_is_not_followed(self, export: Export, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
        result, said = export("sub/a.png", "b.png")
        assert result.failed == 1
        assert "'sub/a.png' is not written" in said[0]
        assert list((tmp_path / "elsewhere").iterdir()) == []
        assert read(tmp_path / "out") == {"b.png": (_of("b.png"),)}

    def test_a_safe_name_stays(self) -> None:
        for name in ("a.png", "10_cats/a b.JPG", "ü/é 🐈.webp", "a.b.c.png", "x" * 170 + ".png"):
            assert safe_name(name, kind="png") == name


def test_a_picture_without_a_name_has_its_hash(
    dataset: Command, home: Home, database: Database, tmp_path: Path
) -> None:
    source = tmp_path / "photos"
    write_pictures(source, ["a.png"])
    texts(source, {"a.txt": "a cat"})
    dataset("import", source)
    with database.session() as session:
        session.query(PictureName).delete()
    assert dataset.export(tmp_path / "out") == 0
    assert list(read(tmp_path / "out")) == [content_hash((source / "a.png").read_bytes()) + ".png"]


def test_importing_again_tells_the_names_of_what_was_imported_before_they_were_kept(
    dataset: Command, database: Database, tmp_path: Path
) -> None:
    source = tmp_path / "photos"
    write_pictures(source, ["sub/a.png"])
    texts(source, {"sub/a.txt": "a cat"})
    dataset("import", source)
    with database.session() as session:
        session.query(PictureName).delete()
    dataset("import", source)
    dataset.export(tmp_path / "out")
    assert list(read(tmp_path / "out")) == ["sub/a.png"]


def test_names_are_those_of_the_project(database: Database) -> None:
    first, second = add_project(database).id, add_project(database, label_studio_id=2).id
    with database.session() as session:
        remember(session, first, [("a" * 64, "one.png"), ("a" * 64, "x" * 3000), ("a" * 64, "one.png")])
        remember(session, second, [("a" * 64, "two.png")])
    with database.reading() as session:
        assert names_of(session, first, ["a" * 64]) == {"a" * 64: ["one.png"]}


@pytest.mark.slow
def test_a_killed_export_goes_on_and_leaves_nothing_half(
    dataset: Command, home: Home, database: Database, tmp_path: Path
) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    names = [f"{number:03}.png" for number in range(300)]
    write_pictures(source, names)
    texts(source, {name.replace("png", "txt"): f"picture {name}" for name in names})
    dataset("import", source)
    command = ["dataset", "export", "--format", "sidecar", "--out", str(out)]
    program = f"from captionloop.backend.cli import main; main({command!r})"
    for least in (10, 100):
        with subprocess.Popen([sys.executable, "-c", program], env=os.environ) as process:
            while not out.exists() or len(list(out.glob("*.txt"))) < least:
                assert process.poll() is None
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        assert all(path.read_text() == f"picture {path.stem}.png\n" for path in out.glob("[0-9]*.txt"))
    assert dataset.export(out) == 0
    assert read(out) == {name: (f"picture {name}",) for name in names}
