"""Tables as people and programs write them."""

import codecs
from pathlib import Path

import pytest

from captionloop.errors import CaptionFileError
from captionloop.model.exchange.reading.json_lines import read_json_lines
from captionloop.model.exchange.reading.rows import BadRow
from captionloop.model.exchange.reading.tables import read_table

PAIRS = [("a.png", "a cat"), ("b.png", "a dog, running")]


def read(path: Path, content: str | bytes) -> list[tuple[str | None, object]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [
        (str(row.place.line), row.reason) if isinstance(row, BadRow) else (row.picture, row.captions)
        for row in read_table(path)
    ]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "x.csv"


@pytest.mark.parametrize(
    "content",
    [
        'image,caption\na.png,a cat\nb.png,"a dog, running"\n',
        "image;caption\na.png;a cat\nb.png;a dog, running\n",
        "image\tcaption\na.png\ta cat\nb.png\ta dog, running\n",
        "image|caption\na.png|a cat\nb.png|a dog, running",
        "a.png;a cat\nb.png;a dog, running\n",
        "a.png,a cat\nb.png,a dog, running\n",
        "a.png\ta cat\nb.png\ta dog, running\n",
        "sep=;\nimage;caption\na.png;a cat\nb.png;a dog, running\n",
        "sep=;\r\na.png;a cat\r\nb.png;a dog, running\r\n",
        "Image,Caption\na.png,a cat\nb.png,a dog, running\n",
        " IMAGE , Caption \na.png,a cat\nb.png,a dog, running\n",
        "File Name,Text\na.png,a cat\nb.png,a dog, running\n",
        'caption,image\na cat,a.png\n"a dog, running",b.png\n',
        'id,image,caption\n1,a.png,a cat\n2,b.png,"a dog, running"\n',
        "\n\nimage,caption\n\na.png,a cat\n\nb.png,a dog, running\n\n",
        "image,caption\ra.png,a cat\rb.png,a dog, running\r",
        '"image","caption"\n"a.png","a cat"\n"b.png","a dog, running"\n',
        'image, caption\na.png, a cat\nb.png, "a dog, running"\n',
    ],
)
@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.encode("utf-8-sig"),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.replace("\n", "\r\n").encode("utf-16-be"),
    ],
)
def test_a_table_is_read_however_it_is_written(table: Path, content: str, encode) -> None:  # type: ignore[no-untyped-def]
    if "\r" in content and "\n" not in content and encode is not str.encode:
        pytest.skip("nobody writes that")
    found = read(table, encode(content))
    assert [(str(picture).strip(), str(caption).strip()) for picture, caption in found] == PAIRS


def test_a_cell_may_go_over_lines(table: Path) -> None:
    assert read(table, 'image,caption\na.png,"a cat\non a mat"\nb.png,"so ""it"" is"\n') == [
        ("a.png", "a cat\non a mat"), ("b.png", 'so "it" is'),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ['c.png,"a cat"', 'c.png,a cat"', "c.png,a cat"])
def test_a_mark_that_is_not_closed_swallows_no_row(table: Path, end: str) -> None:
    found = read(table, f'image,caption\na.png,"a cat\nb.png,a dog\n{end}\n')
    assert found[0][0] == "2"
    assert "quotation mark is opened and not closed" in str(found[0][1])
    assert [picture for picture, _ in found[1:]] == ["b.png", "c.png"]


def test_many_marks_that_are_not_closed_take_no_time_to_speak_of(table: Path) -> None:
    """Each opens a cell that the next lines do not close, but seem to."""
    found = read(table, "image,caption\n" + 'a.png,"a""\n' * 5000)
    assert len(found) == 5000


def test_each_row_may_name_its_split(table: Path) -> None:
    table.write_text("image,caption,split\na.png,a cat,train\nb.png,a dog,\n")
    assert [row.split for row in read_table(table) if not isinstance(row, BadRow)] == ["train", None]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"words\nwithout\n", "is no table"),
        (b"image,caption,caption\na.png,x,y\n", "several columns 'caption'"),
        (b"image,Image,caption\na.png,b.png,y\n", "several columns 'image'"),
    ],
)
def test_a_file_that_is_no_table_is_refused(table: Path, content: bytes, said: str) -> None:
    with pytest.raises(CaptionFileError, match=said):
        read(table, content)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"caf\xe9.png,x", "not in UTF-8 (byte 4 of it)"),
        (b"only one", "has 1 columns; expected 2"),
        (b"x" * 2_000_000, "over 1,048,576 bytes"),
        (b"a.png," + b"x" * 200_000, "field larger than field limit"),
        (b'a.png,"x" y', "cannot be taken apart"),
        (b"a.png,x\ry", "cannot be taken apart"),
    ],
)
def test_a_row_that_is_none_is_named_and_the_next_one_read(table: Path, row: bytes, said: str) -> None:
    found = read(table, b"image,caption\n" + row + b"\nb.png,a dog\n")
    assert found[0][0] == "2"
    assert said in str(found[0][1])
    assert found[1:] == [("b.png", "a dog")]


@pytest.mark.parametrize("names", ["foo,bar", "foo;bar", "Bild\tBeschreibung"])
def test_two_columns_of_unknown_names_are_picture_and_caption_which_is_said(table: Path, names: str) -> None:
    separator = names[3] if names.startswith("foo") else "\t"
    (line, reason), *rows = read(table, f"{names}\na.png{separator}a cat\nb.png{separator}a dog, running\n")
    assert rows == PAIRS
    assert line == "1"
    assert f"name the columns, {names.replace(separator, ', ')}; looked for were file_name, image, " in str(reason)
    assert "text, captions, caption, sentence, description, comment, alt_text, alt for the caption" in str(reason)


@pytest.mark.parametrize("content", ["foo,bar\na cat,a.png\n", "id,foo,bar\n1,a.png,a cat\n", "a,b,c\na.png,1,a cat\n"])
def test_unknown_names_of_columns_in_any_other_order_are_told_with_those_that_are_known(
    table: Path, content: str
) -> None:
    said = f"has the columns {content.splitlines()[0].replace(',', ', ')}; which one holds the picture and which the "
    with pytest.raises(CaptionFileError, match=f"{said}caption cannot be told. Looked for were file_name, .*, alt for"):
        read(table, content)


def test_an_object_without_a_known_name_says_what_it_has_and_what_was_looked_for(table: Path) -> None:
    path = table.with_suffix(".jsonl")
    path.write_text('{"foo": "a.png", "text": "a cat"}\n{"image": "a.png", "bar": "a cat"}\n{}\n')
    reasons = [row.reason for row in read_json_lines(path) if isinstance(row, BadRow)]
    assert reasons[0].startswith("There is no picture, only 'foo', 'text'; looked for were file_name, image, ")
    assert reasons[1].startswith("There is no caption, only 'image', 'bar'; looked for were text, captions, ")
    assert "only an empty object" in reasons[2]


def test_half_a_character_at_the_end_of_utf_16_is_a_bad_row(table: Path) -> None:
    found = read(table, "image,caption\na.png,a cat\nb.png,x".encode("utf-16") + b"\x41")
    assert found[0] == ("a.png", "a cat")
    assert "not in UTF-8" in str(found[1][1])
