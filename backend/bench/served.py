"""Both sides as servers that several people ask at once over HTTP, each for one picture."""

from __future__ import annotations

import base64
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from captionloop.backend.bench.settings import CLIENTS
from captionloop.backend.bench.turns import Turn
from captionloop.backend.local import redis_server
from captionloop.backend.local.ports import free_port
from captionloop.backend.local.processes import Process
from captionloop.errors import ServiceError

_CONFIG = '<View><Image name="image" value="$image"/><TextArea name="caption" toName="image"/></View>'
_READY_WITHIN_S = 180
_ANSWER_WITHIN_S = 300


class Server:
    """A server that is asked about pictures, each time about others.

    Args:
        address: of the server.
        pictures: JPEG files.
    """

    def __init__(self, address: str, pictures: Sequence[bytes]) -> None:
        self._address = address
        self._tasks = (
            {"id": number, "data": {"image": "data:image/jpeg;base64," + base64.b64encode(picture).decode()}}
            for number, picture in enumerate(itertools.cycle(pictures))
        )

    def turn(self, amount: int) -> Turn:
        """Let all clients ask, until so many captions have come."""
        tasks = list(itertools.islice(self._tasks, amount))
        begun = time.perf_counter()
        with httpx.Client(trust_env=False, timeout=_ANSWER_WITHIN_S) as client, ThreadPoolExecutor(CLIENTS) as people:
            list(people.map(lambda task: self._ask(client, task), tasks))
        return Turn(amount, time.perf_counter() - begun)

    def _ask(self, client: httpx.Client, task: Mapping[str, object]) -> None:
        body = {"tasks": [task], "project": "1.1", "label_config": _CONFIG}
        answer = client.post(f"{self._address}/predict", json=body).raise_for_status().json()
        if not answer["results"][0]["result"]:
            raise ServiceError(f"{self._address} answered without a caption: {answer}")


@contextmanager
def our_server(model: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """`captionloop serve` in a home of its own. Gives its address."""
    with tempfile.TemporaryDirectory(prefix="captionloop-") as home, ExitStack() as stack:
        socket = Path(home) / "redis.sock"
        redis = Process(redis_server.program(socket), log=Path(home) / "redis.log")
        redis.start()
        stack.callback(redis.stop)
        redis_server.wait_until_ready(redis_server.url(socket), meanwhile=redis.require_running)
        port = free_port()
        ours = {
            "CAPTIONLOOP_HOME": home,
            "CAPTIONLOOP_MODEL": str(model),
            "CAPTIONLOOP_PORT": str(port),
            "LABEL_STUDIO_URL": "http://localhost:9",  # nothing answers there, at once
            "LABEL_STUDIO_API_KEY": "0" * 40,
            "REDIS_URL": redis_server.url(socket),
        }
        command = [sys.executable, "-c", "from captionloop.backend.cli import main; main()", "serve"]
        yield stack.enter_context(_running(command, ours | dict(environment), port, Path(home) / "serve.log"))


@contextmanager
def plain_server(model: Path, environment: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "captionloop.backend.bench.plain", "serve", str(model), str(port)]
    with (
        tempfile.TemporaryDirectory(prefix="captionloop-") as directory,
        _running(command, environment, port, Path(directory) / "log") as address,
    ):
        yield address


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str], port: int, log: Path) -> Iterator[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAPTIONLOOP_")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=kept | dict(environment), cwd=log.parent, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            if httpx.get(f"{address}/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ServiceError(f"The benchmark's server did not start:\n{said}")
        time.sleep(0.2)
