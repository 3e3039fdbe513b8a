"""A version to take away: loads as it is, and tells nothing that belongs here."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from tests.support.versions import FinishedRun
from transformers import BlipForConditionalGeneration, BlipProcessor

from captionloop.errors import CheckpointError
from captionloop.model.versions.export import zip_of
from captionloop.model.versions.manifest import MANIFEST, verify_files


def unpacked(finished: FinishedRun, name: str, target: Path) -> Path:
    version = finished.store.get(finished.project.id, name)
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_of(version)))) as archive:
        assert archive.testzip() is None
        archive.extractall(target)
    return target / name


def test_the_unpacked_directory_loads_with_plain_transformers(finished: FinishedRun, tmp_path: Path) -> None:
    directory = unpacked(finished, finished.version.version, tmp_path / "out")

    BlipForConditionalGeneration.from_pretrained(directory)
    BlipProcessor.from_pretrained(directory)


def test_nothing_in_it_says_where_it_lay(finished: FinishedRun, tmp_path: Path) -> None:
    for name in (finished.base.name, finished.version.version):
        directory = unpacked(finished, name, tmp_path / "out")
        found = [
            path.name for path in directory.rglob("*") if path.is_file() and str(tmp_path).encode() in path.read_bytes()
        ]
        assert found == []


def test_what_people_wrote_stays_here(finished: FinishedRun, tmp_path: Path) -> None:
    directory = unpacked(finished, finished.version.version, tmp_path / "out")

    texts = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
    assert b"nothing else" not in texts


def test_the_manifest_of_an_export_names_the_files_that_are_in_it(finished: FinishedRun, tmp_path: Path) -> None:
    directory = unpacked(finished, finished.version.version, tmp_path / "out")

    manifest = json.loads((directory / MANIFEST).read_text())
    verify_files(directory)
    assert set(manifest["files"]) | {MANIFEST} == {path.name for path in directory.iterdir()}


def test_an_export_comes_in_pieces_of_a_megabyte_or_so(finished: FinishedRun) -> None:
    assert all(len(piece) < 3 << 20 for piece in zip_of(finished.version))


def test_a_damaged_version_is_refused_before_the_first_piece(finished: FinishedRun) -> None:
    (finished.version.path / MANIFEST).write_text("{")

    with pytest.raises(CheckpointError, match=r"has no readable captionloop\.json"):
        zip_of(finished.version)
