"""The Label Studio that `captionloop up` starts, on loopback only.

`docs/label-studio.md` explains the variables that it needs.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from captionloop.backend.local.ports import LOOPBACK
from captionloop.backend.local.processes import Program, wait_until
from captionloop.home import FOLDERS
from captionloop.settings import Secret

# A first start migrates an empty database: 25 s on an idle machine, many times that on a busy one. A Label Studio that
# dies is noticed at once.
_READY_WITHIN_S = 900.0
# Of our own environment, Label Studio gets what a program needs to run at all. It reads hundreds of variables, also
# without its prefix (HOST, DEBUG, PORT, SECRET_KEY …), and one meant for something else would change it.
_INHERITED = {"HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER"}
_PROXIES = {"http_proxy", "https_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle"}

_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": str(Path(__file__).with_name("in_label_studio")),
    "DJANGO_SETTINGS_MODULE": "captionloop_settings",
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
    """The account that Label Studio creates at its first start; `token` is a legacy token, 40 hex digits."""

    email: str
    password: Secret
    token: Secret


def program(command: Path, *, data: Path, port: int, login: Login) -> Program:
    """Label Studio on `port` of the loopback address, with its data in `data`.

    Of this machine's files it may serve those below `data/folders`, to projects that have a storage there.
    """
    folders = data / FOLDERS
    for directory in (data, folders):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name in _INHERITED or name.lower() in _PROXIES}
    environment |= _ENVIRONMENT | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(folders.absolute()),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_USERNAME": login.email,
        "LABEL_STUDIO_PASSWORD": login.password.reveal(),
        "LABEL_STUDIO_USER_TOKEN": login.token.reveal(),
    }
    arguments = ("start", "--no-browser", "--internal-host", LOOPBACK, "--port", str(port))
    return Program("label-studio", (str(command), *arguments), environment, directory=data, grace_s=3.0)


def has_data(data: Path) -> bool:
    """Whether a Label Studio in `data` has got as far as creating an account."""
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
        with urlopen(f"{url}/health", timeout=timeout_s) as answer:  # noqa: S310 (our own address)
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def wait_until_ready(url: str, *, meanwhile: Callable[[], None], within_s: float = _READY_WITHIN_S) -> None:
    """Wait until Label Studio answers; `meanwhile` is called several times a second and may raise.

    Raises:
        ServiceError: it did not answer in time.
    """
    too_late = f"Label Studio at {url} did not answer within {within_s:.0f} s."
    wait_until(lambda: is_healthy(url), meanwhile=meanwhile, within_s=within_s, too_late=too_late)
