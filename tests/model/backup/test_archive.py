"""A backup is a home directory as it was at one moment, and all of it comes back, or nothing."""

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture
from sqlalchemy import MetaData, select
from tests.support.corrections import correct
from tests.support.models import add_project
from tests.support.versions import FinishedRun

from captionloop.errors import BackupError, BusyError, ServiceError
from captionloop.home import PASSING, SECRET, Home
from captionloop.image_limits import ImageLimits
from captionloop.model.backup.archive import MANIFEST, make_backup, restore_backup
from captionloop.model.database import Database, Image, Project
from captionloop.model.dataset import corrections
from captionloop.model.sweep import trials
from captionloop.model.versions.manifest import verify_files
from captionloop.model.versions.store import VersionStore


@pytest.fixture
def lived_in(finished: FinishedRun, database: Database, home: Home) -> FinishedRun:
    """A home with everything in it: images, corrections, versions, a snapshot, a sweep, other programs' data."""
    correct(
        database,
        finished.project,
        version=finished.version.version,
        caption="emoji \N{CAT FACE}, right-to-left \u202eabc",
    )
    trials.create_trials(database, "sweep-1", 3, first=[{"way": "decoder"}])
    for name, content in {
        "secrets.json": "{}", "session.key": "key", "seal.keys": "key", "services.json": "{}", "sample.json": "[1]",
        "logs/worker.log": "a line", "features/ab/x.safetensors": "cached", "thumbnails/a.png": "small",
        "runs/r1/state": "half", "demo/captionloop.db": "another home", "tensorboard/r1/events": "curve",
        "label-studio/media/upload/1/a.png": "uploaded", "label-studio/.env": "SECRET_KEY=1",
    }.items():  # fmt: skip
        path = home.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    with closing(sqlite3.connect(home.label_studio / "label_studio.sqlite3")) as theirs:
        theirs.executescript("CREATE TABLE task (id INTEGER PRIMARY KEY, data TEXT); INSERT INTO task VALUES (1, 'x')")
    return finished


@pytest.fixture
def archive(lived_in: FinishedRun, home: Home, database: Database, tmp_path: Path) -> Path:
    file = tmp_path / "backups" / "monday.tar"
    make_backup(home, database, file)
    return file


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    return Home(tmp_path / "elsewhere" / "home")


def restored(file: Path, home: Home) -> None:
    with closing(Database(f"sqlite:///{home.database}")) as database:
        restore_backup(file, home, database)


def rows(database: Database) -> dict[str, list[Any]]:
    """All rows of all tables, Optuna's included."""
    tables = MetaData()
    with database.engine.connect() as connection:
        tables.reflect(connection)
        return {
            name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for name, table in tables.tables.items()
        }


def rows_in(file: Path) -> dict[str, list[Any]]:
    with closing(Database(f"sqlite:///{file}")) as database:
        return rows(database)


def hashes(root: Path) -> dict[str, str]:
    """Every file but the databases, by its name."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and ".db" not in path.name and not path.name.endswith(".sqlite3")
    }


def is_kept(name: str) -> bool:
    top = name.split("/")[0]
    return top not in PASSING and top not in SECRET and name != "versions/.lock"


# There and back ------------------------------------------------------------------------------------------------------


@pytest.mark.faults
def test_every_row_and_every_file_comes_back(archive: Path, database: Database, home: Home, empty: Home) -> None:
    restored(archive, empty)

    assert hashes(empty.root) == {name: digest for name, digest in hashes(home.root).items() if is_kept(name)}
    assert rows_in(empty.database) == rows(database)


def test_the_champion_loads_where_it_was_put(archive: Path, lived_in: FinishedRun, empty: Home) -> None:
    restored(archive, empty)

    with closing(Database(f"sqlite:///{empty.database}")) as database:
        store = VersionStore(database, empty.versions)
        champion = store.champion(lived_in.project.id)
        verify_files(champion.path)
    assert champion.path.parent == empty.versions


def test_databases_of_other_programs_are_copied_as_databases(archive: Path, home: Home, empty: Home) -> None:
    restored(archive, empty)

    with closing(sqlite3.connect(empty.label_studio / "label_studio.sqlite3")) as theirs:
        assert theirs.execute("SELECT data FROM task").fetchall() == [("x",)]


def test_keys_caches_logs_and_what_is_of_the_moment_are_left_out(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = tar.getnames()

    assert [name for name in names if not is_kept(name)] == []
    assert {"sample.json", "tensorboard/r1/events", "label-studio/.env", "captionloop.db"} <= set(names)


def test_whoever_makes_a_file_in_the_home_says_whether_it_is_kept() -> None:
    home = Home(Path("/home"))
    names = {
        path.relative_to(home.root).parts[0]
        for name, member in vars(Home).items()
        if isinstance(member, property) and (path := getattr(home, name)).is_relative_to(home.root)
    }
    kept = {"captionloop.db", "images", "versions", "datasets", "tensorboard", "trackers", "label-studio"}

    assert names - PASSING - SECRET == kept


def test_only_its_owner_may_read_a_backup_and_what_comes_of_it(archive: Path, empty: Home) -> None:
    restored(archive, empty)

    modes = {path.stat().st_mode & 0o077 for path in [archive, empty.root, *empty.root.rglob("*")]}
    assert modes == {0}


@pytest.mark.faults
def test_a_backup_made_while_people_work_is_of_one_moment(
    lived_in: FinishedRun, database: Database, home: Home, tmp_path: Path, empty: Home
) -> None:
    stop = threading.Event()

    def work() -> None:
        """An image, its row, a correction of it: whoever has the row must have the image."""
        number = 0
        while not stop.is_set():
            number += 1
            buffer = io.BytesIO()
            Picture.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(buffer, "PNG")
            image = corrections.write_image(home, buffer.getvalue(), limits=ImageLimits())
            with database.session() as session:
                corrections.register_image(session, image)
            correct(database, lived_in.project, version="v", caption=f"caption {number}", image_sha256=image.sha256)
            home.root.joinpath("sample.json").write_text(f"[{number}]")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        backups = [make_backup(home, database, tmp_path / f"{number}.tar") for number in range(5)]
    finally:
        stop.set()
        worker.join()
    restored(tmp_path / "4.tar", empty)

    assert [backup.missing for backup in backups] == [()] * 5 or all(not backup.missing for backup in backups)
    with closing(Database(f"sqlite:///{empty.database}")) as copy, copy.reading() as session:
        known = list(session.scalars(select(Image.sha256)))
    assert len(known) > 12
    assert [name for name in known if hashlib.sha256(empty.image(name).read_bytes()).hexdigest() != name] == []


def test_a_file_that_was_gone_before_is_told_of_and_keeps_nobody_from_a_backup(
    lived_in: FinishedRun, database: Database, home: Home, tmp_path: Path, empty: Home
) -> None:
    lost = next(path for path in home.images.rglob("*") if path.is_file())
    lost.unlink()

    made = make_backup(home, database, tmp_path / "backup.tar")
    restored(tmp_path / "backup.tar", empty)

    assert list(made.missing) == [lost.relative_to(home.root).as_posix()]


def test_a_backup_may_not_lie_in_what_it_keeps(lived_in: FinishedRun, database: Database, home: Home) -> None:
    with pytest.raises(BackupError, match="lies in the home directory"):
        make_backup(home, database, home.root / "backups" / "b.tar")


# What is wrong with an archive ---------------------------------------------------------------------------------------


def rewritten(archive: Path, change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]) -> Path:
    """The archive with other contents."""
    file = archive.with_name("rewritten.tar")
    with tarfile.open(archive) as old, tarfile.open(file, "w") as new:
        for entry in old:
            source = old.extractfile(entry)
            changed = change(entry, source.read() if source else b"")
            if changed is not None:
                changed[0].size = len(changed[1])
                new.addfile(changed[0], io.BytesIO(changed[1]))
    return file


def with_entry(archive: Path, entry: tarfile.TarInfo, content: bytes = b"") -> Path:
    file = archive.with_name("more.tar")
    with tarfile.open(archive) as old, tarfile.open(file, "w") as new:
        entry.size = len(content)
        new.addfile(entry, io.BytesIO(content))
        for member in old:
            new.addfile(member, old.extractfile(member))
    return file


def with_listed(archive: Path, name: str, content: bytes) -> Path:
    """The archive as somebody would make it who also knows of the manifest."""
    digest = hashlib.sha256(content).hexdigest()

    def list_it(entry: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if entry.name != MANIFEST:
            return entry, data
        manifest = json.loads(data)
        manifest["files"][name] = {"sha256": digest, "bytes": len(content)}
        return entry, json.dumps(manifest).encode()

    return with_entry(rewritten(archive, list_it), tarfile.TarInfo(name), content)


def refuses(file: Path, home: Home, match: str) -> None:
    """Nothing of it can be seen afterwards."""
    before = sorted(home.root.parent.iterdir()) if home.root.parent.exists() else []
    with pytest.raises(BackupError, match=match):
        restored(file, home)
    assert not home.root.exists()
    assert (sorted(home.root.parent.iterdir()) if home.root.parent.exists() else []) == before


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.faults
def test_a_backup_that_is_cut_short_is_refused_wherever_it_ends(archive: Path, empty: Home, share: float) -> None:
    with tarfile.open(archive) as tar:
        last = tar.getmember(MANIFEST)
    os.truncate(archive, int((last.offset_data + last.size) * share))

    refuses(archive, empty, "cut short|damaged")


@pytest.mark.parametrize("name", ["captionloop.db", "sample.json", "label-studio/label_studio.sqlite3"])
@pytest.mark.faults
def test_a_single_bit_that_changed_is_found(archive: Path, empty: Home, name: str) -> None:
    with tarfile.open(archive) as tar:
        offset = tar.getmember(name).offset_data
    with archive.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))

    refuses(archive, empty, f"damaged: {name} is not what it was")


def test_a_version_whose_weights_changed_is_named(archive: Path, empty: Home, lived_in: FinishedRun) -> None:
    name = f"versions/{lived_in.version.version}/model.safetensors"
    refuses(rewritten(archive, lambda e, data: (e, data[:-1] + b"x") if e.name == name else (e, data)), empty, name)


def test_a_file_that_is_missing_from_it_is_named(archive: Path, empty: Home) -> None:
    refuses(rewritten(archive, lambda e, d: None if e.name == "sample.json" else (e, d)), empty, "sample.json")


def test_a_file_that_was_put_in_is_named(archive: Path, empty: Home) -> None:
    refuses(with_entry(archive, tarfile.TarInfo("more.json"), b"mine"), empty, "more.json")


@pytest.mark.parametrize(
    "name",
    [
        "session.key",
        "seal.keys",
        "secrets.json",
        "services.json",
        "runs/1/state.safetensors",
        "./session.key",
        "versions/.v1/config.json",
        "captionloop.db-wal",
        "label-studio/label_studio.sqlite3-wal",
        ".",
    ],
)
def test_what_no_backup_keeps_is_refused_though_the_manifest_has_it(archive: Path, empty: Home, name: str) -> None:
    refuses(with_listed(archive, name, b"mine"), empty, "no file that a backup has")


def _link(kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo("images")
    entry.type, entry.linkname = kind, "/etc"
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("versions/../../escaped"),
        tarfile.TarInfo("/tmp/escaped"),
        tarfile.TarInfo("..\\escaped"),
        _link(tarfile.SYMTYPE),
        _link(tarfile.LNKTYPE),
        _link(tarfile.FIFOTYPE),
        _link(tarfile.CHRTYPE),
    ],
    ids=["up", "up from within", "absolute", "backslash", "symbolic link", "hard link", "pipe", "device"],
)
def test_an_archive_writes_nothing_outside_the_home_and_nothing_but_files(
    archive: Path, empty: Home, tmp_path: Path, entry: tarfile.TarInfo
) -> None:
    refuses(with_entry(archive, entry), empty, "no file that a backup has")
    assert not list(tmp_path.rglob("escaped"))


def test_a_name_that_comes_twice_is_refused(archive: Path, empty: Home) -> None:
    refuses(with_entry(archive, tarfile.TarInfo("sample.json"), b"{}"), empty, "twice")


def test_what_comes_behind_the_manifest_is_refused(archive: Path, empty: Home) -> None:
    with tarfile.open(archive, "a") as tar:
        tar.addfile(tarfile.TarInfo("more"), io.BytesIO())

    refuses(archive, empty, "behind its manifest")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b'{"format": 1, "files": 3, "created_at": "x", "captionloop": "1"}', b"\xff\xfe", b"[" * 200_000,
        b'{"format": 1, "files": {"a": {"sha256": "", "bytes": 1e999}}}', b'{"format": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "no facts", "wrong facts", "no text", "deep", "endless", "a long number"],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(archive: Path, empty: Home, content: bytes) -> None:
    refuses(rewritten(archive, lambda e, d: (e, content if e.name == MANIFEST else d)), empty, "damaged")


def test_a_format_of_a_later_release_is_named(archive: Path, empty: Home) -> None:
    def later(entry: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if entry.name != MANIFEST:
            return entry, data
        return entry, json.dumps(json.loads(data) | {"format": 2, "captionloop": "9.0"}).encode()

    refuses(rewritten(archive, later), empty, "format 2 and was made by Captionloop 9.0")


def test_a_schema_of_a_later_release_is_refused(
    lived_in: FinishedRun, database: Database, home: Home, tmp_path: Path, empty: Home
) -> None:
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("UPDATE schema_version SET version_num = '9999'")
        connection.commit()
    make_backup(home, database, tmp_path / "b.tar")

    refuses(tmp_path / "b.tar", empty, "schema 9999, which this release does not know")


@pytest.mark.parametrize("content", [b"", b"not a tar archive" * 100])
def test_another_file_is_no_backup(tmp_path: Path, empty: Home, content: bytes) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(content)

    refuses(file, empty, "no backup of Captionloop|cut short")


def _entry(
    name: str, kind: bytes = tarfile.REGTYPE, *, to: str = "", headers: Mapping[str, str] | None = None
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.pax_headers = kind, to, headers or {}
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        _entry(MANIFEST, tarfile.SYMTYPE, to=MANIFEST),
        _entry(MANIFEST, tarfile.LNKTYPE, to="nowhere"),
        _entry(MANIFEST, tarfile.FIFOTYPE),
        _entry("a.txt", headers={"size": "-1000"}),
        _entry("a.txt", headers={"size": "9" * 30}),
        _entry("a.txt", headers={"path": "a\x00b"}),
        _entry("a.txt", headers={"path": "\udcff"}),
        _entry("a.txt", headers={"mtime": "nan"}),
        _entry("x" * 5000),
        _entry("a.txt", headers={"GNU.sparse.map": "x"}),
        _entry("a.txt", headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
    ],
    ids=[
        "a manifest that leads to itself", "a manifest that leads nowhere", "a pipe as manifest", "a negative size",
        "a huge size", "a name with NUL", "a name that is no text", "a time that is none", "a long name",
        "a sparse file", "another sparse file",
    ],
)  # fmt: skip
def test_headers_that_are_made_to_harm(archive: Path, empty: Home, entry: tarfile.TarInfo) -> None:
    file = archive.with_name("harm.tar")
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        tar.addfile(entry)
    file.write_bytes(file.read_bytes().rstrip(b"\0") + b"\0" * 512 + archive.read_bytes())

    refuses(file, empty, ".")


def test_a_pipe_is_not_waited_for(tmp_path: Path, empty: Home) -> None:
    os.mkfifo(tmp_path / "pipe")

    refuses(tmp_path / "pipe", empty, "no regular file")


def test_a_file_that_is_not_there_is_named(tmp_path: Path, empty: Home) -> None:
    refuses(tmp_path / "nowhere.tar", empty, "There is no file .*nowhere.tar")


# Where it is put -----------------------------------------------------------------------------------------------------


def test_a_home_that_is_not_empty_is_left_alone(archive: Path, home: Home) -> None:
    before = hashes(home.root)

    with pytest.raises(BusyError, match="is not empty"):
        restored(archive, home)
    assert hashes(home.root) == before


def test_an_empty_directory_that_is_there_is_used(archive: Path, empty: Home) -> None:
    empty.root.mkdir(parents=True)

    restored(archive, empty)

    assert empty.database.is_file()


def test_a_directory_that_cannot_be_exchanged_gets_the_files_moved_in(
    archive: Path, empty: Home, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a container's volume, which is a mount point."""
    empty.root.mkdir(parents=True)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == empty.root)

    restored(archive, empty)

    assert hashes(empty.root) == {name: digest for name, digest in hashes(home.root).items() if is_kept(name)}
    assert [path.name for path in empty.root.iterdir() if path.name.startswith(".")] == []


# PostgreSQL ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    opened = Database(postgres_url)
    yield opened
    opened.close()


def test_rows_come_back_into_postgresql_and_numbers_go_on_behind_them(
    archive: Path, postgres: Database, database: Database, home: Home, tmp_path: Path, empty: Home
) -> None:
    restore_backup(archive, empty, postgres)

    assert not empty.database.exists()
    with postgres.reading() as session:
        project = session.scalars(select(Project)).one()
    correct(postgres, project, version="v9")  # a number that is taken would be refused
    with closing(Database(f"sqlite:///{tmp_path / 'again.db'}")):
        pass
    second = Home(tmp_path / "second")
    make_backup(empty, postgres, tmp_path / "from-postgres.tar")
    restored(tmp_path / "from-postgres.tar", second)
    there, back = rows(database), rows_in(second.database)
    changed = {name for name in there if there[name] != back[name]}
    assert changed == {"correction", "suggestion"}  # the new one
    assert all(set(there[name]) < set(back[name]) for name in changed)


def test_a_postgresql_with_rows_is_left_alone(archive: Path, postgres: Database, empty: Home) -> None:
    postgres.migrate()
    add_project(postgres)

    with pytest.raises(BusyError, match="its table project has rows"):
        restore_backup(archive, empty, postgres)
    assert not empty.root.exists()


def test_a_backup_of_postgresql_sees_one_moment(postgres: Database, home: Home, tmp_path: Path, empty: Home) -> None:
    """A run and what its project says of it change together; a backup never has one without the other."""
    postgres.migrate()
    project = add_project(postgres)
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with postgres.session() as session:
                session.get_one(Project, project.id).title = str(number)
                corrections.register_image(session, corrections.StoredImage(f"{number:064d}", 1, 1, 1, fingerprint=b""))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(3):
            make_backup(home, postgres, tmp_path / f"{number}.tar")
    finally:
        stop.set()
        worker.join()
    restored(tmp_path / "2.tar", empty)

    found = rows_in(empty.database)
    with closing(sqlite3.connect(empty.database)) as connection:
        [(title,)] = connection.execute("SELECT title FROM project").fetchall()
    assert len(found["image"]) == int(title) > 1


def test_a_postgresql_that_does_not_answer_is_said_to(home: Home, tmp_path: Path) -> None:
    with (
        closing(Database("postgresql+psycopg://nobody@localhost:1/none")) as database,
        pytest.raises(ServiceError, match="cannot be used"),
    ):
        make_backup(home, database, tmp_path / "b.tar")
    assert not list(tmp_path.glob("*b.tar*"))
