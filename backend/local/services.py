"""What `captionloop up` made and runs, for itself and for every other command: addresses, logins, process ids.

`secrets.json` is written once and kept; `services.json` tells of the present `up`, or of the last one.
"""

import secrets
from dataclasses import replace
from typing import Any

from captionloop.backend.local import redis_server
from captionloop.backend.local.label_studio_server import Login, has_data
from captionloop.backend.local.processes import is_owned
from captionloop.errors import CaptionloopError
from captionloop.home import Home, read_json, write_json
from captionloop.settings import LOCAL_SERVER, Secret, Settings

_EMAIL = "captionloop@localhost"
_BACKEND_USER = "captionloop"


def login(home: Home) -> Login | None:
    """The account on the Label Studio that `up` starts; None when it never did."""
    found = _read(home, "secrets").get("label_studio")
    return Login(found["email"], Secret(found["password"]), Secret(found["token"])) if found else None


def backend_password(home: Home) -> Secret | None:
    """The backend's password that `up` made; None when it never did."""
    found = _read(home, "secrets").get("backend")
    return Secret(found["password"]) if found else None


def ensure_secrets(home: Home) -> Login:
    """Make the logins when there are none, and keep those there are; gives the one for Label Studio."""
    kept = _read(home, "secrets")
    if "label_studio" not in kept or "backend" not in kept:
        made = {
            "label_studio": {
                "email": _new_email(home),
                "password": _new_password(),
                "token": secrets.token_hex(20),
            },
            "backend": {"user": _BACKEND_USER, "password": _new_password()},
        }
        write_json(home.secrets, made | kept)
    made_login = login(home)
    assert made_login is not None
    return made_login


def complete(settings: Settings) -> Settings:
    """The settings, and for what they leave open, the services of `captionloop up` in that home.

    It says where they would be, whether or not they run at this moment.
    """
    home = Home(settings.home)
    found: dict[str, Any] = {}
    services = _read(home, "services")
    if settings.redis_url is None:
        found["redis_url"] = redis_server.url(home.redis_socket)
    if settings.label_studio_url is None and (account := login(home)) is not None:
        found["label_studio_url"] = services.get("label_studio_url", local_url(settings.label_studio_port))
        found["label_studio_api_key"] = account.token
        found["server"] = settings.server or LOCAL_SERVER
    if settings.backend_url is None and "backend_url" in services:
        found["backend_url"] = services["backend_url"]
    if settings.password is None and (backend := _read(home, "secrets").get("backend")):
        found["user"], found["password"] = backend["user"], Secret(backend["password"])
    return replace(settings, **found)


def is_ready(home: Home) -> bool:
    """True while an `up` runs in this home and has brought everything up."""
    return is_owned(home) and bool(_read(home, "services").get("ready"))


def local_url(port: int) -> str:
    return f"http://localhost:{port}"


def _new_email(home: Home) -> str:
    """The usual address, or another one when Label Studio has that account and its password is lost.

    Label Studio then makes a second account in the same organisation, which sees all projects.
    """
    if not has_data(home.label_studio):
        return _EMAIL
    return _EMAIL.replace("@", f"-{secrets.token_hex(2)}@")


def _new_password() -> str:
    """60 random bits, easy to read off a screen: three groups of four letters and digits, none that look alike."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(3))


def _read(home: Home, which: str) -> dict[str, Any]:
    path = home.secrets if which == "secrets" else home.services
    try:
        return read_json(path)
    except ValueError as error:
        raise CaptionloopError(f"{path} is not JSON ({error}). Restore it from a backup, or move it away.") from error
