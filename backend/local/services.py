"""Logins, addresses and process ids of `captionloop up`, for itself and other commands.

`secrets.json` is written once, with passwords and tokens encrypted; `services.json` describes the present `up`, or the
last one.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop.backend.local import redis_server
from captionloop.backend.local.label_studio_server import Login, has_data
from captionloop.backend.local.processes import is_owned
from captionloop.errors import CaptionloopError
from captionloop.home import Home, read_json, write_json
from captionloop.seal import Seal, is_sealed
from captionloop.settings import LOCAL_SERVER, Secret, Settings

if TYPE_CHECKING:
    from captionloop.backend.projects.connect import Connection
    from captionloop.jobs.context import Context

_EMAIL = "captionloop@localhost"
_BACKEND_USER = "captionloop"
_SEALED = frozenset({"password", "token"})  # encrypted in the file


def login(home: Home, *, key: Secret | None = None) -> Login | None:
    """The account on the Label Studio that `up` starts; None if it never did.

    Args:
        key: CAPTIONLOOP_KEY, here and below.

    Raises:
        LostKeyError: it was encrypted with an unknown key.
    """
    found = _secrets(home, key).get("label_studio")
    return Login(found["email"], Secret(found["password"]), Secret(found["token"])) if found else None


def backend_password(home: Home, *, key: Secret | None = None) -> Secret | None:
    """The backend's password that `up` created; None if it never did.

    Raises:
        LostKeyError: as above.
    """
    found = _secrets(home, key).get("backend")
    return Secret(found["password"]) if found else None


def ensure_secrets(home: Home, *, key: Secret | None = None) -> Login:
    """Create the logins if missing; returns the one for Label Studio.

    Raises:
        LostKeyError: as above.
    """
    kept = _secrets(home, key)
    if "label_studio" not in kept or "backend" not in kept:
        made = {
            "label_studio": {
                "email": _new_email(home),
                "password": _new_password(),
                "token": secrets.token_hex(20),
            },
            "backend": {"user": _BACKEND_USER, "password": _new_password()},
        }
        _write_secrets(home, key, made | kept)
    elif not _is_all_sealed(home):
        _write_secrets(home, key, kept)
    made_login = login(home, key=key)
    assert made_login is not None
    return made_login


def seal_again(home: Home, *, key: Secret | None = None) -> int:
    """Encrypt the secrets of `up` again; returns their number.

    Raises:
        LostKeyError: as above.
    """
    kept = _secrets(home, key)
    if kept:
        _write_secrets(home, key, kept)
    return sum(name in _SEALED for account in kept.values() for name in account)


def complete(settings: Settings) -> Settings:
    """The settings, with unset ones filled in by the services of `captionloop up` in that home, running or not."""
    home = Home(settings.home)
    found: dict[str, Any] = {}
    services = _read(home.services)
    if settings.redis_url is None:
        found["redis_url"] = redis_server.url(home.redis_socket)
    if settings.label_studio_url is None and (account := login(home, key=settings.key)) is not None:
        found["label_studio_url"] = services.get("label_studio_url", local_url(settings.label_studio_port))
        found["label_studio_api_key"] = account.token
        found["server"] = settings.server or LOCAL_SERVER
    if settings.backend_url is None and "backend_url" in services:
        found["backend_url"] = services["backend_url"]
    if settings.password is None and (backend := _secrets(home, settings.key).get("backend")):
        found["user"], found["password"] = backend["user"], Secret(backend["password"])
    return replace(settings, **found)


def is_ready(home: Home) -> bool:
    """Whether an `up` runs in this home and is ready."""
    return is_owned(home) and bool(_read(home.services).get("ready"))


def local_url(port: int) -> str:
    return f"http://localhost:{port}"


def attach(
    context: "Context",
    project_id: int,
    *,
    control: str | None = None,
    is_sample: bool = False,
    improves: bool = False,
) -> "Connection":
    """Attach the backend of these settings to a project; see `projects.connect` for arguments and errors."""
    from captionloop.backend.projects.connect import connect

    settings = context.settings
    return connect(
        project_id,
        label_studio=context.label_studio,
        database=context.database,
        seal=context.seal,
        server=settings.server_name,
        backend_url=settings.backend_url or local_url(settings.port),
        user=settings.user,
        password=settings.password.reveal() if settings.password else None,
        control=control,
        is_sample=is_sample,
        improves=improves,
    )


def _new_email(home: Home) -> str:
    """The usual address, or another one if Label Studio has that account and its password is lost.

    Label Studio then creates a second account in the same organisation, which sees all projects.
    """
    if not has_data(home.label_studio):
        return _EMAIL
    return _EMAIL.replace("@", f"-{secrets.token_hex(2)}@")


def _new_password() -> str:
    """60 random bits, easy to type: three groups of four letters and digits, without similar-looking ones."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(3))


def _secrets(home: Home, key: Secret | None) -> dict[str, dict[str, str]]:
    """The content of the file, decrypted."""
    seal = Seal(home, key)
    lost = f"end `captionloop up`, move {home.secrets} away, and start it again: it makes new logins."

    def opened(name: str, value: str) -> str:
        return seal.decrypt(value, what=f"The {name} in {home.secrets}", lost=lost) if name in _SEALED else value

    return _each(_read(home.secrets), opened)


def _write_secrets(home: Home, key: Secret | None, found: dict[str, dict[str, str]]) -> None:
    seal = Seal(home, key)
    write_json(home.secrets, _each(found, lambda name, value: seal.encrypt(value) if name in _SEALED else value))


def _is_all_sealed(home: Home) -> bool:
    accounts = _read(home.secrets).values()
    return all(is_sealed(account[name]) for account in accounts for name in _SEALED & account.keys())


def _each(accounts: dict[str, Any], change: Callable[[str, str], str]) -> dict[str, dict[str, str]]:
    return {
        whose: {name: change(name, value) for name, value in account.items()} for whose, account in accounts.items()
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except ValueError as error:
        raise CaptionloopError(f"{path} is not JSON ({error}). Restore it from a backup, or move it away.") from error
