"""Each picture that a row gets is the one that the row names, whatever the names and the directory are like."""

import csv
import json
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import picture_bytes

from captionloop.model.exchange.reading import BadRow, Row, find_source

NFC, NFD = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
DIRECTORIES = ["", "a/", "b/", "a/b/", "A/", f"{NFC}/", f"{NFD}/", "root/", "root/a/"]
NAMES = [
    "1.png",
    "2.png",
    "1.PNG",
    f"{NFC}.png",
    f"{NFD}.png",
    "x y.png",
    "1.png ",
    "a\\1.png",
    "1.png#0",
    "100%25.png",
]
paths = st.builds("".join, st.tuples(st.sampled_from(DIRECTORIES), st.sampled_from(NAMES)))
"""Of files, and of what rows name: both come from the same few names, so that they often meet."""

WRITTEN: dict[str, Callable[[str, Path], str]] = {
    "as it is": lambda path, root: path,
    "backslashes": lambda path, root: path.replace("/", "\\"),
    "composed": lambda path, root: unicodedata.normalize("NFC", path),
    "decomposed": lambda path, root: unicodedata.normalize("NFD", path),
    "spaces": lambda path, root: f" {path}  ",
    "from here": lambda path, root: f"./{path}",
    "numbered": lambda path, root: f"{path}#3",
    "absolute": lambda path, root: f"{root}/{path}",
    "address": lambda path, root: (root / path).as_uri(),
    "of another machine": lambda path, root: f"/data/root/{path}",
    "of Windows": lambda path, root: "C:\\data\\root\\" + path.replace("/", "\\"),
    "below the root's name": lambda path, root: f"root/{path}",
    "bare": lambda path, root: path.rpartition("/")[2],
    "up and down": lambda path, root: f"a/../{path}",
}
rows = st.lists(st.tuples(paths, st.sampled_from(sorted(WRITTEN))), min_size=1, max_size=6)
FORMS = st.sampled_from(["x.csv", "x.jsonl", "x.json", "metadata.csv", "metadata.jsonl"])
trees = st.lists(paths, max_size=8, unique=True)
some_directories = st.sampled_from([None, "", "a", "b", "root"])
"""Named as that of the pictures; None: none is."""
links = st.lists(st.tuples(paths, st.one_of(paths, st.just("OUTSIDE"))), max_size=3)


def content_of(path: str) -> bytes:
    """A picture unlike those of other paths."""
    return picture_bytes(zlib.crc32(path.encode()) % 2**16, size=2)


def make(root: Path, files: Sequence[str], linked: Sequence[tuple[str, str]]) -> None:
    """Pictures that tell their own path, and links to some of them or out of the directory."""
    outside = root.parent / "outside.png"
    outside.write_bytes(content_of("OUTSIDE"))
    for path in files:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content_of(path))
    for path, target in linked:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if not (root / path).is_symlink() and not (root / path).exists():
            (root / path).symlink_to(outside if target == "OUTSIDE" else root / target)


def write(root: Path, form: str, names: Sequence[str]) -> Path:
    """The number of each row is its caption."""
    path = root / form
    if form.endswith(".csv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("image", "caption"), *((name, f"row {n}") for n, name in enumerate(names))])
    elif form.endswith(".jsonl"):
        path.write_text("".join(json.dumps({"image": name, "text": f"row {n}"}) + "\n" for n, name in enumerate(names)))
    else:
        images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
        notes = [{"image_id": n, "caption": f"row {n}"} for n in range(len(names))]
        path.write_text(json.dumps({"images": images, "annotations": notes}))
    return path


# What a row may mean, said independently of how it is found ----------------------------------------------------------


def parts(name: str, root: Path) -> tuple[str, ...]:
    """A name's directories and file, composed; below the root where it is an absolute path to there."""
    text = name.strip()
    if text.startswith("file://"):
        text = str(Path.from_uri(text)) if hasattr(Path, "from_uri") else _unquoted(text)
    text = unicodedata.normalize("NFC", text.replace("\\", "/"))
    text = text.removeprefix(f"{root}/")
    return PurePosixPath(text).parts


def _unquoted(address: str) -> str:
    from urllib.parse import unquote

    return unquote(address.removeprefix("file://"))


def numbered(path: tuple[str, ...]) -> tuple[str, ...]:
    """Without what Flickr8k appends."""
    name, sign, number = path[-1].rpartition("#")
    return (*path[:-1], name) if sign and number.isdigit() and name.lower().endswith(".png") else path


def is_meant(row: str, found: str, files: Sequence[str], names: Sequence[str], root: Path, *, exactly: bool) -> bool:
    """Whether a row may stand for the file at this path below the directory of the pictures."""
    if PurePosixPath(row).as_posix() == found:
        return True
    on_disk = [tuple(unicodedata.normalize("NFC", part) for part in PurePosixPath(path).parts) for path in files]
    there = tuple(unicodedata.normalize("NFC", part) for part in PurePosixPath(found).parts)
    for wanted in (parts(row, root), numbered(parts(row, root))):
        if there == wanted:
            return True
        if exactly:
            continue
        is_bare = len(wanted) == 1
        if is_bare and there[-1] == wanted[-1]:
            return [path[-1] for path in on_disk].count(wanted[-1]) == 1
        left_out = wanted[: len(wanted) - len(there)]
        if not left_out or left_out[-1] != root.name:
            continue
        none_is_there = not any(
            name in files or {parts(name, root), numbered(parts(name, root))} & set(on_disk) for name in names
        )
        if wanted[len(left_out) :] == there and none_is_there:
            is_common = all(parts(name, root)[: len(left_out)] == left_out for name in names if ".." not in name)
            is_single = sum(path[-len(there) :] == there for path in on_disk) == 1
            return is_common and is_single
    return False


@settings(max_examples=200, deadline=None)
@given(form=FORMS, images=some_directories, files=trees, linked=links, wanted=rows)
def test_each_row_gets_the_picture_that_it_names_or_none(
    form: str, images: str | None, files: list[str], linked: list[tuple[str, str]], wanted: list[tuple[str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve() / "root"
        root.mkdir()
        make(root, files, linked)
        names = [WRITTEN[how](path, root) for path, how in wanted]
        below = root / (images or "")
        below.mkdir(parents=True, exist_ok=True)
        source = find_source(write(root, form, names), images=None if images is None else below)
        usable = usable_files(below)
        for row in source.rows():
            if isinstance(row, Row):
                (caption,) = row.captions
                name = names[int(caption.removeprefix("row "))]
                found = row.picture.path.relative_to(below).as_posix()
                assert row.name == found
                assert is_meant(name, found, usable, names, below, exactly=form.startswith("metadata"))
                content = row.picture.read(max_bytes=1000)
                assert content == content_of((below / found).resolve().relative_to(root).as_posix())
            else:
                assert_is_bad_for_a_reason(row, names, usable)


def usable_files(root: Path) -> list[str]:
    """What is a regular file below the directory, links into it included."""
    return [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.*"))
        if path.is_file() and path.resolve().is_relative_to(root)
    ]


def assert_is_bad_for_a_reason(row: BadRow, names: Sequence[str], usable: Sequence[str]) -> None:
    """What is written as it is on disk is found."""
    lines_before = 2 if row.place.file.suffix == ".csv" else 1
    number = row.place.line - lines_before if row.place.line else int(str(row.place.entry).rpartition(" ")[2]) - 1
    assert names[number] not in usable, row.reason
    assert row.reason.endswith(".")
