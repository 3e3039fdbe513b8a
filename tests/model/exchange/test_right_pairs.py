"""A caption never goes to a picture that its row does not name: other people's datasets, and what is odd in them."""

import json
import os
import tarfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.model.exchange.test_importing import Importer, add_member
from tests.support.datasets import picture_bytes, write_pictures

from captionloop.errors import CaptionFileError
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.database import Database
from captionloop.model.dataset.images import content_hash
from captionloop.model.exchange.evaluation_set import open_evaluation_set

NFC, NFD = (unicodedata.normalize(form, "Größe/é.png") for form in ("NFC", "NFD"))


@pytest.fixture
def importer(database: Database, home: Home) -> Importer:
    return Importer(database, home)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dataset").mkdir()
    return tmp_path / "dataset"


def pairs(importer: Importer, folder: Path) -> list[tuple[str, str]]:
    """What was imported: the picture's path below the directory, and the caption."""
    names = {
        content_hash(path.read_bytes()): path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return [(names[str(row.image_sha256)], caption) for row in importer.rows() for caption in row.captions]


def evaluated(path: Path, images: Path | None = None) -> dict[str, list[str]]:
    """What `evaluate` scores: the image's id, and its captions. Bad rows are left out."""
    found = open_evaluation_set(
        str(path), home=Home(path.parent), limits=ImageLimits(), on_bad=lambda row: None, images=images
    )
    return {image: list(captions) for image, captions in found.references.items()}


def write_rows(path: Path, names: Sequence[str]) -> Path:
    """A row for each name: in a table, JSON Lines, or COCO's annotations, as the file's name says."""
    if path.suffix == ".csv":
        path.write_text("file_name,text\n" + "".join(f'"{name}",of {name}\n' for name in names), encoding="utf-8")
    elif path.suffix == ".jsonl":
        rows = [{"file_name": name, "text": f"of {name}"} for name in names]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
        notes = [{"image_id": number, "caption": f"of {name}"} for number, name in enumerate(names)]
        path.write_text(json.dumps({"images": images, "annotations": notes}))
    return path


TABLES = pytest.mark.parametrize("table", ["x.csv", "x.jsonl", "x.json"])


# Directories ---------------------------------------------------------------------------------------------------------


@TABLES
@pytest.mark.parametrize("names", [["dogs/001.png"], ["cats/001.png", "dogs/001.png"]])
def test_a_picture_of_another_directory_is_never_taken(
    importer: Importer, folder: Path, table: str, names: list[str]
) -> None:
    write_pictures(folder, ["cats/001.png"])
    write_rows(folder / table, names)
    result = importer(folder / table)
    assert (result.new, result.bad) == (len(names) - 1, 1)
    assert pairs(importer, folder) == [(name, f"of {name}") for name in names[:-1]]
    assert "There is no picture 'dogs/001.png' in" in importer.reasons()[0]
    assert "cats/001.png" in importer.reasons()[0]  # what was found where


@TABLES
def test_a_bare_name_is_found_in_a_directory_if_there_is_one_such_picture(
    importer: Importer, folder: Path, table: str
) -> None:
    write_pictures(folder, ["val2014/a.png", "val2014/b.png", "train2014/b.png"])
    write_rows(folder / table, ["a.png", "b.png"])
    assert importer(folder / table).bad == 1
    assert pairs(importer, folder) == [("val2014/a.png", "of a.png")]
    assert "'b.png' fits several pictures" in importer.reasons()[0]
    assert "'train2014/b.png', 'val2014/b.png'" in importer.reasons()[0]


@TABLES
def test_directories_that_all_names_begin_with_may_be_those_of_the_directory_itself(
    importer: Importer, folder: Path, table: str, tmp_path: Path
) -> None:
    write_pictures(folder / "val2014", ["a.png", "b.png", "thumbs/b.png"])
    path = write_rows(tmp_path / table, ["val2014/a.png", "val2014/b.png", "val2014/c.png"])
    result = importer(path, images=folder / "val2014")
    assert (result.new, result.bad) == (1, 2)
    assert pairs(importer, folder) == [("val2014/a.png", "of val2014/a.png")]
    assert any("fits several pictures" in reason and "thumbs/b.png" in reason for reason in importer.reasons())


@pytest.mark.parametrize("prefix", ["/home/bob/data/dataset", r"C:\data\dataset", "work/dataset"])
def test_paths_of_another_machine_lead_through_a_directory_of_the_same_name(
    importer: Importer, folder: Path, prefix: str
) -> None:
    write_pictures(folder, ["cats/a.png", "dogs/a.png"])
    separator = "\\" if "\\" in prefix else "/"
    names = [separator.join((prefix, kind, "a.png")) for kind in ("cats", "dogs")]
    assert importer(write_rows(folder / "x.jsonl", names)).new == 2
    assert pairs(importer, folder) == [("cats/a.png", f"of {names[0]}"), ("dogs/a.png", f"of {names[1]}")]


@TABLES
@pytest.mark.parametrize("below", ["", "images/"])
def test_a_directory_of_another_name_is_another_directory_though_somebody_names_it(
    importer: Importer, folder: Path, table: str, below: str
) -> None:
    write_pictures(folder, [f"val/{below}1.png", f"val/{below}2.png"])
    write_rows(folder / table, [f"train/{below}1.png", f"train/{below}2.png"])
    assert importer(folder / table, images=folder / "val").new == 0
    assert f"if {folder / 'val'} is the directory 'train', give it that name" in importer.reasons()[0]


def test_a_link_gives_a_directory_the_name_that_rows_have_for_it(
    importer: Importer, folder: Path, tmp_path: Path
) -> None:
    write_pictures(folder, ["a.png"])
    (tmp_path / "flickr").symlink_to(folder)
    path = write_rows(tmp_path / "x.csv", ["/home/bob/flickr/a.png"])
    importer(path, images=tmp_path / "flickr")
    assert pairs(importer, folder) == [("a.png", "of /home/bob/flickr/a.png")]


def test_names_are_left_alone_where_one_of_them_is_found(importer: Importer, folder: Path) -> None:
    write_pictures(folder / "dataset", ["a.png"])
    write_pictures(folder, ["b.png", "c.png"])
    write_rows(folder / "x.csv", ["dataset/b.png", "dataset/a.png"])
    assert importer(folder / "x.csv").bad == 1
    assert pairs(importer, folder) == [("dataset/a.png", "of dataset/a.png")]


def test_an_imagefolder_says_exactly_where_its_pictures_are(importer: Importer, folder: Path) -> None:
    write_pictures(folder, ["images/a.png", "b.png"])
    write_rows(folder / "metadata.csv", ["a.png", "images/b.png", "b.png"])
    assert importer(folder).bad == 2
    assert pairs(importer, folder) == [("b.png", "of b.png")]


def test_an_absolute_path_is_that_picture_or_none(importer: Importer, folder: Path, tmp_path: Path) -> None:
    write_pictures(folder, ["a.png", "cats/b.png"])
    write_pictures(tmp_path / "other", ["a.png"])
    names = [str(folder / "cats/b.png"), (folder / "a.png").as_uri(), str(tmp_path / "other/a.png"), "/nowhere/b.png"]
    assert importer(write_rows(folder / "x.jsonl", names)).bad == 2
    assert [picture for picture, _ in pairs(importer, folder)] == ["cats/b.png", "a.png"]


# Spellings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_disk", "named"),
    [
        ("images/a.png", r"images\a.png"),
        ("images/a.png", r".\images\a.png"),
        ("images/a.png", "./images//a.png"),
        ("a b.png", " a b.png "),
        ("a.png ", "a.png "),
        (NFD, NFC),
        (NFC, NFD),
        (NFD, NFC.replace("/", "\\")),
        ("a.png", "a.png#0"),
        ("a.png#0", "a.png#0"),
        (".hidden/a.png", ".hidden/a.png"),
    ],
)
def test_a_name_may_be_written_otherwise(importer: Importer, folder: Path, on_disk: str, named: str) -> None:
    write_pictures(folder, ["other.png", on_disk])
    importer(write_rows(folder / "x.jsonl", [named]))
    assert pairs(importer, folder) == [(on_disk, " ".join(f"of {named}".split()))]


@pytest.mark.parametrize(
    ("on_disk", "named", "said"),
    [
        (["A.png"], "a.png", "'A.png', with other capitals"),
        (["a b.png"], "a%20b.png", "'a b.png'"),
        (["a.png"], "a.png?size=2&x=1", "without '?size=2&x=1'"),
        (["\u1ed9.png", "o\u0323\u0302.png"], "\u00f4\u0323.png", "fits several"),
        (["a.png"], "http://localhost/a.png", "is an address"),
        (["a.png"], "file://elsewhere/a.png", "is an address"),
        (["a.png"], "data:image/png;base64,aaaa", "is an address"),
        (["a.png"], "../dataset/a.png", "does not lie in"),
        (["a.png"], "x" * 300 + "/a.png", "is too long for the path"),
        (["a.png"], "x/" * 5000 + "a.png", "is too long for the path"),
        (["a.png"], "x/" * 1000 + "a.png", "There is no picture"),
        (["a.png"], "a\nb.png", "is no name of a file"),
        (["a.png"], "a.png\x00", "is no name of a file"),
        (["a.png"], "", "is no name of a file"),
        (["a.png"], ".", "does not lie in"),
        (["a.png/b.png"], "a.png", "is a directory"),
    ],
)  # fmt: skip
def test_a_name_that_is_only_alike_is_refused_with_what_there_is(
    importer: Importer, folder: Path, on_disk: list[str], named: str, said: str
) -> None:
    write_pictures(folder, on_disk)
    assert importer(write_rows(folder / "x.jsonl", [named])).new == 0
    (reason,) = importer.reasons()
    assert said in reason
    assert len(reason) < 1000


def test_pictures_that_differ_in_capitals_alone_are_two(importer: Importer, folder: Path) -> None:
    write_pictures(folder, ["A.png", "a.png"])
    importer(write_rows(folder / "x.csv", ["a.png", "A.png"]))
    assert pairs(importer, folder) == [("a.png", "of a.png"), ("A.png", "of A.png")]


# Links and what is no file -------------------------------------------------------------------------------------------


def test_a_link_within_the_directory_is_followed_and_none_out_of_it(
    importer: Importer, folder: Path, tmp_path: Path
) -> None:
    write_pictures(folder, ["real/a.png"])
    write_pictures(tmp_path / "secret", ["b.png"])
    (folder / "inside.png").symlink_to("real/a.png")
    (folder / "outside.png").symlink_to(tmp_path / "secret/b.png")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "nowhere.png").symlink_to("gone.png")
    (folder / "circle.png").symlink_to("circle.png")
    names = ["inside.png", "outside.png", "out/b.png", "b.png", "nowhere.png", "circle.png"]
    assert importer(write_rows(folder / "x.csv", names)).bad == 5
    assert pairs(importer, folder) == [("real/a.png", "of inside.png")]
    assert [reason.partition(": ")[2].partition(" in ")[0].partition(", to")[0] for reason in importer.reasons()] == [
        "The picture 'outside.png' is a link that leads out of the dataset",
        "The picture 'out/b.png' is a link that leads out of the dataset",
        "There is no picture 'b.png'",
        "There is no picture 'nowhere.png'",
        "There is no picture 'circle.png'",
    ]


def test_a_pipe_is_not_waited_for(importer: Importer, folder: Path) -> None:
    write_pictures(folder, ["a.png"])
    os.mkfifo(folder / "pipe.png")
    importer(write_rows(folder / "x.csv", ["pipe.png"]))
    assert "is a named pipe" in importer.reasons()[0]
    os.mkfifo(folder / "metadata.jsonl")
    with pytest.raises(CaptionFileError, match=r"metadata\.jsonl is a named pipe"):
        importer(folder)
    for name in ("y.jsonl", "y.json", "y.csv", "y.tar"):
        os.mkfifo(folder / name)
        with pytest.raises(CaptionFileError, match="it is a named pipe, no regular file"):
            importer(folder / name)


def test_captions_behind_a_link_that_leads_out_are_refused(importer: Importer, folder: Path, tmp_path: Path) -> None:
    write_pictures(folder, ["a.png"])
    write_rows(tmp_path / "elsewhere.jsonl", ["a.png"])
    (folder / "metadata.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(CaptionFileError, match=r"metadata\.jsonl is a link that leads out of the dataset"):
        importer(folder)


def test_an_empty_picture_is_a_bad_row(importer: Importer, folder: Path) -> None:
    (folder / "a.png").touch()
    importer(write_rows(folder / "x.csv", ["a.png"]))
    assert "2: " in importer.reasons()[0]
    assert "empty" in importer.reasons()[0]


# Ids and names that repeat -------------------------------------------------------------------------------------------


def coco(path: Path, images: list[dict[str, Any]], notes: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"images": images, "annotations": notes}))
    return path


@pytest.mark.parametrize("ids", [(7, 7), (7, "7"), (7, 7.0)])
def test_an_id_of_two_pictures_stands_for_none(importer: Importer, folder: Path, ids: tuple[object, object]) -> None:
    write_pictures(folder, ["a.png", "b.png", "c.png"])
    images = [
        {"id": ids[0], "file_name": "a.png"},
        {"id": 8, "file_name": "c.png"},
        {"id": ids[1], "file_name": "b.png"},
    ]
    notes = [{"image_id": 7, "caption": "of a"}, {"image_id": 7, "caption": "of b"}, {"image_id": 8, "caption": "of c"}]
    assert importer(coco(folder / "x.json", images, notes)).new == 1
    assert pairs(importer, folder) == [("c.png", "of c")]
    assert [reason.partition(":")[0] for reason in importer.reasons()] == [
        "images 1", "images 3", "annotations 1", "annotations 2",
    ]  # fmt: skip
    assert all("'a.png'" in reason and "'b.png'" in reason for reason in importer.reasons())
    assert evaluated(folder / "x.json", folder) == {"8": ["of c"]}


def test_an_id_with_and_without_a_picture_stands_for_none(importer: Importer, folder: Path) -> None:
    write_pictures(folder, ["a.png"])
    images: list[dict[str, Any]] = [{"id": 7, "file_name": "a.png"}, {"id": 7}]
    assert importer(coco(folder / "x.json", images, [{"image_id": 7, "caption": "of a"}])).new == 0
    assert "images 1 ('a.png') and images 2 (no file)" in importer.reasons()[0]


def test_an_id_that_stands_twice_with_the_same_picture_is_that_picture(importer: Importer, folder: Path) -> None:
    write_pictures(folder, ["a.png"])
    images = [{"id": 7, "file_name": "a.png"}] * 2
    assert importer(coco(folder / "x.json", images, [{"image_id": 7, "caption": "of a"}])).bad == 0
    assert pairs(importer, folder) == [("a.png", "of a")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", '{"file_name": "a.png", "file_name": "b.png", "text": "x"}'),
        ("x.jsonl", '{"file_name": "a.png", "text": "x", "text": "y"}'),
        ("x.jsonl", '{"file_name": "a.png", "File Name": "b.png", "text": "x"}'),
        ("x.json", '[{"image": "a.png", "image": "b.png", "caption": "x"}]'),
        (
            "x.json",
            '{"images": [{"id": 1, "file_name": "a.png", "file_name": "b.png"}], '
            '"annotations": [{"image_id": 1, "caption": "x"}]}',
        ),
        (
            "x.json",
            '{"images": [{"id": 1, "file_name": "a.png"}], '
            '"annotations": [{"image_id": 1, "image_id": 2, "caption": "x"}]}',
        ),
    ],
)  # fmt: skip
def test_a_name_that_an_object_has_twice_is_a_bad_row(
    importer: Importer, folder: Path, name: str, content: str
) -> None:
    write_pictures(folder, ["a.png", "b.png"])
    (folder / name).write_text(content)
    assert importer(folder / name).new == 0
    assert importer.bad


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("filename,width,height,beschreibung", "caption"),
        ("bild,width,height,caption", "picture"),
        ("bild;caption", "picture"),
        ("bild,breite,titel", "picture and which the caption"),
    ],
)
def test_names_of_columns_that_are_not_known_are_no_row_and_their_cells_no_captions(
    importer: Importer, folder: Path, header: str, missing: str
) -> None:
    """All behind the picture would pass for its caption: "640,480,a dog"."""
    write_pictures(folder, ["a.png"])
    separator = ";" if ";" in header else ","
    cells = ["a.png", *["640"] * (header.count(separator) - 1), "a dog"]
    (folder / "x.csv").write_text(f"{header}\n{separator.join(cells)}\n")
    with pytest.raises(CaptionFileError, match=rf"columns {header[:4]}.*which one holds the {missing} cannot be told"):
        importer(folder / "x.csv")
    assert importer.rows() == []


@pytest.mark.parametrize("header", ["photo,alt_text", "Image File,ALT", "id,picture,alt text"])
def test_more_names_of_columns_are_known(importer: Importer, folder: Path, header: str) -> None:
    write_pictures(folder, ["a.png"])
    (folder / "x.csv").write_text(f"{header}\n{'1,' * (header.count(',') - 1)}a.png,a dog\n")
    assert importer(folder / "x.csv").bad == 0
    assert importer.captions() == ["a dog"]


def test_two_columns_of_a_name_are_refused(importer: Importer, folder: Path) -> None:
    write_pictures(folder, ["a.png", "b.png"])
    (folder / "x.csv").write_text("image,image,caption\na.png,b.png,x\n")
    with pytest.raises(CaptionFileError, match="several columns 'image'"):
        importer(folder / "x.csv")


@pytest.mark.parametrize(
    "members",
    [
        ["0.jpg", "0.txt", "0.jpg", "0.txt"],
        ["0.jpg", "0.png", "0.txt"],
        ["0.jpg", "0.txt", "0.txt"],
        ["0.jpg", "0.json", "0.json"],
    ],
)
def test_a_sample_with_two_of_a_kind_is_a_bad_row(importer: Importer, folder: Path, members: list[str]) -> None:
    with tarfile.open(folder / "x.tar", "w") as shard:
        for number, name in enumerate(members):
            kind = name.partition(".")[2]
            data = {"txt": f"of {number}".encode(), "json": json.dumps({"caption": f"of {number}"}).encode()}
            add_member(shard, name, data.get(kind) or picture_bytes(number, kind="JPEG" if kind == "jpg" else "PNG"))
    assert importer(folder / "x.tar").new == 0
    assert "several" in importer.reasons()[0]


def test_a_sample_whose_files_are_apart_or_have_dots_in_their_names_is_told_how_it_should_be(
    importer: Importer, folder: Path
) -> None:
    with tarfile.open(folder / "x.tar", "w") as shard:
        for name in ("0.png", "1.png", "0.txt", "a.b.png", "a.b.txt"):
            add_member(shard, name, b"of it" if name.endswith("txt") else picture_bytes(len(name)))
    assert importer(folder / "x.tar").new == 0
    apart, _, text, dotted = importer.reasons()
    assert "sample 0: The sample has no caption, only 0.png; expected" in apart
    assert "lie side by side" in text
    assert "no picture, only a.b.png, a.b.txt. The files of a sample" in dotted


@pytest.mark.parametrize(("mode", "program"), [("w:gz", "gunzip"), ("w:bz2", "bunzip2"), ("w:xz", "unxz")])
def test_a_compressed_shard_is_told_how_to_unpack_it(importer: Importer, folder: Path, mode: Any, program: str) -> None:
    with tarfile.open(folder / "x.tar", mode) as shard:
        add_member(shard, "0.png", picture_bytes(0))
    with pytest.raises(CaptionFileError, match=f"unpack it with `{program}` first"):
        importer(folder / "x.tar")


# Lists and nothings as text ------------------------------------------------------------------------------------------


@TABLES
@pytest.mark.parametrize(
    "cell",
    [
        "['a red chair', 'a chair by a wall']",
        '["a red chair", "a chair by a wall"]',
        "['a red chair' 'a chair by a wall']",
        "('a red chair', 'a chair by a wall')",
        "[u'a red chair', u'a chair by a wall']",
        " [ 'a red chair',\t\"a chair by a wall\", ] ",
    ],
)
def test_a_list_as_text_is_its_texts(importer: Importer, folder: Path, table: str, cell: str) -> None:
    write_pictures(folder, ["a.png"])
    write_caption(folder / table, cell)
    assert importer(folder / table).bad == 0
    assert importer.captions() == ["a red chair", "a chair by a wall"]


@TABLES
@pytest.mark.parametrize(
    "cell",
    [
        "['a red chair', 5]", "['a red chair'", "[a red chair]", "[]", "[['a'], ['b']]", "['it's a chair', 'b']",
        "['a', 'b' 'c']", "array(['a', 'b'], dtype=object)", "{'raw': 'a'}", "['a', nan]", "['']",
        "nan", "NaN", "None", "null", "N/A", "n/a", "NULL", "<NA>", "#N/A", " nan ", "['nan']",
        "(null)", "none.", "n.a.", "N\\A", "#DIV/0!", "-", "--", "?", "…", "b'a chair'",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_list_or_stands_for_nothing_is_a_bad_row(
    importer: Importer, folder: Path, table: str, cell: str
) -> None:
    write_pictures(folder, ["a.png"])
    write_caption(folder / table, cell)
    assert (importer(folder / table).new, len(importer.bad)) == (0, 1)
    assert "aption" in importer.reasons()[0]


@TABLES
@pytest.mark.parametrize(
    "cell", ["a [red] chair", "(a chair)", "nana and none of them", "the word null", "'a', 'b'", "🐈", "2"]
)
def test_what_only_holds_such_signs_is_a_caption(importer: Importer, folder: Path, table: str, cell: str) -> None:
    write_pictures(folder, ["a.png"])
    write_caption(folder / table, cell)
    assert importer(folder / table).bad == 0
    assert importer.captions() == [cell]


def write_caption(path: Path, caption: str) -> None:
    if path.suffix == ".csv":
        marked = caption.replace('"', '""')
        path.write_text(f'file_name,text\na.png,"{marked}"\n')
    elif path.suffix == ".jsonl":
        path.write_text(json.dumps({"file_name": "a.png", "text": caption}))
    else:
        coco(path, [{"id": 1, "file_name": "a.png"}], [{"image_id": 1, "caption": caption}])


# What systems leave behind -------------------------------------------------------------------------------------------

LEFT_BEHIND = [
    "._a.png",
    "._a.txt",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "__MACOSX/._a.png",
    "__MACOSX/metadata.jsonl",
]


def test_what_systems_leave_in_a_directory_is_passed_over(importer: Importer, folder: Path) -> None:
    write_pictures(folder, ["a.png"])
    for name in [*LEFT_BEHIND, "._x.csv", ".ipynb_checkpoints/x-checkpoint.csv", "__MACOSX/._x.csv"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    write_rows(folder / "x.csv", ["a.png"])
    assert importer(folder).bad == 0
    assert pairs(importer, folder) == [("a.png", "of a.png")]


def test_what_systems_leave_in_a_shard_is_passed_over(importer: Importer, folder: Path) -> None:
    with tarfile.open(folder / "x.tar", "w") as shard:
        for number in range(3):
            add_member(shard, f"./._{number}.png", b"\x00\x05\x16\x07")
            add_member(shard, f"./{number}.png", picture_bytes(number))
            add_member(shard, f"./._{number}.txt", b"\x00\x05\x16\x07")
            add_member(shard, f"__MACOSX/._{number}.txt", b"\x00\x05\x16\x07")
            add_member(shard, f"./{number}.txt", f"picture {number}".encode())
            add_member(shard, "./.DS_Store", b"x")
    (folder / "._x.tar").write_bytes(b"\x00\x05\x16\x07")
    assert importer(folder).bad == 0
    assert importer.captions() == ["picture 0", "picture 1", "picture 2"]


# The same for evaluate -----------------------------------------------------------------------------------------------


@TABLES
@pytest.mark.parametrize("names", [["dogs/001.png"], ["cats/001.png", "dogs/001.png"]])
def test_evaluate_takes_no_picture_of_another_directory(
    importer: Importer, folder: Path, table: str, names: list[str], tmp_path: Path
) -> None:
    write_pictures(folder, ["cats/001.png", "001.png"])
    path = write_rows(tmp_path / table, [*names, "cats/001.png"])
    assert {text for texts in evaluated(path, folder).values() for text in texts} == {"of cats/001.png"}


def test_evaluate_reads_the_same_files_as_import(importer: Importer, folder: Path) -> None:
    write_pictures(folder, ["Images/a.png", "Images/b.png"])
    (folder / "captions.txt").write_text("image,caption\na.png,['one', 'two']\nb.png,three\na.png,four\n")
    importer(folder)
    found = evaluated(folder)
    assert found == {"Images/a.png": ["one", "two", "four"], "Images/b.png": ["three"]}
    assert sorted(pairs(importer, folder)) == sorted(
        (name, caption) for name, captions in found.items() for caption in captions
    )
