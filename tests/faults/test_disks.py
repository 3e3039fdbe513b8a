"""Each write meets a full disk and a read-only one: what was there stays whole, and the error says what to do."""

import hashlib
import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from PIL import Image
from sqlalchemy import make_url, text
from tests.support.disks import fill, full_disk, read_only_disk
from tests.support.postgres import another_database, database_below, running_postgres
from tests.support.versions import FinishedRun, finished_run
from torch import nn

from captionloop.backend.report_page import kept_report
from captionloop.errors import BackupError, CaptionloopError, ServiceError, StorageError
from captionloop.home import Home, write_json
from captionloop.image_limits import ImageLimits
from captionloop.model.backup.archive import make_backup, restore_backup
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.database import Database, Project, VersionState
from captionloop.model.dataset import corrections
from captionloop.model.evaluation.comparison_file import write_comparison
from captionloop.model.exchange.export import export
from captionloop.model.training.resume_state import TrainingState
from captionloop.model.versions.manifest import Lineage
from captionloop.model.versions.store import VersionStore

pytestmark = pytest.mark.faults

Disk = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture(params=[full_disk, read_only_disk], ids=["full", "read-only"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return request.param


@pytest.fixture
def finished_on_either(either_database: Database, home: Home, tmp_path: Path) -> FinishedRun:
    """The same, for what writes to the database as well."""
    return finished_run(either_database, home, tmp_path)


def files(directory: Path) -> dict[str, str]:
    """Each file's content, in short."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in {".filling", ".lock"}
    }


def refused(disk: Disk, directory: Path, write: Callable[[], object], *, error: type[CaptionloopError]) -> str:
    """Write on such a disk, which must fail and leave everything as it was, and then on an ordinary one.

    Returns:
        what the error said.
    """
    directory.mkdir(parents=True, exist_ok=True)
    before = files(directory)
    with disk(directory), pytest.raises(error) as caught:
        write()
    assert files(directory) == before
    write()
    return str(caught.value)


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 80).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image(finished: FinishedRun, home: Home, disk: Disk) -> None:
    said = refused(
        disk, home.images, lambda: corrections.write_image(home, picture(), limits=ImageLimits()), error=StorageError
    )
    assert "images" in said
    assert any(words in said for words in ("Make room on its disk", "Mount its disk so that it may be written"))


def test_a_snapshot(finished_on_either: FinishedRun, home: Home, either_database: Database, disk: Disk) -> None:
    for path in home.datasets.iterdir():
        path.unlink()

    def write() -> None:
        with either_database.session() as session:
            corrections.snapshot(session, finished_on_either.project.id, home)

    refused(disk, home.datasets, write, error=StorageError)
    assert corrections.read_snapshot(next(home.datasets.iterdir())).hash == finished_on_either.snapshot.hash


def test_a_version(finished_on_either: FinishedRun, home: Home, disk: Disk) -> None:
    finished = finished_on_either
    known = [info.version for info in finished.store.all_of(finished.project.id)]
    champion = finished.store.champion(finished.project.id)

    def write() -> None:
        def weights(directory: Path) -> None:
            (directory / "model.safetensors").write_bytes((champion.path / "model.safetensors").read_bytes())

        facts = finished.version
        lineage = Lineage(champion.version, "0" * 64, 1, {}, facts.metrics, "test", VersionState.CANDIDATE)
        finished.store.create(finished.project.id, weights, lineage=lineage, generation=champion.generation)

    refused(disk, home.versions, write, error=StorageError)
    assert finished.store.champion(finished.project.id).version == champion.version
    assert len(finished.store.all_of(finished.project.id)) == len(known) + 1  # that of the ordinary disk


def test_a_base(finished_on_either: FinishedRun, home: Home, disk: Disk) -> None:
    base, store = finished_on_either.base, finished_on_either.store
    other = replace(base, generation=replace(base.generation, num_beams=2))
    refused(disk, home.versions, lambda: store.add_base(other), error=StorageError)


def test_the_state_of_training(home: Home, disk: Disk) -> None:
    path = home.runs / "r1" / "state.safetensors"
    state = TrainingState(path, {})
    weight = nn.Parameter(torch.zeros(40_000))
    optimizer = torch.optim.SGD([weight])

    def save() -> None:
        state.save(parameters={"weight": weight}, optimizer=optimizer, kept={}, notes={})

    save()
    refused(disk, path.parent, save, error=StorageError)
    assert state.load(parameters={"weight": weight}, optimizer=optimizer) is not None


def test_a_comparison(finished: FinishedRun, home: Home, disk: Disk) -> None:
    path = home.comparison(1, "a", "b")
    texts = {str(number): "a caption " * 50 for number in range(50)}
    several = {image: [text] for image, text in texts.items()}
    refused(
        disk,
        path.parent,
        lambda: write_comparison(
            path, champion="a", references=several, champion_captions=texts, candidate_captions=texts,
            corpus=several.values(),
        ),
        error=StorageError,
    )  # fmt: skip


def test_the_notes_on_running_services(home: Home, disk: Disk) -> None:
    directory = home.root / "notes"
    refused(disk, directory, lambda: write_json(directory / "services.json", {"x": "y" * 9000}), error=StorageError)


def test_an_export(finished: FinishedRun, home: Home, tmp_path: Path, disk: Disk) -> None:
    place = tmp_path / "exports"
    refused(
        disk, place, lambda: export(finished.snapshot, home, place / "dataset", form="imagefolder"), error=StorageError
    )


def test_a_backup(
    finished_on_either: FinishedRun, home: Home, either_database: Database, tmp_path: Path, disk: Disk
) -> None:
    place = tmp_path / "backups"
    refused(disk, place, lambda: make_backup(home, either_database, place / "monday.tar"), error=BackupError)


def test_a_restored_backup(
    finished_on_either: FinishedRun, home: Home, either_database: Database, tmp_path: Path, disk: Disk
) -> None:
    archive = tmp_path / "monday.tar"
    make_backup(home, either_database, archive)
    empty = Home(tmp_path / "elsewhere" / "home")

    with another_database(either_database.url, empty) as url, closing(Database(url)) as other:
        refused(disk, empty.root.parent, lambda: restore_backup(archive, empty, other), error=BackupError)
        restored = VersionStore(other, empty.versions).all_of(finished_on_either.project.id)

    assert files(empty.versions) == files(home.versions)
    assert len(restored) == 2


def test_image_features_are_then_computed_again_and_no_caption_fails(
    home: Home, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FeatureCache(home.features, max_bytes=10**9)
    with disk(home.features):
        cache.put_many({"ab" * 32: torch.zeros(40_000)}, "cd" * 32)
        assert cache.get_many(["ab" * 32], "cd" * 32) == {}
    assert "Cannot keep image features" in caplog.text


def test_a_report_is_then_drawn_each_time(finished: FinishedRun, home: Home, disk: Disk) -> None:
    with disk(home.reports):
        assert b"<html" in kept_report(finished.version, home)


MANY = 2000


def write_many(database: Database) -> None:
    """In one transaction."""
    with database.session() as session:
        for number in range(MANY):
            session.add(Project(server="x" * 500, label_studio_id=number, webhook_secret="x"))


def count(database: Database) -> int:
    with database.reading() as session:
        return session.query(Project).count()


def set_read_only(database: Database, value: str) -> None:
    """As from its next connections on."""
    name = make_url(database.url).database
    with closing(Database(database.url)) as other, other.engine.connect() as connection:
        connection.execute(text("SET TRANSACTION READ WRITE"))
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}"))
        connection.commit()
    database.close()


@pytest.mark.parametrize(
    ("disk", "remedy"),
    [
        (partial(full_disk, spare_bytes=300_000), "Its disk is full: make room there"),
        (read_only_disk, "check .* the rights"),
    ],
    ids=["full", "read-only"],
)
def test_a_correction_that_the_database_cannot_take_is_refused_whole_and_taken_later(
    finished: FinishedRun, home: Home, database: Database, disk: Disk, remedy: str
) -> None:
    database.close()
    with disk(home.root):
        with pytest.raises(ServiceError, match=remedy):
            write_many(database)
        if disk is not read_only_disk:  # on which SQLite cannot even read beside others
            assert count(database) == 1
        database.close()
    write_many(database)
    assert count(database) == 1 + MANY


@pytest.mark.slow
def test_a_postgresql_whose_disk_is_full_refuses_a_correction_whole_and_takes_it_later(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="captionloop-pg-disk-") as name, running_postgres() as server:
        place = Path(name, "tables")
        place.parent.chmod(0o755)  # PostgreSQL may be of another user
        with (
            full_disk(place, spare_bytes=32_000_000),
            database_below(server, place) as url,
            closing(Database(url)) as database,
        ):
            database.migrate()
            fill(place / ".more")
            with pytest.raises(ServiceError, match="Its disk is full: make room there"):
                write_many(database)
            assert count(database) == 0
            (place / ".more").unlink()
            write_many(database)
            assert count(database) == MANY


def test_a_postgresql_that_takes_no_changes_refuses_a_correction_whole_and_takes_it_later(postgres_url: str) -> None:
    with closing(Database(postgres_url)) as database:
        database.migrate()
        set_read_only(database, "on")
        with pytest.raises(ServiceError, match="it is a standby, or set to be read only"):
            write_many(database)
        assert count(database) == 0
        set_read_only(database, "off")
        write_many(database)
        assert count(database) == MANY


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    code = (
        "import logging; from captionloop.logs import log_to_stderr; log_to_stderr('info')\n"
        "for number in range(5000): logging.getLogger('x').info('line %d', number)\n"
        "print('done')"
    )
    place = tmp_path / "logs"
    with full_disk(place), (place / "worker.log").open("wb") as log:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=log, cwd=tmp_path)

    assert (done.returncode, done.stdout.strip()) == (0, b"done")
