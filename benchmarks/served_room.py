"""The pages of a home as a real server gives them, for benchmarks and pictures: a Redis of its own, and no worker."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from captionloop.backend.local import redis_server
from captionloop.backend.local.ports import free_port
from captionloop.backend.local.processes import Process
from captionloop.home import Home


@dataclass(frozen=True)
class ServedRoom:
    """A server of the pages.

    Args:
        address: at which they answer.
        pid: the server's process.
        environment: what commands need that are to work with it.
    """

    address: str
    pid: int
    environment: Mapping[str, str]

    def cpu_s(self) -> float | None:
        """The processor time of all of the server's threads so far, in seconds; None where the system does not tell.

        What it took to answer does not depend on who else uses the machine, as the time on the clock does.
        """
        if sys.platform != "linux":
            return None
        return time.clock_gettime(~self.pid << 3 | 2)  # as clock_getcpuclockid(3) makes the clock of a process


USER, PASSWORD = "captionloop", "benchmark"
_READY_WITHIN_S = 120
_SERVE = (sys.executable, "-c", "from captionloop.backend.cli import main; main()", "serve")


@contextmanager
def served_room(home: Home) -> Iterator[ServedRoom]:
    """A server that answers with the pages of `home`."""
    with tempfile.TemporaryDirectory(prefix="captionloop-") as directory:
        socket = Path(directory) / "redis.sock"
        redis = Process(redis_server.program(socket), log=Path(directory) / "redis.log")
        port = free_port()
        address = f"http://localhost:{port}"
        environment = os.environ | {
            "CAPTIONLOOP_HOME": str(home.root.resolve()),
            "CAPTIONLOOP_PORT": str(port),
            "CAPTIONLOOP_URL": address,
            "CAPTIONLOOP_USER": USER,
            "CAPTIONLOOP_PASSWORD": PASSWORD,
            "CAPTIONLOOP_SERVER": "local",
            "LABEL_STUDIO_URL": "http://localhost:9",  # nothing answers there, at once
            "LABEL_STUDIO_API_KEY": "5" * 40,
            "REDIS_URL": redis_server.url(socket),
        }
        log = Path(directory) / "serve.log"
        try:
            redis.start()
            redis_server.wait_until_ready(redis_server.url(socket), meanwhile=redis.require_running)
            with log.open("wb") as output:
                server = subprocess.Popen(_SERVE, env=environment, cwd=directory, stdout=output, stderr=output)
            try:
                _wait_until_ready(address, server, log)
                yield ServedRoom(address, server.pid, environment)
            finally:
                server.terminate()
                server.wait(30)
        finally:
            redis.stop()


def _wait_until_ready(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            if httpx.get(f"{address}/health", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The server did not start:\n{log.read_text(encoding='utf-8')}")
        time.sleep(0.2)
