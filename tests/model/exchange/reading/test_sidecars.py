"""Pictures with a text beside each, as kohya's trainers and TagGUI keep them."""

import os
from pathlib import Path

import pytest
from tests.support.datasets import write_pictures

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.reading import BadRow, find_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def write(folder: Path, texts: dict[str, str | bytes]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def read(folder: Path, **options: bool) -> list[tuple[str, object]]:
    source = find_source(folder, **options)  # type: ignore[arg-type]
    assert source.format == "sidecar"
    found: list[tuple[str, object]] = []
    for row in source.rows():
        if isinstance(row, BadRow):
            found.append((row.place.file.relative_to(folder).as_posix(), row.reason))
        else:
            assert row.picture.path == folder / row.name
            found.append((row.name, list(row.captions)))
    return found


def test_a_text_belongs_to_the_picture_of_its_name(folder: Path) -> None:
    write_pictures(folder, ["b.png", "10_cats/a.jpg", "10_cats/b.png", "c.PNG", "d.jpg", "e.webp", "alone.png"])
    write(
        folder,
        {"b.txt": "of b", "10_cats/a.txt": "of a\n", "10_cats/b.caption": "of cats/b", "c.txt": b"\xef\xbb\xbfof c",
         "d.jpg.txt": "of d", "e.TXT": "of e".encode("utf-16"), "readme.txt": "none"},
    )  # fmt: skip
    assert read(folder) == [
        ("10_cats/a.jpg", ["of a"]), ("10_cats/b.png", ["of cats/b"]), ("b.png", ["of b"]), ("c.PNG", ["of c"]),
        ("d.jpg", ["of d"]), ("e.webp", ["of e"]),
    ]  # fmt: skip


def test_several_lines_are_one_caption_or_as_many_as_said(folder: Path) -> None:
    write_pictures(folder, ["a.png"])
    write(folder, {"a.txt": "a cat\r\n\n on a mat \n"})
    assert read(folder) == [("a.png", ["a cat on a mat"])]
    assert read(folder, by_line=True) == [("a.png", ["a cat", "on a mat"])]


def test_a_name_may_be_in_another_unicode_form(folder: Path) -> None:
    write_pictures(folder, ["e\u0301.png"])
    write(folder, {"\u00e9.txt": "of e"})
    assert read(folder) == [("e\u0301.png", ["of e"])]


@pytest.mark.parametrize(
    ("pictures", "texts", "name", "said"),
    [
        (["x.png"], {"a.txt": "x"}, "a.txt", "no picture of this name"),
        (["A.png", "x.png"], {"a.txt": "x"}, "a.txt", "no picture of this name"),
        (["b/a.png"], {"a.txt": "x"}, "a.txt", "no picture of this name"),
        (["a.jpg", "a.png"], {"a.txt": "x"}, "a.txt", "may belong to 'a.jpg' and 'a.png'"),
        (["\u00e9.png", "e\u0301.png"], {"\u00e9.txt": "x"}, "\u00e9.txt", "may belong to"),
        (["a.jpg"], {"a.png.txt": "x"}, "a.png.txt", "no picture of this name"),
        (["a.png"], {"a.txt": "x", "a.caption": "y"}, "a.caption", "have different captions"),
        (["a.png"], {"a.txt": ""}, "a.txt", "is empty"),
        (["a.png"], {"a.txt": "nan"}, "a.txt", "empty cell"),
        (["a.png"], {"a.txt": b"caf\xe9"}, "a.txt", "not in UTF-8"),
        (["a.png"], {"a.txt": "x" * 2_000_000}, "a.txt", "over 1,048,576 bytes"),
    ],
)
def test_a_text_of_no_picture_or_of_several_is_a_bad_row(
    folder: Path, pictures: list[str], texts: dict[str, str | bytes], name: str, said: str
) -> None:
    write_pictures(folder, [*pictures, "fine.png"])
    write(folder, {**texts, "fine.txt": "fine"})
    found = read(folder)
    assert ("fine.png", ["fine"]) in found
    (bad,) = [row for row in found if isinstance(row[1], str)]
    assert bad[0] == name
    assert said in str(bad[1])


def test_two_texts_that_say_the_same_are_one(folder: Path) -> None:
    write_pictures(folder, ["a.png"])
    write(folder, {"a.txt": "x", "a.caption": "x\n"})
    assert read(folder) == [("a.png", ["x"])]


@pytest.mark.parametrize("stem", ["x" * 251, "\u00e9" * 120, "e\u0301" * 80])
def test_a_name_may_be_as_long_as_a_file_system_allows(folder: Path, stem: str) -> None:
    write_pictures(folder, [f"{stem}.png"])
    write(folder, {f"{stem}.txt": "of it"})
    assert read(folder) == [(f"{stem}.png", ["of it"])]


@pytest.mark.parametrize("text", ["[a chair]", "['a chair', 'a table']", "(a chair)"])
def test_a_text_is_taken_as_it_stands(folder: Path, text: str) -> None:
    write_pictures(folder, ["a.png"])
    write(folder, {"a.txt": text})
    assert read(folder) == [("a.png", [text])]


def test_of_two_pictures_each_may_have_a_text_of_its_whole_name(folder: Path) -> None:
    write_pictures(folder, ["a.jpg", "a.png"])
    write(folder, {"a.jpg.txt": "of jpg", "a.png.txt": "of png"})
    assert read(folder) == [("a.jpg", ["of jpg"]), ("a.png", ["of png"])]


def test_links_out_of_the_directory_and_pipes_are_bad_rows(folder: Path, tmp_path: Path) -> None:
    write_pictures(folder, ["a.png", "c.png", "e/d.png"])
    write_pictures(tmp_path, ["secret.png"])
    (folder / "b.png").symlink_to(tmp_path / "secret.png")
    (folder / "d.png").symlink_to("e/d.png")
    os.mkfifo(folder / "c.txt")
    write(folder, {"a.txt": "of a", "b.txt": "of b", "d.txt": "of d"})
    found = dict(read(folder))
    assert (found["a.png"], found["d.png"]) == (["of a"], ["of d"])
    assert "leads out of the dataset" in str(found["b.txt"])
    assert "named pipe" in str(found["c.txt"])


def test_a_file_of_captions_beside_them_is_not_chosen_between(folder: Path) -> None:
    write_pictures(folder, ["a.png", "b.png"])
    write(folder, {"a.txt": "of a", "captions.csv": "image,caption\nb.png,of b\n", "a.json": "{}"})
    with pytest.raises(CaptionFileError, match=r"has texts beside its pictures, and captions\.csv; name the file, or"):
        find_source(folder)
    assert [row.name for row in find_source(folder, form="sidecar").rows() if not isinstance(row, BadRow)] == ["a.png"]
    assert find_source(folder / "captions.csv").format == "csv"


def test_pictures_of_sidecars_lie_nowhere_else(folder: Path) -> None:
    write_pictures(folder, ["a.png"])
    write(folder, {"a.txt": "of a"})
    with pytest.raises(CaptionFileError, match="leave out --images"):
        find_source(folder, images=folder)
    with pytest.raises(CaptionFileError, match="name the directory"):
        find_source(folder / "a.txt", form="sidecar")
