"""The Label Studio that `captionloop up` starts: installed into a virtual environment of its own, on loopback only.

It cannot live in ours: it pins `redis` and `rq` to older versions. What it needs in its environment, and why, is in
`docs/label-studio.md`.
"""

import fcntl
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from captionloop.backend.local.ports import LOOPBACK
from captionloop.backend.local.processes import Process, Program, how_it_ended
from captionloop.errors import ServiceError
from captionloop.home import read_json, write_json
from captionloop.settings import LABEL_STUDIO_VERSION, Secret

# A first start migrates an empty database: 25 s on an idle machine, many times that on a busy one. A Label Studio that
# dies is noticed at once.
_READY_WITHIN_S = 900.0
_COMPLETE = "complete.json"
# Of our own environment, Label Studio gets what a program needs to run at all. It reads hundreds of variables, also
# without its prefix (HOST, DEBUG, PORT, SECRET_KEY …), and one meant for something else would change it.
_INHERITED = {"HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER"}
_PROXIES = {"http_proxy", "https_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle"}

_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",  # else our token is refused
    "ML_BLOCK_LOCAL_IP": "false",  # else a backend on a loopback address is refused
    "SSRF_PROTECTION_ENABLED": "false",  # else the backend is saved, but its webhook is not
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",  # else it asks the package index at every start
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
}


@dataclass(frozen=True)
class Login:
    """The account that Label Studio makes at its first start; `token` is a legacy one, 40 hex digits."""

    email: str
    password: Secret
    token: Secret


def install(
    cache: Path,
    *,
    progress: Callable[[str], None],
    version: str = LABEL_STUDIO_VERSION,
    requirement: str | None = None,
) -> Path:
    """Make sure that Label Studio is installed below `cache`; gives its command.

    Several may call it at once: one installs, the others wait. What a crash leaves half made is made anew.

    Args:
        progress: called often while there is something to wait for, with what is being done.
        version: by default the one that everything here is written for; each has an environment beside the others.
        requirement: what pip installs, where that is not this version from the package index.

    Raises:
        ServiceError: pip failed.
    """
    venv = _venv(cache, version)
    command = venv / "bin" / "label-studio"
    cache.mkdir(parents=True, exist_ok=True)
    with _sole_installer(_beside(venv, ".lock"), progress):
        if not _is_complete(venv, version):
            _make(venv, requirement or f"label-studio=={version}", progress)
            if not command.exists():
                raise ServiceError(f"pip ended well, but there is no {command}. Delete {venv} and try again.")
            write_json(venv / _COMPLETE, {"label_studio": version})
    return command


def is_installed(cache: Path, version: str = LABEL_STUDIO_VERSION) -> bool:
    return _is_complete(_venv(cache, version), version)


def program(command: Path, *, data: Path, port: int, login: Login) -> Program:
    """Label Studio on `port` of the loopback address, with its data in `data`."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name in _INHERITED or name.lower() in _PROXIES}
    environment |= _ENVIRONMENT | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": login.email,
        "LABEL_STUDIO_PASSWORD": login.password.reveal(),
        "LABEL_STUDIO_USER_TOKEN": login.token.reveal(),
    }
    arguments = ("start", "--no-browser", "--internal-host", LOOPBACK, "--port", str(port))
    return Program("label-studio", (str(command), *arguments), environment, directory=data, grace_s=3.0)


def has_data(data: Path) -> bool:
    """True when a Label Studio has been started in `data` far enough to hold an account."""
    database = data / "label_studio.sqlite3"
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("SELECT count(*) FROM htx_user").fetchone()[0])
    except sqlite3.Error:
        return False


def is_healthy(url: str, *, timeout_s: float = 2.0) -> bool:
    try:
        with urlopen(f"{url}/health", timeout=timeout_s) as answer:  # noqa: S310 (our own address, or a checked setting)
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def wait_until_ready(url: str, *, meanwhile: Callable[[], None], within_s: float = _READY_WITHIN_S) -> None:
    """Wait until Label Studio answers; `meanwhile` is called several times a second and may raise.

    Raises:
        ServiceError: it did not answer in time.
    """
    deadline = time.monotonic() + within_s
    while not is_healthy(url):
        meanwhile()
        if time.monotonic() > deadline:
            raise ServiceError(f"Label Studio at {url} did not answer within {within_s:.0f} s.")
        time.sleep(0.1)


def _venv(cache: Path, version: str) -> Path:
    return cache / f"label-studio-{version}-py{sys.version_info.major}.{sys.version_info.minor}"


def _beside(venv: Path, suffix: str) -> Path:
    return venv.with_name(venv.name + suffix)


def _make(venv: Path, requirement: str, progress: Callable[[str], None]) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    log = _beside(venv, ".log")
    log.unlink(missing_ok=True)
    # The guard ends pip together with us, so that no pip works on in a directory that the next installer takes over.
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    environment["PYTHONUNBUFFERED"] = "1"
    pip = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-compile", "--progress-bar", "off")
    _run((sys.executable, "-m", "venv", str(venv)), environment, log=log, progress=progress)
    _run((str(venv / "bin" / "python"), *pip, requirement), environment, log=log, progress=progress)


def _run(command: tuple[str, ...], environment: dict[str, str], *, log: Path, progress: Callable[[str], None]) -> None:
    process = Process(Program("pip", command, environment), log=log)
    process.start()
    try:
        while (code := process.exit_code()) is None:
            progress(_last_doing(process))
            time.sleep(0.5)
    finally:
        process.stop()
    if code:
        raise ServiceError(
            f"Label Studio could not be installed: {' '.join(command[1:4])} "
            f"{how_it_ended(code)}. If the package index cannot be reached from here, set LABEL_STUDIO_URL and "
            f"LABEL_STUDIO_API_KEY to one that runs already. The log is {log} and ends with:\n{process.last_lines(6)}"
        )


def _last_doing(process: Process) -> str:
    """What pip said last about what it does, short enough for a line."""
    doing = ("Collecting", "Downloading", "Using cached", "Building", "Installing")
    lines = [line.strip() for line in process.last_lines(50).splitlines()]
    found = next((line for line in reversed(lines) if line.startswith(doing)), "")
    return "installing the packages" if found.startswith("Installing") else found.partition(" (")[0][:60]


def _is_complete(venv: Path, version: str) -> bool:
    # The python is a link, which dangles once the system's own Python was replaced.
    return read_json(venv / _COMPLETE).get("label_studio") == version and (venv / "bin" / "python").exists()


@contextmanager
def _sole_installer(lock: Path, progress: Callable[[str], None]) -> Iterator[None]:
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress("waiting for another Captionloop that installs it")
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)
