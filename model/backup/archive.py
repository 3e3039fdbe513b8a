"""Backup while everything runs, and restore into an empty home directory.

A backup is a tar archive of the home directory at one moment, with a manifest at its end that has the SHA-256 of every
file. The database is copied first: files that a row refers to (an image, a version, a snapshot) are written before the
row and never change, so the files that are read afterwards include all of them. SQLite databases of other programs,
such as Label Studio's, are copied as databases.

Caches and transient files (`home.PASSING`) are left out, and so are keys and passwords (`home.SECRET`), so that a
stolen backup opens nothing else.
"""

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

from captionloop.errors import BackupError, BusyError
from captionloop.home import PASSING, SECRET, Home, atomically, unfinished_directory
from captionloop.model.backup.database_copy import (
    check,
    copy_sqlite,
    dump,
    is_sqlite_file,
    load,
    require_empty,
    sqlite_file,
)
from captionloop.model.database import Database, utc_now
from captionloop.model.versions.manifest import MANIFEST as VERSION_MANIFEST
from captionloop.package_version import __version__

MANIFEST = "captionloop-backup.json"
_FORMAT = 1
_BLOCK = 1 << 20
_LARGEST_MANIFEST = 1 << 30
# A version may be deleted between reading the rows and reading the files.
_TRIES = 3
_BESIDE_SQLITE = ("-wal", "-shm", "-journal")
_STAGING = ".restoring-"


@dataclass(frozen=True)
class Backup:
    """The content of an archive.

    Args:
        made_by: the release of Captionloop.
        files: name below the home directory → SHA-256 and size in bytes.
        missing: files that rows of the database refer to, but which were already missing.
    """

    created_at: datetime
    made_by: str
    files: Mapping[str, tuple[str, int]]
    missing: Sequence[str] = ()

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "created_at": self.created_at.isoformat(),
            "captionloop": self.made_by,
            "missing": list(self.missing),
            "files": {name: {"sha256": digest, "bytes": size} for name, (digest, size) in self.files.items()},
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> "Backup":
        """
        Raises:
            BackupError: it is not a manifest, or one of a later release.
        """
        try:
            found = json.loads(data)
            if found["format"] != _FORMAT:
                raise BackupError(
                    f"The backup has format {found['format']} and was made by Captionloop {found['captionloop']}; "
                    f"this release, {__version__}, reads format {_FORMAT}."
                )
            files = {name: (str(entry["sha256"]), int(entry["bytes"])) for name, entry in found["files"].items()}
            created_at = datetime.fromisoformat(found["created_at"])
            return cls(created_at, str(found["captionloop"]), files, list(found["missing"]))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise BackupError(f"The backup's {MANIFEST} is damaged ({error!r}).") from error


# Making one ----------------------------------------------------------------------------------------------------------


def make_backup(home: Home, database: Database, file: Path) -> Backup:
    """Write a backup to `file`; an earlier file of that name is replaced only when this one is complete.

    Raises:
        BackupError: it would lie in the home directory, or cannot be written.
        ServiceError: the database does not answer.
    """
    if home.root.resolve() in file.resolve().parents:
        raise BackupError(f"{file} lies in the home directory, which is what it is to keep. Name another place.")
    try:
        with _beside(file) as scratch, atomically(file) as archive:
            promised = _copy_database(home, database, scratch / "database")
            with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
                files = _add_files(tar, home, scratch)
                made = Backup(utc_now(), __version__, files, sorted(promised - files.keys()))
                manifest = json.dumps(made.to_dict(), indent=1).encode()
                tar.addfile(_entry(MANIFEST, len(manifest)), io.BytesIO(manifest))
            return made
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"The backup cannot be written to {file}: {error}. Nothing of it is kept.") from error


def _copy_database(home: Home, database: Database, copy: Path) -> set[str]:
    """Copy the database; returns the names of the files that its rows refer to."""
    for _ in range(_TRIES):
        copy.unlink(missing_ok=True)
        dump(database, copy)
        promised = _promised(home, copy)
        if all((home.root / name).exists() for name in promised):
            break
    return promised


def _promised(home: Home, copy: Path) -> set[str]:
    with closing(sqlite3.connect(copy)) as connection:

        def column(query: str) -> list[str]:
            return [value for (value,) in connection.execute(query) if value is not None]

        versions = column("SELECT name FROM version WHERE deleted_at IS NULL")
        snapshots = column("SELECT snapshot FROM version UNION SELECT snapshot FROM sweep")
        images = column("SELECT sha256 FROM image")
    paths = [
        *(home.versions / name / VERSION_MANIFEST for name in versions),
        *(home.datasets / f"{snapshot}.jsonl" for snapshot in snapshots if snapshot),
        *map(home.image, images),
    ]
    return {path.relative_to(home.root).as_posix() for path in paths}


def _add_files(tar: tarfile.TarFile, home: Home, scratch: Path) -> dict[str, tuple[str, int]]:
    """Add all files to the archive; returns their entries for the manifest."""
    written = {home.database.name: _add(tar, home.database.name, scratch / "database")}
    for path in _files(home):
        name = path.relative_to(home.root).as_posix()
        with suppress(FileNotFoundError):  # deleted since the directory was listed
            if is_sqlite_file(path):
                copy_sqlite(path, scratch / "other")
                written[name] = _add(tar, name, scratch / "other")
                (scratch / "other").unlink()
            else:
                written[name] = _add(tar, name, path)
    return written


def _files(home: Home) -> Iterator[Path]:
    """The files of a backup, without the database."""
    for directory, folders, names in os.walk(home.root):
        here = Path(directory)
        folders[:] = sorted(name for name in folders if _belongs(home, here.relative_to(home.root) / name))
        for name in sorted(names):
            path = here / name
            if path.is_symlink() or not path.is_file() or path == home.database:
                continue
            if _belongs(home, path.relative_to(home.root)):
                yield path


def _belongs(home: Home, name: PurePath) -> bool:
    """Whether a file or directory of that name below the home is for a backup to keep.

    Not what is of the moment, not keys and passwords, no part of a SQLite database that its copy contains, and no
    temporary file or directory of `atomically` or of the version store; but Label Studio may call its own files as it
    likes.
    """
    top = name.parts[0]
    if top in PASSING or top in SECRET or name.name.endswith(_BESIDE_SQLITE):
        return False
    return top == home.label_studio.name or not any(part.startswith(".") for part in name.parts)


def _add(tar: tarfile.TarFile, name: str, path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size  # what is appended meanwhile is left to the next backup
        hashing = _Hashing(file, size)
        tar.addfile(_entry(name, size), hashing)  # type: ignore[arg-type]
        return hashing.hexdigest(), size


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(utc_now().timestamp())
    return entry


class _Hashing:
    """The first bytes of a file, hashed as they are read."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size
        self._digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block = self._file.read(min(size, self._left))
        self._left -= len(block)
        self._digest.update(block)
        return block

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A directory for temporary copies beside the backup, on a disk that needs the space anyway."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as name:
        yield Path(name)


# Putting it back -----------------------------------------------------------------------------------------------------


def restore_backup(file: Path, home: Home, database: Database) -> Backup:
    """Restore a backup into an empty home directory. Nothing of it is visible there until all of it is verified.

    Args:
        database: target of its rows: in the home directory, or an empty database elsewhere.

    Raises:
        BackupError: the archive is damaged, truncated or not a backup.
        BusyError: the home directory or the database is not empty.
        ServiceError: the database does not answer.
    """
    _require_empty_directory(home.root)
    is_inside = sqlite_file(database) == home.database
    if not is_inside:
        database.migrate()
        require_empty(database)
    # The home may be a mounted volume, which cannot be replaced by renaming.
    inside = home.root.is_mount()
    place = home.root if inside else home.root.parent
    try:
        with unfinished_directory(place, prefix=_STAGING) as staging:
            restored = _unpack(file, staging)
            copy = staging / home.database.name
            check(copy)
            if not is_inside:
                load(copy, database)
                copy.unlink()
            _settle(staging)
            if inside:
                # The database at the end: without it, the home still counts as empty.
                for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == home.database.name):
                    entry.rename(home.root / entry.name)
            else:
                staging.rename(home.root)  # in the place of an empty directory, too
            return restored
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"The backup cannot be put into {home.root}: {error}. Nothing of it is kept.") from error


def read_backup(file: Path) -> Backup:
    """The manifest of an archive, after verifying every file; nothing is restored.

    Raises:
        BackupError: the archive is damaged, truncated or not a backup.
    """
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as name:
        return _unpack(file, Path(name))


def _require_empty_directory(directory: Path) -> None:
    found = sorted(path.name for path in directory.iterdir() if path.name != "lost+found") if directory.exists() else []
    if found:
        raise BusyError(
            f"{directory} is not empty: there is {found[0]}{' and more' if found[1:] else ''}. A backup goes only into "
            "an empty home directory: end what runs there and move it away, or set CAPTIONLOOP_HOME to another one."
        )


def _unpack(file: Path, target: Path) -> Backup:
    """Unpack an archive into a directory and compare every file with the manifest."""
    found: dict[str, tuple[str, int]] = {}
    backup = None
    if file.exists() and not file.is_file():
        raise BackupError(f"{file} is no regular file; name the backup itself.")
    try:
        with tarfile.open(file, "r:") as tar:
            for entry in tar:
                if backup is not None:
                    raise BackupError(f"{file} has {entry.name!r} behind its manifest, and is not as it was made.")
                if entry.name == MANIFEST:
                    backup = Backup.from_bytes(_content(tar, entry, largest=_LARGEST_MANIFEST))
                else:
                    found[entry.name] = _extract(tar, entry, target)
    except (tarfile.TarError, EOFError, ValueError, KeyError) as error:  # the latter two of headers made to harm
        raise BackupError(f"{file} is damaged or no backup of Captionloop ({error}). Nothing was put back.") from error
    except FileNotFoundError as error:
        raise BackupError(f"There is no file {file}.") from error
    if backup is None:
        raise BackupError(
            f"{file} is cut short: its end, with the list of what is in it, is missing. Take another one."
        )
    for name in sorted(found.keys() | backup.files.keys()):
        if found.get(name) != backup.files.get(name):
            raise BackupError(
                f"{file} is damaged: {name} is not what it was when the backup was made. Nothing was put back; take "
                "another backup."
            )
    return backup


def _extract(tar: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> tuple[str, int]:
    """Write one file. Anything but a plain file below the target is refused, and what no backup keeps."""
    name = PurePosixPath(entry.name)
    is_plain = entry.isreg() and not entry.issparse() and bool(name.parts)
    is_below = not name.is_absolute() and ".." not in name.parts and "\\" not in entry.name
    if not (is_plain and is_below and _belongs(Home(target), name)):
        raise BackupError(
            f"The archive holds {entry.name!r}, which is no file that a backup has. Nothing was put back."
        )
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(entry)
    assert source is not None  # as it is a plain file
    digest = hashlib.sha256()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BackupError(f"The archive holds {entry.name!r} twice, and is not as it was made.") from error
    with os.fdopen(handle, "wb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), entry.size


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo, *, largest: int) -> bytes:
    source = tar.extractfile(entry) if entry.isreg() else None
    if source is None or not 0 <= entry.size <= largest:
        raise BackupError(f"The backup's {entry.name} is no manifest.")
    return source.read()


def _settle(directory: Path) -> None:
    """Make all directories private, and sync them to disk before they become visible."""
    for path in [directory, *(path for path in directory.rglob("*") if path.is_dir())]:
        path.chmod(0o700)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
