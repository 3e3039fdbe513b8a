"""Corrections written out as a dataset that other tools read."""

import csv
import hashlib
import io
import json
import tarfile
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.model.exchange.test_importing import Importer
from webdataset.tariterators import group_by_keys, tar_file_expander

from captionloop.errors import CaptionloopError
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.captions.example import Example
from captionloop.model.database import Database
from captionloop.model.dataset.corrections import Snapshot, write_image
from captionloop.model.exchange.export import FORMATS, Format, export
from captionloop.model.exchange.importing import ImportResult
from captionloop.model.exchange.webdataset_writer import Sample, write_shards

_COUNT = 12


def load(directory: Path, kind: str) -> Any:
    """By Hugging Face's library, without its cache of a person's home."""
    import datasets  # takes seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own dependencies
        return datasets.load_dataset(kind, data_dir=str(directory), cache_dir=str(directory.parent / "cache"))


def hashes_and(found: Any, column: str) -> tuple[list[str], list[str]]:
    import datasets

    undecoded = found.cast_column("image", datasets.Image(decode=False))
    return [Path(row["image"]["path"]).stem for row in undecoded], list(found[column])


@pytest.fixture
def snapshot(home: Home) -> Snapshot:
    limits = ImageLimits(max_bytes=10**6, max_pixels=10**6)
    examples = []
    for number in range(_COUNT):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(file, "JPEG" if number % 2 else "PNG")
        image = write_image(home, file.getvalue(), limits=limits).sha256
        examples.append(Example(number, image, f'picture {number}, "quoted" and déjà vu'))
    examples.append(Example(_COUNT, examples[0].image, "a second caption"))
    return Snapshot(hash="0" * 64, path=home.datasets / "x.jsonl", examples=tuple(examples))


def expected(snapshot: Snapshot) -> list[tuple[str, str]]:
    return sorted((example.image, example.caption) for example in snapshot.examples)


def read_back(directory: Path, form: str) -> list[tuple[str, str]]:
    """(content hash, caption) of each caption, as a reader of that format would find them."""
    if form == "imagefolder":
        rows = [json.loads(line) for line in (directory / "metadata.jsonl").read_text().splitlines()]
        pairs = [(row["file_name"], row["text"]) for row in rows]
    elif form == "jsonl":
        rows = [json.loads(line) for line in (directory / "captions.jsonl").read_text().splitlines()]
        pairs = [(row["image"], text) for row in rows for text in row["captions"]]
    elif form == "csv":
        with (directory / "captions.csv").open(newline="", encoding="utf-8") as file:
            pairs = [(row["image"], row["caption"]) for row in csv.DictReader(file)]
    elif form == "webdataset":
        return sorted(read_shards(directory))
    else:
        content = json.loads((directory / "captions.json").read_text())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        pairs = [(names[note["image_id"]], note["caption"]) for note in content["annotations"]]
    assert all((directory / name).is_file() for name, _ in pairs)
    return sorted((Path(name).stem, text) for name, text in pairs)


def read_shards(directory: Path) -> list[tuple[str, str]]:
    """By the library that the format is named after; its `WebDataset` itself leaves files open."""
    found: list[tuple[str, str]] = []
    for path in sorted(directory.glob("*.tar")):
        with path.open("rb") as stream:
            samples = list(group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])))
        for sample in samples:
            captions = json.loads(sample["json"])["captions"]
            assert sample["txt"].decode() == captions[0]
            assert hashlib.sha256(sample.get("jpg") or sample["png"]).hexdigest() == sample["__key__"]
            found += [(sample["__key__"], text) for text in captions]
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_every_caption_is_found_again_beside_its_picture(
    snapshot: Snapshot, home: Home, tmp_path: Path, form: Format
) -> None:
    assert export(snapshot, home, tmp_path / "out", form=form) == _COUNT
    assert read_back(tmp_path / "out", form) == expected(snapshot)


def test_pictures_keep_their_bytes_and_are_named_by_their_kind(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    export(snapshot, home, tmp_path / "out", form="csv")
    written = list((tmp_path / "out" / "images").iterdir())
    assert {path.suffix for path in written} == {".png", ".jpg"}
    assert all(path.read_bytes() == home.image(path.stem).read_bytes() for path in written)


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_imported_as_it_was(
    snapshot: Snapshot, home: Home, tmp_path: Path, database: Database, form: Format
) -> None:
    export(snapshot, home, tmp_path / "out", form=form)
    importer = Importer(database, Home(tmp_path / "elsewhere"))
    assert importer(tmp_path / "out") == ImportResult(new=_COUNT + 1)
    assert importer.bad == []
    assert sorted((row.image_sha256, row.captions[0]) for row in importer.rows()) == expected(snapshot)


@pytest.mark.parametrize("form", FORMATS)
def test_each_caption_says_its_style_where_there_are_several(
    snapshot: Snapshot, home: Home, tmp_path: Path, database: Database, form: Format
) -> None:
    *others, second = snapshot.examples
    several = replace(snapshot, examples=(*others, replace(second, style="British")))
    export(several, home, tmp_path / "out", form=form)
    assert styles_read_back(tmp_path / "out", form) == {
        **{example.caption: None for example in others},
        second.caption: "British",
    }
    importer = Importer(database, Home(tmp_path / "elsewhere"))
    assert importer(tmp_path / "out") == ImportResult(new=_COUNT + 1)
    one = replace(snapshot, examples=tuple(replace(example, style="British") for example in snapshot.examples))
    export(one, home, tmp_path / "one", form=form)
    assert all(b"tyle" not in path.read_bytes() for path in (tmp_path / "one").glob("*.*"))


def styles_read_back(directory: Path, form: str) -> dict[str, str | None]:
    """Caption → its style."""
    if form == "csv":
        with (directory / "captions.csv").open(newline="", encoding="utf-8") as file:
            return {row["caption"]: row["style"] or None for row in csv.DictReader(file)}
    if form == "coco":
        content = json.loads((directory / "captions.json").read_text())
        return {note["caption"]: note["style"] for note in content["annotations"]}
    if form == "imagefolder":
        rows = [json.loads(line) for line in (directory / "metadata.jsonl").read_text().splitlines()]
        return {row["text"]: row["style"] for row in rows}
    if form == "jsonl":
        rows = [json.loads(line) for line in (directory / "captions.jsonl").read_text().splitlines()]
    else:
        rows = [json.loads(text) for path in directory.glob("*.tar") for text in members(path, ".json")]
    return {text: style for row in rows for text, style in zip(row["captions"], row["styles"], strict=True)}


def members(shard: Path, kind: str) -> list[bytes]:
    with tarfile.open(shard) as file:
        return [file.extractfile(name).read() for name in file.getnames() if name.endswith(kind)]  # type: ignore[union-attr]


def test_hugging_face_reads_an_imagefolder(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    export(snapshot, home, tmp_path / "out", form="imagefolder")
    found = load(tmp_path / "out", "imagefolder")["train"]
    assert sorted(zip(*hashes_and(found, "text"), strict=True)) == expected(snapshot)
    assert set(found["split"]) == {"train", "held-out"}
    assert found[0]["image"].size == (8, 8)


def test_hugging_face_reads_shards(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    """Of pictures of one kind: it makes a column of each ending."""
    jpegs = [found for found in snapshot.examples if home.image(found.image).read_bytes().startswith(b"\xff\xd8")]
    export(replace(snapshot, examples=tuple(jpegs)), home, tmp_path / "out", form="webdataset")
    found = load(tmp_path / "out", "webdataset")
    rows = [(row["__key__"], row["txt"]) for split in found.values() for row in split]
    assert sorted(rows) == sorted((example.image, example.caption) for example in jpegs)
    assert set(found) == {"train", "test"}
    assert found["train"][0]["jpg"].size == (8, 8)


def test_shards_are_limited_in_size(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    samples = [Sample(home.image(found.image), "jpg", [found.caption]) for found in snapshot.examples[:_COUNT]]
    for name, limits in (("bytes", {"most_bytes": 4000}), ("samples", {"most_samples": 5})):
        (tmp_path / name).mkdir()
        write_shards(tmp_path / name, samples, name="train", **limits)
    assert len(read_shards(tmp_path / "bytes")) == _COUNT
    assert len(list((tmp_path / "bytes").iterdir())) > 3
    assert [path.name for path in sorted((tmp_path / "samples").iterdir())] == [
        "train-000000.tar", "train-000001.tar", "train-000002.tar",
    ]  # fmt: skip


def test_no_picture_is_held_in_memory(home: Home, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(50_000_000)
    tracemalloc.start()
    write_shards(tmp_path, [Sample(large, "png", ["a picture"])] * 3, name="train")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_near_duplicates_are_exported_on_one_side(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    first = snapshot.examples[0].image
    together = replace(snapshot, examples=tuple(replace(found, split_with=first) for found in snapshot.examples))
    assert export(together, home, tmp_path / "out", form="csv", split="held-out") == _COUNT


def test_train_and_held_out_make_the_whole(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    counts = [export(snapshot, home, tmp_path / split, form="jsonl", split=split) for split in ("train", "held-out")]
    assert min(counts) > 0
    assert sum(counts) == _COUNT


def test_a_directory_with_something_in_it_is_left_alone(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(CaptionloopError, match="is there already and not empty; name another"):
        export(snapshot, home, tmp_path / "out", form="csv")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_lost_picture_is_named_and_nothing_is_half_written(snapshot: Snapshot, home: Home, tmp_path: Path) -> None:
    lost = home.image(snapshot.examples[3].image)
    lost.unlink()
    with pytest.raises(CaptionloopError, match=lost.name):
        export(snapshot, home, tmp_path / "out" / "deep", form="csv")
    assert list((tmp_path / "out").iterdir()) == []
