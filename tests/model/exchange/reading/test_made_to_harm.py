"""Datasets made to harm: each gets a sentence, in a process with 5 s of processor time and 300 MiB of memory."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

_SECONDS = 5
_BYTES = 300 * 2**20
_SCRIPT = textwrap.dedent("""
    import resource, sys
    from pathlib import Path
    from captionloop.errors import CaptionFileError
    from captionloop.model.exchange.reading import BadRow, find_source
    good = bad = 0
    try:
        for row in find_source(Path(sys.argv[1])).rows():
            if isinstance(row, BadRow):
                bad += 1
                if bad <= 3:
                    print(row.place, row.reason)
            else:
                good += 1
        print("good", good, "bad", bad)
    except CaptionFileError as error:
        print(error)
""")


def say(path: Path) -> str:
    """What is said of a dataset."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))

    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(path)], capture_output=True, text=True, preexec_fn=limit, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) < 2000
    return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """Gone at once: pytest would keep hundreds of megabytes."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "a.png").write_bytes(b"not looked at")
        yield Path(directory)


Piece = bytes | tuple[bytes, int]
"""Some bytes, or so many times the same: hundreds of megabytes, which are only on disk."""


def write(path: Path, *pieces: Piece) -> Path:
    with path.open("wb") as file:
        for piece in pieces:
            once, times = piece if isinstance(piece, tuple) else (piece, 1)
            per_write = max(2**20 // len(once), 1) if once else 1
            for _ in range(times // per_write):
                file.write(once * per_write)
            file.write(once * (times % per_write))
    return path


# JSON ----------------------------------------------------------------------------------------------------------------

BEGIN, END = b'{"annotations": [{"image_id": 1, "caption": "x"}], "images": [', b"]}"
CAPTION = b'{"a.png": "'
MANY, DEEP = 150_000_000, 20_000_000


@pytest.mark.parametrize(
    ("said", "pieces"),
    [
        ("a number has 5,000 digits", [BEGIN, b'{"id": ', (b"9", 5000), b"}", END]),
        ("a number has", [BEGIN, b'{"id": -', (b"9", 5000), b"}", END]),
        ('"id" is inf', [BEGIN, b'{"id": 1e', (b"9", 5000), b"}", END]),
        ("does not say which file image 1 is", [BEGIN, b'{"id": 1, "x": 0.', (b"9", 500_000), b"}", END]),
        ("nested too deeply", [BEGIN, (b"[", 20_000), END]),
        ("nested too deeply", [BEGIN, (b'{"a": ', 20_000), END]),
        ("nested too deeply", [BEGIN, (b"[", 20_000), (b"]", 20_000), END]),
        ("nested too deeply", [(b"[", DEEP)]),
        ("nested too deeply", [BEGIN, (b"[", DEEP)]),
        ("nested too deeply", [BEGIN, (b'{"a":', DEEP)]),
        ("nested too deeply", [b'{"info": {"b": ', (b'{"a":', DEEP)]),
        ("something that is no caption", [(b'{"a":', DEEP)]),
        ("a value has over 1,048,576 characters", [BEGIN, b'{"id": 1, "file_name": "', (b"x", MANY), b'"}', END]),
        ("a value has over 1,048,576 characters", [b'{"', (b"x", MANY)]),
        ("a value has over 1,048,576 characters", [b'["', (b"\\u0041", DEEP)]),
        ("a value has over 1,048,576 characters", [b'{"info": {"a": "', (b"x", MANY)]),
        ("digits", [(b"9", MANY)]),
        ("Expecting value", [(b" ", MANY)]),
        ("Expecting value", [b"{", (b" ", MANY)]),
        ("Expecting value", []),
        ("not in UTF-8", [(b"\xff", 1000)]),
        ("not in UTF-8", [b"\xff\xfe", (b"[", 1001)]),
        ("no valid JSON", [(b"\0", 1000)]),
        ("expected a text", [b'[{"image": "a.png", "caption": ', (b"[", 900), (b"]", 900), b"}]"]),
        ("good 0 bad 1", [CAPTION, (b"[", 500_000), b'"}']),
        ("good 1 bad 0", [CAPTION, b"[", (b"'a',", 200_000), b']"}']),
        ("good 0 bad 1", [CAPTION, b"[", (b"'", 200_001), b']"}']),
        ("good 1 bad 0", [CAPTION, b"['a'", (b" ", 900_000), b']"}']),
        ("good 0 bad 1", [CAPTION, b"['", (b"\\\\", 200_000), b']"}']),
    ],
)
def test_a_json_document(folder: Path, said: str, pieces: list[Piece]) -> None:
    assert said in say(write(folder / "x.json", *pieces))


@pytest.mark.parametrize(
    ("said", "pieces"),
    [
        ("digits", [b'{"file_name": "a.png", "text": ', (b"9", 900_000), b"}"]),
        ("no valid JSON", [b'{"file_name": "a.png", "text": ', (b"[", 900_000), b"}"]),
        ("over 1,048,576 bytes", [b'{"file_name": "a.png", "text": "', (b"x", MANY), b'"}']),
        ("too long for the path", [b'{"file_name": "', (b"a/", 400_000), b'a.png", "text": "x"}']),
        ("too long for the path", [b'{"file_name": "', (b"x", 900_000), b'.png", "text": "x"}']),
        ("There is no picture", [b"{", b",".join(b'"%d": 1' % number for number in range(60_000)), b"}"]),
        ("more than once", [b"{", (b'"a": 1,', 100_000), b'"a": 1}']),
        ("over 1,048,576 bytes", [(b"\0", MANY)]),
    ],
)
def test_a_line(folder: Path, said: str, pieces: list[Piece]) -> None:
    found = say(write(folder / "x.jsonl", *pieces, b'\n{"file_name": "a.png", "text": "good"}\n'))
    assert said in found
    assert "good 1 bad 1" in found


@pytest.mark.parametrize(
    "pieces",
    [
        [b"image,caption\n", (b'a.png,"', DEEP)],
        [b"image,caption\n", (b'a.png,"a""\n', 20_000)],
        [b"image,caption\n", b'a.png,"', (b"x", MANY)],
        [b"image,caption\n", (b'"' + b"x\n" * 98, 300)],
        [(b",", MANY)],
        [b"image,caption\n", (b"," * 1_000_000 + b"\n", 10)],
        [b"image", (b",x", 300_000), b",caption\na.png\n"],
        [b"\xff\xfe", (b"\0\xd8", DEEP)],
        [(b"a.png\r", 50_000)],
        [(b"\n", DEEP // 4)],
        [b"sep=\0\n", b"a.png,x\n"],
    ],
)
def test_a_table(folder: Path, pieces: list[Piece]) -> None:
    assert say(write(folder / "x.csv", *pieces)).strip()


# Directories ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "captions.txt", "captions.json", "x.tar"])
def test_a_pipe_in_place_of_a_file(folder: Path, name: str) -> None:
    os.mkfifo(folder / name)
    assert "is a named pipe" in say(folder)
    assert "is a named pipe" in say(folder / name)


def test_links_in_circles(folder: Path) -> None:
    for number in range(50):
        (folder / f"{number}").mkdir()
        (folder / f"{number}" / "up").symlink_to(folder)
    (folder / "x.jsonl").write_text(json.dumps({"file_name": "b.png", "text": "x"}))
    assert "There is no picture 'b.png'" in say(folder)


def test_a_directory_in_place_of_a_file(folder: Path) -> None:
    for name in ("metadata.jsonl", "captions.txt", "x.tar", "b.png", "b.txt"):
        (folder / name).mkdir()
    assert "has no file of captions" in say(folder)


def test_a_directory_that_may_not_be_read(folder: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read everything")
    (folder / "closed").mkdir(mode=0)
    assert "closed cannot be read: Permission denied" in say(folder)


def test_directories_that_lie_very_deep(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=here)
        there = os.open("x" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    assert "cannot be read: File name too long" in say(folder)
