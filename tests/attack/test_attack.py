"""`make attack`: the network cases of docs/security.md against a real instance, `captionloop serve`.

The cases are those of the tests of each part. Everything stays on loopback, in a home of its own, and one instance has
to survive all of it.
"""

import base64
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from tests.backend.label_studio.test_checked_network import NOT_PUBLIC
from tests.backend.pages.test_every_route import OF_FORMS
from tests.backend.pages.test_odd_requests import HARD, HEADERS, KNOWN_TO_BE_ODD, Call, calls
from tests.backend.server.test_arrivals import HALF_SENT
from tests.support.models import add_project
from tests.support.pictures import picture
from tests.support.processes import running, until
from tests.support.room import PASSWORD, READER_PASSWORD, USER, app_of, opened_room
from tests.support.servers import RedisServer
from tests.support.service import CONFIG

from captionloop.backend.local.ports import free_port
from captionloop.home import Home
from captionloop.model.database import Database

AUTH, READER = (USER, PASSWORD), ("reader", READER_PASSWORD)
PICTURES = "127.0.0.2"  # the one host that CAPTIONLOOP_IMAGE_HOSTS names
OPEN = {"/health", "/ready", "/login", "/static/<path:filename>"}
HOLDS_MANY = 300
_MANY_REQUESTS = 40


@dataclass(frozen=True)
class Instance:
    port: int
    log: Path
    app: Flask
    """An app of the same code, which says what addresses there are."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, *, of: str = "127.0.0.1", **options: Any) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=of)
        return httpx.Client(base_url=self.url, transport=transport, trust_env=False, timeout=30, **options)

    def connect(self, sent: bytes = b"") -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        opened.sendall(sent)
        return opened

    def require_answers(self, *, within_s: float = 10) -> None:
        """Alive, and of use to who has an account."""
        begun = time.monotonic()
        with self.client() as client:
            assert client.get("/health").status_code == 200
            assert client.get("/login").status_code == 200
            assert client.get("/api/v1/projects", auth=AUTH).status_code == 200
        assert time.monotonic() - begun < within_s

    def predict(self, *photos: str, project: int = 1) -> list[dict[str, Any]]:
        tasks = [{"id": number, "data": {"photo": photo}} for number, photo in enumerate(photos, start=1)]
        body = {"project": f"{project}.1", "label_config": CONFIG, "tasks": tasks}
        with self.client(auth=AUTH) as client:
            return list(client.post("/predict", json=body, timeout=100).raise_for_status().json()["results"])


@pytest.fixture(scope="module")
def instance(migrated: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    directory = tmp_path_factory.mktemp("attack")
    home, port, log = Home(directory / "home"), free_port(), directory / "backend.log"
    home.create()
    shutil.copy(migrated, home.database)
    database = Database(f"sqlite:///{home.database}")
    for number in (1, 2):
        add_project(database, number)
    database.close()
    redis_url = f"{redis_server.url}?db=3"
    environment = {
        "CAPTIONLOOP_HOME": str(home.root), "REDIS_URL": redis_url, "CAPTIONLOOP_PORT": str(port),
        "LABEL_STUDIO_URL": "http://localhost:9", "LABEL_STUDIO_API_KEY": "5" * 40, "CAPTIONLOOP_USER": USER,
        "CAPTIONLOOP_PASSWORD": PASSWORD, "CAPTIONLOOP_READER_PASSWORD": READER_PASSWORD,
        "CAPTIONLOOP_IMAGE_HOSTS": PICTURES, "CAPTIONLOOP_CACHE": str(directory / "cache"),
    }  # fmt: skip
    for name in [name for name in os.environ if name.startswith("CAPTIONLOOP_") and name not in environment]:
        del os.environ[name]
    with opened_room(home, redis_url) as room:
        app = app_of(room)
    with running("serve", log=log, environment=environment) as process:
        made = Instance(port, log, app)
        until(lambda: _is_up(made), within_s=120)
        yield made
        made.require_answers()
        assert process.poll() is None
        assert "unexpected error" not in log.read_text()


def _is_up(instance: Instance) -> bool:
    with suppress(httpx.HTTPError), instance.client() as client:
        return client.get("/health").status_code == 200
    return False


def every_call(instance: Instance) -> list[tuple[Call, str]]:
    return [(call, call.path(iter("11111"))) for call in calls(instance.app)]


class TestWhoHoldsPlaces:
    @pytest.mark.parametrize("sent", HALF_SENT.values(), ids=HALF_SENT)
    def test_keeps_nobody_from_an_answer(self, instance: Instance, sent: str) -> None:
        with ExitStack() as kept:
            for _ in range(HOLDS_MANY):
                with suppress(ConnectionError):
                    kept.enter_context(instance.connect(sent.encode()))
            instance.require_answers()

    @pytest.mark.parametrize("path", ["/login", "/predict", "/webhook", "/try", "/api/v1/projects/1/runs"])
    @pytest.mark.parametrize("auth", [None, ("lead", "wrong")])
    def test_does_not_have_a_large_body_read(self, instance: Instance, path: str, auth: tuple[str, str] | None) -> None:
        pair = f"Authorization: Basic {base64.b64encode(':'.join(auth).encode()).decode()}\r\n" if auth else ""
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{pair}Expect: 100-continue\r\nContent-Length: 200000000\r\n\r\n"
        with instance.connect(head.encode()) as opened:
            assert opened.recv(65536).startswith(b"HTTP/1.1 413")


class TestRoads:
    def test_no_address_but_the_open_ones_answers_strangers(self, instance: Instance) -> None:
        with instance.client() as client:
            answered = [
                (call.method, path)
                for call, path in every_call(instance)
                if call.rule.rule not in OPEN and not _is_refused(client.request(call.method, path))
            ]
        assert answered == []

    def test_the_reader_changes_nothing(self, instance: Instance) -> None:
        with instance.client(auth=READER) as client:
            changes = [(call, path) for call, path in every_call(instance) if call.method != "GET" and "api" in path]
            statuses = {path: client.request(call.method, path, json={}).status_code for call, path in changes}
        assert set(statuses.values()) == {403}, statuses

    @pytest.mark.parametrize("content_type", OF_FORMS)
    @pytest.mark.parametrize("path", ["/webhook", "/predict", "/setup", "/job_status"])
    def test_a_form_of_another_site_starts_nothing(self, instance: Instance, path: str, content_type: str) -> None:
        event = b'{"action": "START_TRAINING", "project": {"id": 1}, "x": "="}'
        with instance.client(auth=AUTH) as client:
            assert client.post(path, content=event, headers={"Content-Type": content_type}).status_code == 415
            named = {"Content-Type": "application/json", "Origin": "http://evil.example"}
            assert client.post(path, content=event, headers=named).status_code == 403

    def test_a_forged_event_does_nothing(self, instance: Instance) -> None:
        with instance.client() as client:
            for secret in ("", "guess", "secret-2"):
                headers = {"X-Captionloop-Secret": secret}
                event = {"action": "START_TRAINING", "project": {"id": 1}}
                assert client.post("/webhook", json=event, headers=headers).status_code == 403

    def test_guesses_from_label_studios_address_do_not_lock_it_out(self, instance: Instance) -> None:
        with instance.client(of="127.0.0.5") as client:
            assert client.post("/setup", json={}, auth=AUTH).status_code == 400
            guesses = [client.post("/setup", json={}, auth=(USER, str(n))).status_code for n in range(30)]
            assert (guesses[0], guesses[-1]) == (401, 429)
            assert client.post("/setup", json={}, auth=AUTH).status_code == 400
        with instance.client(of="127.0.0.6") as client:
            assert [client.post("/setup", json={}, auth=(USER, str(n))).status_code for n in range(11)][-1] == 429
            assert client.post("/setup", json={}, auth=AUTH).status_code == 429


def _is_refused(answer: httpx.Response) -> bool:
    return answer.status_code in {401, 403} or answer.headers.get("Location", "").startswith("/login")


class TestOddRequests:
    @pytest.mark.parametrize("query", KNOWN_TO_BE_ODD, ids=[query[:20] for query in KNOWN_TO_BE_ODD])
    def test_addresses(self, instance: Instance, query: str) -> None:
        with instance.client(auth=AUTH) as client:
            for call, path in every_call(instance):
                if call.method == "GET":
                    assert client.get(f"{path}?{query}").status_code < 500, path

    @pytest.mark.parametrize("body", HARD.values(), ids=HARD)
    def test_json(self, instance: Instance, body: str) -> None:
        headers = {"Content-Type": "application/json"}
        with instance.client(auth=AUTH, headers=headers) as client:
            for call, path in every_call(instance):
                if call.method == "POST":
                    assert client.post(path, content=body.encode()).status_code < 500, path

    @pytest.mark.parametrize("name", HEADERS)
    def test_headers(self, instance: Instance, name: str) -> None:
        for value in HEADERS[name]:
            for path in ("/", "/login", "/api/v1/projects", "/versions", "/static/room.css"):
                head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{name}: {value}\r\n\r\n"
                with instance.connect(head.encode("latin-1")) as opened:
                    opened.settimeout(5)
                    with suppress(TimeoutError):  # it waits for the body that a header announced
                        assert not opened.recv(65536).startswith(b"HTTP/1.1 5"), (path, value)


# What proxies and servers have read differently. Each holds a second request that must never be answered.
_HIDDEN = "GET /health HTTP/1.1\r\nHost: hidden\r\n\r\n"
_POST = "POST /login HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = {
    "length and chunks": f"{_POST}Content-Length: 6\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{_HIDDEN}",
    "two lengths": f"{_POST}Content-Length: 0\r\nContent-Length: 50\r\n\r\n{_HIDDEN}",
    "a length with a sign": f"{_POST}Content-Length: +0\r\n\r\n{_HIDDEN}",
    "a length in other digits": f"{_POST}Content-Length: 0x0\r\n\r\n{_HIDDEN}",
    "a space before the colon": f"{_POST}Content-Length : 0\r\n\r\n{_HIDDEN}",
    "chunks by another name": f"{_POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{_HIDDEN}",
    "chunks with a vertical tab": f"{_POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{_HIDDEN}",
    "a bare line feed": f"GET /login HTTP/1.1\r\nHost: x\nX: y\r\n\r\n{_HIDDEN}",
    "a folded header at the start": f"GET /login HTTP/1.1\r\n Host: x\r\n\r\n{_HIDDEN}",
    "a chunk that is longer than it says": f"{_POST}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n{_HIDDEN}",
    "a chunk of no number": f"{_POST}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{_HIDDEN}",
}


@pytest.mark.parametrize("sent", SMUGGLED.values(), ids=SMUGGLED)
def test_a_smuggled_request_is_not_answered(instance: Instance, sent: str) -> None:
    said = b""
    with instance.connect(sent.encode("latin-1")) as opened:
        opened.settimeout(2)
        with suppress(TimeoutError, ConnectionError):
            while piece := opened.recv(65536):
                said += piece
    assert said.count(b"HTTP/1.") <= 1
    assert b'"UP"' not in said
    assert not said.startswith(b"HTTP/1.1 500")


class _CanaryServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.over = threading.Event()


class _Canary(BaseHTTPRequestHandler):
    """Answers as badly as its path says; what is asked of the private one is kept."""

    asked: list[str] = []  # noqa: RUF012
    server: _CanaryServer

    def do_GET(self) -> None:
        if self.connection.getsockname()[0] != PICTURES:
            self.asked.append(self.path)
        with suppress(OSError):
            getattr(self, self.path.strip("/"), self.picture)()

    def hints(self) -> None:
        while not self.server.over.wait(0.05):
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    def drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not self.server.over.wait(0.05):
            self.wfile.write(b"x")

    def packed(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 3\r\n\r\nxxx")

    def inwards(self) -> None:
        self.wfile.write(f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{PRIVATE_PORT[0]}/secret\r\n\r\n".encode())

    def picture(self) -> None:
        self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


PRIVATE_PORT: list[int] = []


@contextmanager
def canary(host: str) -> Iterator[int]:
    server = _CanaryServer((host, 0), _Canary)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


class TestPictures:
    def test_from_no_private_address(self, instance: Instance) -> None:
        with canary("127.0.0.1") as port, canary(PICTURES) as allowed:
            PRIVATE_PORT[:] = [port]
            addresses = [address for group in NOT_PUBLIC.values() for address in group if "%" not in address]
            hosts = [f"[{address}]" if ":" in address else address for address in addresses]
            odd = ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "x@127.0.0.1", "127.0.0.1.", "①②⑦.0.0.1"]
            urls = [f"http://{host}:{port}/secret" for host in hosts + odd]
            urls += [
                f"http://{PICTURES}:{allowed}/inwards",
                f"file:///etc/passwd?{port}",
                f"gopher://127.0.0.1:{port}/",
            ]
            entries = instance.predict(*urls)

        assert _Canary.asked == []
        assert all(not entry.get("result") for entry in entries)

    def test_that_come_slowly_or_packed_delay_nobody_else(self, instance: Instance) -> None:
        instance.predict(picture("red"))  # loads the model
        with canary(PICTURES) as port:
            bad = [f"http://{PICTURES}:{port}/{kind}" for kind in ("hints", "drip", "packed") for _ in range(8)]
            other = threading.Thread(target=lambda: suppress_errors(instance, bad), daemon=True)
            other.start()
            time.sleep(1)
            begun = time.monotonic()

            for project in (1, 2):
                assert instance.predict(picture("blue"), project=project)[0]["result"]
            instance.require_answers()
            assert time.monotonic() - begun < 20

    def test_that_many_requests_of_a_project_wait_for_delay_no_other(self, instance: Instance) -> None:
        instance.predict(picture("red"))  # loads the model
        instance.predict(picture("red"), project=2)
        with ThreadPoolExecutor(_MANY_REQUESTS) as clients, canary(PICTURES) as port:
            for _ in range(_MANY_REQUESTS):
                clients.submit(suppress_errors, instance, [f"http://{PICTURES}:{port}/drip"])
            time.sleep(1)
            begun = time.monotonic()

            assert instance.predict(picture("green"), project=2)[0]["result"]
            instance.require_answers()
            assert time.monotonic() - begun < 20


def suppress_errors(instance: Instance, photos: list[str]) -> None:
    with suppress(httpx.HTTPError):
        instance.predict(*photos)


def test_nothing_of_it_forged_a_line_of_the_log(instance: Instance) -> None:
    forged = "2026-01-01 00:00:00,000 ERROR forged: by a client"
    with instance.client(auth=AUTH) as client:
        client.get(f"/nowhere%0d%0a{forged.replace(' ', '%20')}%1b[31m")
        client.post("/setup", json={"project": f"1\n{forged}\x1b[31m", "schema": "<View/>"})
    instance.predict(f"http://example.invalid/\n{forged}\x1b[31m")

    text = instance.log.read_text()
    assert not re.search("^2026-01-01", text, re.MULTILINE)
    assert "\x1b" not in text
