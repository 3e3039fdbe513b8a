"""The layout of the home directory.

HOME/
├── captionloop.db        the database, unless CAPTIONLOOP_DATABASE_URL names another
├── secrets.json          created by `captionloop up`: logins, tokens, the backend's password; encrypted
├── session.key           signing key of the pages' cookies; encrypted
├── seal.keys             encryption keys of both, and of the secrets in the database; see `seal`
├── services.json         running services with addresses and process ids
├── sample.json           the sample project, and the canonical captions of its pictures
├── folders.json          the projects that were made of a directory of pictures; folders.lock: who makes one now
├── images/ab/abcd…       our own copies of annotated images, named by the SHA-256 of their bytes
├── features/             cached outputs of image encoders
├── versions/NAME/        one immutable `transformers` directory for each version
├── datasets/HASH.jsonl   one immutable snapshot for each run
├── thumbnails/, reports/ caches of the pages; may be deleted
├── comparisons/ID/FIRST--SECOND.json   two versions' captions of the same held-out images
├── runs/ID/NUMBER/       an attempt at a run: its checkpoint and the files it makes
├── runs/ID/FIRST/NUMBER/ the same for a trial of a sweep; FIRST is the number of the trial that it retries, or its own
├── tensorboard/ID/       TensorBoard's event files of each run
├── trackers/ID/          local data of MLflow and Weights & Biases of each run
├── logs/                 one file for each process that `captionloop up` starts
└── label-studio/         Label Studio's own data; folders/: links to all directories that it may serve files from
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionloop.errors import BusyError, StorageError
from captionloop.json_files import load_json

FOLDERS = "folders"  # in Label Studio's data
# Not in backups. Keys and passwords, which must be kept elsewhere or are created again:
SECRET = frozenset({"secrets.json", "session.key", "seal.keys"})
# and this can be made again, or is of the moment: caches, logs, what runs now, a run's own state, the demo's home.
PASSING = frozenset(
    {
        "captionloop.db-shm",
        "captionloop.db-wal",
        "demo",
        "features",
        "folders.lock",
        "huggingface",
        "logs",
        "lost+found",
        "redis.sock",
        "reports",
        "runs",
        "services.json",
        "thumbnails",
    }
)

_LONGEST_PREFIX = 200  # bytes

# A unix socket's address holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_LONGEST_SOCKET_PATH = 100


@dataclass(frozen=True)
class Home:
    """Paths below one home directory; creating the object touches nothing on disk."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "captionloop.db"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"

    @property
    def session_key(self) -> Path:
        """The signing key of the pages' cookies."""
        return self.root / "session.key"

    @property
    def seal_keys(self) -> Path:
        """The keys that secrets are encrypted with."""
        return self.root / "seal.keys"

    @property
    def thumbnails(self) -> Path:
        return self.root / "thumbnails"

    @property
    def reports(self) -> Path:
        """Versions' reports, as the pages show them."""
        return self.root / "reports"

    @property
    def services(self) -> Path:
        return self.root / "services.json"

    @property
    def folders(self) -> Path:
        """The only directory that Label Studio may serve files from, if we start it."""
        return self.label_studio / FOLDERS

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def versions(self) -> Path:
        return self.root / "versions"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def trackers(self) -> Path:
        return self.root / "trackers"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def label_studio(self) -> Path:
        return self.root / "label-studio"

    @property
    def redis_socket(self) -> Path:
        """The socket of the embedded Redis: in the home directory, or in a private short one when that is too deep."""
        inside = self.root / "redis.sock"
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET_PATH:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"captionloop-{os.getuid()}-{digest}" / "redis.sock"

    def comparison(self, project_id: int, first: str, second: str) -> Path:
        # Names of versions hold no "--". The project is named as well, since projects share their bases.
        return self.root / "comparisons" / str(project_id) / f"{first}--{second}.json"

    def attempt(self, run_id: str, number: int) -> Path:
        return self.runs / run_id / str(number)

    def image(self, sha256: str) -> Path:
        return self.images / sha256[:2] / sha256

    def create(self) -> None:
        """Create the home directory, private to its user."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)


@contextmanager
def storing(path: Path, *, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn disk errors of a block that writes below `path` into a `StorageError` with the remedy.

    Args:
        also: further exceptions that a library raises for disk errors, beside OSError.

    Raises:
        StorageError: the disk is full or read-only.
    """
    of_the_disk: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except of_the_disk as error:
        number = error.errno if isinstance(error, OSError) else None
        cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
        remedy = _REMEDIES.get(number or 0, "Look at that disk, and into the system's log")
        raise StorageError(f"{path} cannot be written ({cause}). {remedy}; then do the same again.") from error


@contextmanager
def alone(path: Path, *, busy: str) -> Iterator[None]:
    """Hold the lock file `path` for the time of a block. A kill releases it.

    Args:
        busy: what to say where another process holds it.

    Raises:
        BusyError: another process holds it.
        StorageError: it cannot be made.
    """
    with storing(path):
        lock = path.open("ab")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(busy) from error
        yield


_REMEDIES = {
    errno.ENOSPC: "Make room on its disk",
    errno.EDQUOT: "Make room on its disk, or raise the quota",
    errno.EFBIG: "Raise the limit on the size of files",
    errno.EROFS: "Mount its disk so that it may be written",
    errno.EACCES: "Let the user whom Captionloop runs as write there",
    errno.EPERM: "Let the user whom Captionloop runs as write there",
}


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file atomically: a crash leaves the old one or the new one.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with storing(path), atomically(path, mode=mode) as temporary:
        temporary.write_bytes(data)


def make_once(path: Path, data: bytes) -> bytes:
    """Create a file unless it exists; returns its content, the same for all concurrent callers."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            _rename_once(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path.read_bytes()


def _rename_once(temporary: str, path: Path) -> None:
    with storing(path), path.with_name(f".{path.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            os.replace(temporary, path)


@contextmanager
def atomically(path: Path, *, mode: int = 0o600) -> Iterator[Path]:
    """Yields the name of a temporary file, which replaces `path` at the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_temporary_prefix(path.name))
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary_prefix(name: str) -> str:
    """As much of a name as leaves room for `mkstemp`'s part: a name may have 255 bytes on most file systems."""
    return f".{os.fsencode(name)[:_LONGEST_PREFIX].decode(errors='ignore')}."


@contextmanager
def unfinished_directory(place: Path, *, prefix: str) -> Iterator[Path]:
    """A temporary directory in `place`, to be renamed when complete; otherwise it is removed.

    Raises:
        OSError: it cannot be created.
    """
    place.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=place, prefix=prefix))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no such file.

    Raises:
        ValueError: it has none.
    """
    try:
        found = load_json(path)
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"holds {type(found).__name__} instead of an object")
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(value, indent=2).encode())
