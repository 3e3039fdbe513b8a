"""Both sides as HTTP servers with concurrent clients, each requesting one picture at a time."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from captionloop.backend.bench.settings import CLIENTS
from captionloop.backend.bench.turns import Turn
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.backend.local import redis_server
from captionloop.backend.local.ports import free_port
from captionloop.backend.local.processes import Process
from captionloop.errors import ServiceError

_READY_WITHIN_S = 180
_ANSWER_WITHIN_S = 300


class Server:
    """A server that was started a moment ago.

    Attributes:
        address: where it will answer.
        started: when it was started, by `time.perf_counter`.
        environment: its environment, for commands that should work with it.
        pid: its process id.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], port: int, directory: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CAPTIONLOOP_")}
        self.address = f"http://localhost:{port}"
        self._log = directory / "server.log"
        self.environment = kept | dict(environment)
        self.started = time.perf_counter()
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(command, env=self.environment, cwd=directory, stdout=output, stderr=output)
        self.pid = self._process.pid

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)

    def wait_for(self, path: str) -> float:
        """Wait until a GET is answered with 200; returns the seconds since the start.

        Raises:
            ServiceError: the server ended, or took minutes.
        """
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.address}{path}", trust_env=False).status_code == 200:
                    return time.perf_counter() - self.started
            if self._process.poll() is not None or time.perf_counter() - self.started > _READY_WITHIN_S:
                said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise ServiceError(f"The benchmark's server did not start:\n{said}")
            time.sleep(0.02)

    def turn(self, pictures: Sequence[bytes]) -> Turn:
        """Concurrent clients request captions, each of another picture, until all are done."""
        begun = time.perf_counter()
        with httpx.Client(trust_env=False, timeout=_ANSWER_WITHIN_S) as client, ThreadPoolExecutor(CLIENTS) as people:
            list(people.map(lambda picture: self._ask(client, picture), pictures))
        return Turn(len(pictures), time.perf_counter() - begun)

    def _ask(self, client: httpx.Client, picture: bytes) -> None:
        answer = client.post(f"{self.address}/predict", json=request_for(picture)).raise_for_status().json()
        if not answer["results"][0]["result"]:
            raise ServiceError(f"{self.address} answered without a caption: {answer}")


def request_for(jpeg: bytes) -> dict[str, Any]:
    """Label Studio's request to `/predict` when a task with this picture is opened."""
    task = {"id": 1, "data": {"image": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()}}
    return {"tasks": [task], "project": "1.1", "label_config": SAMPLE_LABEL_CONFIG}


@contextmanager
def our_server(environment: Mapping[str, str], *, home: Path | None = None) -> Iterator[Server]:
    """`captionloop serve` with a Redis of its own, and neither worker nor Label Studio.

    Args:
        environment: additional variables.
        home: None: an empty one.
    """
    with tempfile.TemporaryDirectory(prefix="captionloop-") as temporary, ExitStack() as stack:
        directory = Path(temporary)
        socket = directory / "redis.sock"
        redis = Process(redis_server.program(socket), log=directory / "redis.log")
        redis.start()
        stack.callback(redis.stop)
        redis_server.wait_until_ready(redis_server.url(socket), meanwhile=redis.require_running)
        port = free_port()
        ours = {
            "CAPTIONLOOP_HOME": str((home or directory / "home").resolve()),
            "CAPTIONLOOP_PORT": str(port),
            "CAPTIONLOOP_URL": f"http://localhost:{port}",
            "LABEL_STUDIO_URL": "http://localhost:9",  # nothing answers there, at once
            "LABEL_STUDIO_API_KEY": "0" * 40,
            "REDIS_URL": redis_server.url(socket),
        }
        command = [sys.executable, "-c", "from captionloop.backend.cli import main; main()", "serve"]
        server = Server(command, ours | dict(environment), port, directory)
        stack.callback(server.stop)
        yield server


@contextmanager
def plain_server(model: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "captionloop.backend.bench.plain", "serve", str(model), str(port)]
    with tempfile.TemporaryDirectory(prefix="captionloop-") as directory:
        server = Server(command, environment, port, Path(directory))
        try:
            yield server
        finally:
            server.stop()
