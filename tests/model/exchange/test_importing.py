"""Datasets that people captioned elsewhere become corrections: good rows are kept, bad ones named, none twice."""

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.model.dataset.test_corrections import record
from tests.support.datasets import picture_bytes, write_pictures
from tests.support.models import add_project

from captionloop.errors import CaptionFileError, NotFoundError
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.database import Correction, CorrectionState, Database
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import PRESENT
from captionloop.model.dataset.images import content_hash
from captionloop.model.exchange.importing import BadRow, ImportResult, find_source, import_dataset

NAMES = ["a.png", "b.jpg", "c.png"]
CAPTIONS = ["a red cat", 'a "quoted" dog, running', "eine Katze mit Größe 🐈"]


class Importer:
    """Imports into one project, and remembers the bad rows."""

    def __init__(self, database: Database, home: Home) -> None:
        self.database, self.home = database, home
        self.project = add_project(database).id
        self.bad: list[BadRow] = []
        self.shares: list[float] = []

    def __call__(
        self, path: Path, *, images: Path | None = None, form: Any = None, limit: int | None = None, **limits: int
    ) -> ImportResult:
        self.bad.clear()
        return import_dataset(
            find_source(path, images=images, form=form),
            self.project,
            database=self.database,
            home=self.home,
            limits=ImageLimits(**limits),
            limit=limit,
            on_bad=self.bad.append,
            on_progress=self.shares.append,
        )

    def rows(self) -> list[Correction]:
        with self.database.reading() as session:
            return list(session.scalars(select(Correction).order_by(Correction.id)))

    def captions(self) -> list[str]:
        return [text for row in self.rows() for text in row.captions]

    def reasons(self) -> list[str]:
        return [f"{row.place.line or row.place.entry}: {row.reason}" for row in self.bad]


@pytest.fixture
def importer(database: Database, home: Home) -> Importer:
    return Importer(database, home)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dataset"
    write_pictures(made, NAMES)
    return made


# Formats -------------------------------------------------------------------------------------------------------------


def write_imagefolder(folder: Path) -> Path:
    rows = [{"file_name": name, "text": text} for name, text in zip(NAMES, CAPTIONS, strict=True)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_imagefolder_as_csv(folder: Path) -> Path:
    write_csv(folder).rename(folder / "metadata.csv")
    return folder


def write_csv(folder: Path) -> Path:
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "text"), *zip(NAMES, CAPTIONS, strict=True)])
    return folder / "captions.csv"


def write_jsonl(folder: Path) -> Path:
    rows = [{"image": name, "captions": [text]} for name, text in zip(NAMES, CAPTIONS, strict=True)]
    (folder / "all.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return folder / "all.jsonl"


def write_coco(folder: Path) -> Path:
    """The annotations first, and not in the order of the images."""
    notes = [{"id": n, "image_id": n, "caption": text} for n, text in enumerate(CAPTIONS)]
    images = [{"id": number, "file_name": name} for number, name in enumerate(NAMES)]
    (folder / "captions.json").write_text(json.dumps({"annotations": notes[::-1], "images": images}))
    return folder


def write_shards(folder: Path) -> Path:
    for number, (name, text) in enumerate(zip(NAMES, CAPTIONS, strict=True)):
        with tarfile.open(folder / f"shard-{number}.tar", "w") as shard:
            add_member(shard, f"x/{name}", (folder / name).read_bytes())
            add_member(shard, f"x/{name[0]}.txt", text.encode())
    return folder


def write_tab_separated(folder: Path) -> Path:
    """As Flickr8k.token.txt: no header, numbered captions, no quoting."""
    rows = [f"{name}#0\t{text}\n" for name, text in zip(NAMES, CAPTIONS, strict=True)]
    (folder / "Flickr8k.token.txt").write_text("".join(rows), encoding="utf-8")
    return folder / "Flickr8k.token.txt"


def write_kaggle_flickr(folder: Path) -> Path:
    """As Flickr8k on Kaggle: `captions.txt` beside `Images/`."""
    (folder / "Images").mkdir()
    for name in NAMES:
        (folder / name).rename(folder / "Images" / name)
    write_csv(folder).rename(folder / "captions.txt")
    (folder / "captions.txt").write_text(
        (folder / "captions.txt").read_text().replace("file_name,text", "image,caption")
    )
    (folder / "readme.txt").write_text("Flickr8k")
    return folder


def write_without_quotes(folder: Path) -> Path:
    rows = [f"{name},{text}\r\n" for name, text in zip(NAMES, CAPTIONS, strict=True)]
    (folder / "pairs.txt").write_bytes("".join(rows).encode("utf-8-sig"))
    return folder / "pairs.txt"


def write_pipes(folder: Path) -> Path:
    """As Flickr30k's results.csv."""
    rows = [f"{name}| {n}| {text}\n" for n, (name, text) in enumerate(zip(NAMES, CAPTIONS, strict=True))]
    (folder / "results.csv").write_text("image_name| comment_number| comment\n" + "".join(rows), encoding="utf-8")
    return folder / "results.csv"


def add_member(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    shard.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    ("write", "form"),
    [
        (write_imagefolder, "imagefolder"),
        (write_imagefolder_as_csv, "imagefolder"),
        (write_jsonl, "jsonl"),
        (write_csv, "csv"),
        (write_tab_separated, "csv"),
        (write_kaggle_flickr, "csv"),
        (write_without_quotes, "csv"),
        (write_pipes, "csv"),
        (write_coco, "coco"),
        (write_shards, "webdataset"),
    ],
)
def test_a_format_is_recognised_and_read(
    importer: Importer, folder: Path, write: Callable[[Path], Path], form: str
) -> None:
    hashes = [content_hash((folder / name).read_bytes()) for name in NAMES]
    path = write(folder)
    assert find_source(path).format == form
    assert importer(path) == ImportResult(new=3)
    assert [row.image_sha256 for row in importer.rows()] == hashes
    assert importer.captions() == CAPTIONS
    assert 0.5 < importer.shares[-1] <= 1


def test_an_imported_caption_is_an_active_correction_that_says_where_it_is_from(
    importer: Importer, folder: Path
) -> None:
    importer(write_jsonl(folder))
    row = importer.rows()[1]
    assert (row.state, row.origin, row.imported_from) == (
        CorrectionState.ACTIVE, "imported", f"{folder / 'all.jsonl'}, line 2",
    )  # fmt: skip
    assert (row.annotation_id, row.task_id, row.annotator) == (None, None, None)
    assert importer.home.image(str(row.image_sha256)).read_bytes() == (folder / "b.jpg").read_bytes()


def test_pictures_may_lie_elsewhere(importer: Importer, folder: Path, tmp_path: Path) -> None:
    path = write_csv(folder).rename(tmp_path / "captions.csv")
    assert importer(path, images=folder) == ImportResult(new=3)


def test_a_picture_may_have_several_captions(importer: Importer, folder: Path) -> None:
    (folder / "x.jsonl").write_text(json.dumps({"file_name": "a.png", "text": ["one", "two"]}) + "\n")
    assert importer(folder / "x.jsonl") == ImportResult(new=2)


def test_white_space_in_captions_becomes_single_spaces(importer: Importer, folder: Path) -> None:
    (folder / "x.csv").write_text('image,caption\na.png,"  a  cat\n on a\tmat "\n')
    importer(folder / "x.csv")
    assert importer.captions() == ["a cat on a mat"]


def test_parts_of_an_imagefolder_are_read_together(importer: Importer, folder: Path) -> None:
    for part, name in (("train", "a.png"), ("test", "b.jpg")):
        write_pictures(folder / part, NAMES)
        (folder / part / "metadata.jsonl").write_text(json.dumps({"file_name": name, "text": part}) + "\n")
    assert importer(folder) == ImportResult(new=2)


def test_a_shards_json_may_hold_several_captions(importer: Importer, folder: Path) -> None:
    with tarfile.open(folder / "x.tar", "w") as shard:
        add_member(shard, "0.json", json.dumps({"captions": ["one", "two"], "url": "…"}).encode())
        add_member(shard, "0.txt", b"one")
        add_member(shard, "0.jpg", picture_bytes(1, kind="JPEG"))
        add_member(shard, "1.txt", b"three")
        add_member(shard, "1.json", json.dumps({"url": "…"}).encode())
        add_member(shard, "1.png", picture_bytes(2))
    assert importer(folder / "x.tar") == ImportResult(new=3)
    assert importer.captions() == ["one", "two", "three"]


def test_only_so_many_rows_are_looked_at(importer: Importer, folder: Path) -> None:
    assert importer(write_csv(folder), limit=2) == ImportResult(new=2)


# What cannot be used -------------------------------------------------------------------------------------------------


def test_bad_lines_are_named_and_good_ones_kept(importer: Importer, folder: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:40])
    (folder / "page.jpg").write_bytes(b"<html>")
    (folder / "large.png").write_bytes(picture_bytes(9, size=200))
    lines = [
        b'{"file_name": "a.png", "text": "first"}',
        b'{"file_name": "gone.png", "text": "x"}',
        b'{"file_name": "broken.png", "text": "x"}',
        b'{"file_name": "page.jpg", "text": "x"}',
        b'{"file_name": "large.png", "text": "x"}',
        b'{"file_name": "a.png", "text": "  "}',
        b'{"file_name": "a.png"}',
        b'{"file_name": "a.png", "text": 5}',
        b'{"file_name": "a.png", "text": "nul \\u0000"}',
        b'{"file_name": "a.png", "text": "half \\ud83d"}',
        b'{"file_name": "a.png", "text": "caf\xe9"}',
        b"",
        b'{"file_name": "a.png", ',
        b"[1]",
        b'{"file_name": "../dataset/a.png", "text": "x"}',
        b'{"file_name": "http://x/a.png", "text": "x"}',
        b'{"file_name": {"bytes": "x"}, "text": "x"}',
        b'{"file_name": "c.png", "text": "' + b"x" * 2_000_000 + b'"}',
        b'{"file_name": "c.png", "text": "last"}',
    ]
    (folder / "x.jsonl").write_bytes(b"\n".join(lines))

    assert importer(folder / "x.jsonl", max_pixels=20_000) == ImportResult(new=2, bad=16)

    assert importer.captions() == ["first", "last"]
    expected = [
        "2: There is no picture 'gone.png' in",
        "3: The ",  # PNG image is damaged, or its header is
        "4: The file is a web page",
        "5: The image has 200 x 200",
        "6: The caption is empty",
        "7: There is no caption",
        "8: The caption is 5; expected a text",
        "9: The caption holds the character U+0000",
        "10: The caption holds the character U+D83D",
        "11: The line is not in UTF-8 (byte 36 of it)",
        "13: The line is no valid JSON",
        "14: The line is [1]; expected a JSON object",
        "15: The picture '../dataset/a.png' does not lie in",
        "16: 'http://x/a.png' is an address",
        "17: The picture is {'bytes': 'x'}",
        "18: The line has over 1,048,576 bytes",
    ]
    found = sorted(importer.reasons(), key=lambda reason: int(reason.split(":")[0]))
    assert [reason[: len(start)] for reason, start in zip(found, expected, strict=True)] == expected


def test_bad_rows_of_a_table_do_not_swallow_others(importer: Importer, folder: Path) -> None:
    rows = ["image,caption", 'a.png,"never closed', "b.jpg,fine", "only one cell", 'c.png,"so ""it"" is"', "c.png,"]
    (folder / "x.csv").write_text("\n".join(rows))
    assert importer(folder / "x.csv") == ImportResult(new=2, bad=3)
    assert importer.captions() == ["fine", 'so "it" is']
    assert [reason[:40] for reason in importer.reasons()] == [
        "2: A quotation mark is opened and not cl", "4: The row has 1 columns; expected 2.", "6: The caption is empty.",
    ]  # fmt: skip


def test_bad_entries_of_coco_are_named(importer: Importer, folder: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2}]
    notes = [
        {"image_id": 1, "caption": "good"}, {"image_id": 9, "caption": "x"}, {"image_id": 1, "caption": ""},
        {"image_id": 2, "caption": "x"}, {"caption": "x"}, 7,
    ]  # fmt: skip
    (folder / "x.json").write_text(json.dumps({"images": images, "annotations": notes}))
    assert importer(folder / "x.json") == ImportResult(new=1, bad=5)
    assert sorted(importer.reasons()) == [
        'annotations 2: There is no image with the id 9 in "images".',
        "annotations 3: The caption is empty.",
        "annotations 4: It does not say which file image 2 is; COCO's annotations do, as "
        '"file_name" of each of their "images".',
        'annotations 5: "image_id" is missing; expected a number or a text.',
        "annotations 6: The entry is 7; expected a JSON object.",
    ]


def test_a_damaged_shard_does_not_spoil_the_others(importer: Importer, folder: Path) -> None:
    write_shards(folder)
    whole = (folder / "shard-0.tar").read_bytes()
    (folder / "shard-0.tar").write_bytes(whole[:700])
    (folder / "shard-1.tar").write_bytes(b"no tar")
    with tarfile.open(folder / "shard-3.tar", "w") as shard:
        add_member(shard, "0.txt", b"no picture")
        add_member(shard, "1.png", picture_bytes(5))
    assert importer(folder) == ImportResult(new=1, bad=4)
    assert importer.captions() == CAPTIONS[2:]
    assert [str(row.place.file.name) for row in importer.bad] == [
        "shard-0.tar", "shard-1.tar", "shard-3.tar", "shard-3.tar",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", b'{"images": [', "no valid JSON"),
        ("x.json", b"[]", "is empty"),
        ("x.json", b'{"images": [{"id": 1}]}', 'has no "annotations"'),
        ("x.json", b'{"data": [{"image": "a.png"}]}', "has 'data' with something that is no caption"),
        ("x.csv", b"", "is empty"),
        ("x.csv", b"words\nwithout\n", "is no table"),
        ("x.tar", b"nothing", "no uncompressed tar file"),
        ("x.doc", b"", "cannot be told from the name"),
    ],
)
def test_a_file_that_is_something_else_is_refused(
    importer: Importer, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CaptionFileError, match=message):
        importer(tmp_path / name)


def test_a_source_that_is_missing_or_ambiguous_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file or directory"):
        find_source(tmp_path / "nowhere")
    with pytest.raises(CaptionFileError, match="no file of captions"):
        find_source(tmp_path)
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).touch()
    with pytest.raises(CaptionFileError, match=r"several files .*one\.csv, two\.csv"):
        find_source(tmp_path)


# Again, and after a kill ---------------------------------------------------------------------------------------------


def test_importing_again_adds_nothing(importer: Importer, folder: Path) -> None:
    importer(write_csv(folder))
    assert importer(folder / "captions.csv") == ImportResult(known=3)
    assert len(importer.rows()) == 3


def test_the_same_pairs_in_another_format_are_the_same(importer: Importer, folder: Path) -> None:
    importer(write_csv(folder))
    assert importer(write_jsonl(folder)) == ImportResult(known=3)


def test_a_pair_that_stands_twice_is_one(importer: Importer, folder: Path) -> None:
    (folder / "x.csv").write_text("image,caption\n" + "a.png,a cat\n" * 2)
    assert importer(folder / "x.csv") == ImportResult(new=1, known=1)


def test_a_correction_that_was_left_out_of_training_does_not_come_back(importer: Importer, folder: Path) -> None:
    importer(write_csv(folder))
    with importer.database.session() as session:
        session.scalars(select(Correction)).first().state = CorrectionState.SKIPPED  # type: ignore[union-attr]
    assert importer(folder / "captions.csv") == ImportResult(known=3)


def test_a_caption_that_somebody_wrote_in_label_studio_is_not_doubled(importer: Importer, folder: Path) -> None:
    path = write_csv(folder)
    image = corrections.write_image(importer.home, (folder / "a.png").read_bytes(), limits=ImageLimits())
    with importer.database.session() as session:
        corrections.register_image(session, image)
        corrections.upsert(session, importer.project, record(captions=[CAPTIONS[0]], image_sha256=image.sha256))
    assert importer(path) == ImportResult(new=2, known=1)


def test_projects_do_not_mix(importer: Importer, folder: Path) -> None:
    importer(write_csv(folder))
    importer.project = add_project(importer.database, 2).id
    assert importer(folder / "captions.csv") == ImportResult(new=3)


def test_label_studio_is_not_told_of_them_nor_can_it_remove_them(importer: Importer, folder: Path) -> None:
    importer(write_csv(folder))
    with importer.database.session() as session:
        assert corrections.present_per_task(session, importer.project) == {}
        assert corrections.present(session, importer.project) == 0
        assert corrections.of_tasks(session, importer.project, [3]) == {}
        for state in PRESENT:
            assert corrections.tasks_in_state(session, importer.project, state) == []
        assert corrections.mark_annotations_deleted(session, importer.project, 3, present=[]) == 0
        assert corrections.mark_task_deleted(session, importer.project, 3) == 0
        assert len(corrections.training_examples(session, importer.project)) == 3


@pytest.mark.slow
def test_a_killed_import_goes_on_without_doubles_or_halves(importer: Importer, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    names = [f"{number:04}.png" for number in range(1500)]
    write_pictures(folder, names)
    (folder / "captions.csv").write_text("image,caption\n" + "".join(f"{name},picture {name}\n" for name in names))
    script = textwrap.dedent(f"""
        from pathlib import Path
        from captionloop.home import Home
        from captionloop.model.database import Database
        from captionloop.model.exchange.importing import find_source, import_dataset
        from captionloop.image_limits import ImageLimits
        home = Home(Path({str(importer.home.root)!r}))
        database = Database("sqlite:///" + str(home.database))
        import_dataset(
            find_source(Path({str(folder)!r})), {importer.project}, database=database, home=home, limits=ImageLimits(),
            on_bad=print, on_progress=print,
        )
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=dict(os.environ)) as child:
        assert child.stdout is not None
        child.stdout.readline()  # a batch is done
        time.sleep(0.05)
        child.kill()
    before = len(importer.rows())
    assert 0 < before < len(names)

    assert importer(folder) == ImportResult(new=len(names) - before, known=before)

    assert importer.captions() == [f"picture {name}" for name in names]
    assert all(
        content_hash(path.read_bytes()) == path.name
        for path in importer.home.images.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )


# Memory --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def peak_of(importer: Importer) -> Callable[[Callable[[int], Path], int], float]:
    """The most memory that Python held while so many rows were imported, in MiB."""
    import gc
    import tracemalloc

    def measure(write: Callable[[int], Path], count: int) -> float:
        path = write(count)
        gc.freeze()  # else the more objects the suite holds, the longer Python keeps what is in cycles
        tracemalloc.start()
        assert importer(path).bad == 0
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        gc.unfreeze()
        return peak / 2**20

    return measure


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "coco", "webdataset"])
def test_memory_does_not_grow_with_the_number_of_rows(
    peak_of: Callable[[Callable[[int], Path], int], float], tmp_path: Path, form: str
) -> None:
    """Few pictures and many captions: what could pile up is rows, members and annotations."""

    def write(count: int) -> Path:
        folder = tmp_path / f"{form}-{count}"
        write_pictures(folder, [f"{number}.png" for number in range(20)])
        captions = [f"caption {count} {number}" for number in range(count)]
        if form == "csv":
            path = folder / "x.csv"
            path.write_text("".join(f"{n % 20}.png,{text}\n" for n, text in enumerate(captions)))
        elif form == "coco":
            path = folder / "x.json"
            images = [{"id": n, "file_name": f"{n}.png"} for n in range(20)]
            notes = [{"image_id": n % 20, "caption": text} for n, text in enumerate(captions)]
            path.write_text(json.dumps({"images": images, "annotations": notes}))
        else:
            path = folder / "x.tar"
            with tarfile.open(path, "w") as shard:
                for n, text in enumerate(captions):
                    add_member(shard, f"{n}.png", picture_bytes(n % 20))
                    add_member(shard, f"{n}.txt", text.encode())
        return path

    peak_of(write, 400)  # what is loaded once
    small, large = peak_of(write, 1000), peak_of(write, 6000)
    assert large < small + 1, f"{small:.1f} MiB, then {large:.1f} MiB"
