"""Slow, idle and large requests block no other client, and are limited."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from captionloop.backend.server.arrivals import Limits
from captionloop.backend.server.graceful_server import GracefulServer

LIMITS = Limits(header_s=30, body_s=30)  # as they are, but with so much time that room has to be made
KNOWN = "Authorization: Basic bGVhZDpyaWdodA==\r\n"
LARGE = b"an answer" * 20_000  # more than the sockets' buffers take here
CRLF = "\r\n"


@dataclass
class App:
    """Answers the length of what it is sent; `/slow` once it is let."""

    let: threading.Event = field(default_factory=threading.Event)
    at_work: list[str] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.at_work.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/slow":
            self.let.wait(60)
        length = len(environ["wsgi.input"].read())
        body = LARGE if environ["PATH_INFO"] == "/large" else str(length).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def waits_for(self, count: int) -> None:
        deadline = time.monotonic() + 10
        while len(self.at_work) < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@contextmanager
def running(app: App, limits: Limits = LIMITS, *, threads: int = 4) -> Iterator[int]:
    """The port of a server that knows who sends `KNOWN`."""
    stop = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    server = GracefulServer(
        app,
        listening=[listening],
        threads=threads,
        stop=stop,
        finish_within_s=1,
        limits=limits,
        may_send_much=lambda environ: "HTTP_AUTHORIZATION" in environ,
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.port
    finally:
        stop.set()
        app.let.set()
        thread.join()


@pytest.fixture
def app() -> App:
    return App()


def connect(port: int, sent: str = "", *, of: str = "127.0.0.1") -> socket.socket:
    opened = socket.socket()
    opened.settimeout(10)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    opened.bind((of, 0))
    opened.connect(("127.0.0.1", port))
    opened.sendall(sent.encode())
    return opened


def answer_of(opened: socket.socket) -> tuple[int, str]:
    """Status and the rest; (0, "") where the connection was closed without."""
    data = b""
    with suppress(ConnectionError):
        while piece := opened.recv(65536):
            data += piece
    status = re.match(rb"HTTP/1\.[01] (\d+)", data)
    return int(status[1]) if status else 0, data.decode("latin-1")


def asked(port: int, path: str = "/", *, body: bytes = b"", headers: str = "", of: str = "127.0.0.1") -> int:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    with connect(
        port, f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}{length}\r\n", of=of
    ) as opened:
        with suppress(ConnectionError):
            opened.sendall(body)
        return answer_of(opened)[0]


def is_open(opened: socket.socket) -> bool:
    opened.settimeout(0.05)
    try:
        return bool(opened.recv(1))
    except TimeoutError:
        return True
    except ConnectionError:
        return False


HALF_SENT = {
    "nothing": "",
    "half a header": "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "half a body": "POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nuser=",
    "half a chunk": "POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nuser=",
    "one that waits to be told to go on": (
        "POST /login HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
    ),
    "an answer that is not read": "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    "one request after which nothing comes": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


class TestManyThatWait:
    @pytest.mark.parametrize("sent", HALF_SENT.values(), ids=HALF_SENT)
    def test_keep_nobody_from_an_answer(self, app: App, sent: str) -> None:
        with running(app) as port, ExitStack() as kept:
            for _ in range(700):
                with suppress(ConnectionError):
                    kept.enter_context(connect(port, sent))
            begun = time.monotonic()

            assert asked(port, "/health") == 200
            assert asked(port, "/login", body=b"user=lead") == 200
            assert time.monotonic() - begun < LIMITS.header_s  # so not only once those that wait were too late

    def test_of_one_address_are_closed_before_one_of_another(self, app: App) -> None:
        with running(app) as port, ExitStack() as kept:
            slow = kept.enter_context(
                connect(port, "POST / HTTP/1.1\r\nConnection: close\r\nContent-Le", of="127.0.0.2")
            )
            for _ in range(400):
                kept.enter_context(connect(port, HALF_SENT["half a header"]))
            slow.sendall(b"ngth: 2\r\n\r\nhi")

            assert answer_of(slow)[0] == 200

    def test_of_many_addresses_are_closed_where_most_of_them_are(self, app: App) -> None:
        few = replace(LIMITS, waiting=20, waiting_per_address=15)
        with running(app, few) as port, ExitStack() as kept:
            lone = kept.enter_context(connect(port, HALF_SENT["half a header"], of="127.0.0.9"))
            many = [kept.enter_context(connect(port, of=f"127.0.0.{2 + n % 3}")) for n in range(40)]
            assert asked(port, "/health") == 200

            assert is_open(lone)
            assert sum(map(is_open, many)) <= 20

    def test_are_closed_before_a_connection_that_is_old_and_in_use(self, app: App) -> None:
        few = replace(LIMITS, waiting_per_address=20)
        with running(app, few) as port, ExitStack() as kept:
            old = kept.enter_context(connect(port, "GET / HTTP/1.1\r\n\r\n"))
            first = HTTPResponse(old)
            first.begin()
            assert (first.status, bool(first.read())) == (200, True)
            for _ in range(15):
                kept.enter_context(connect(port, HALF_SENT["half a header"]))
            assert asked(port, "/health") == 200
            old.sendall(b"GET / HTTP/1.1\r\nConnection: cl")
            time.sleep(0.3)
            for _ in range(15):
                kept.enter_context(connect(port, HALF_SENT["half a header"]))
            assert asked(port, "/health") == 200
            old.sendall(b"ose\r\n\r\n")

            assert answer_of(old)[0] == 200

    def test_do_not_end_what_somebody_known_sends(self, app: App) -> None:
        with running(app) as port, ExitStack() as kept:
            head = f"POST / HTTP/1.1\r\nConnection: close\r\n{KNOWN}Content-Length: 2000000\r\n\r\n"
            upload = kept.enter_context(connect(port, head))
            for _ in range(400):
                kept.enter_context(connect(port, HALF_SENT["half a header"]))
            upload.sendall(b"x" * 2_000_000)

            assert answer_of(upload)[0] == 200


def test_health_is_answered_while_every_thread_is_busy(app: App) -> None:
    with running(app, threads=2) as port, ExitStack() as kept:
        for _ in range(10):
            kept.enter_context(connect(port, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"))
        app.waits_for(2)

        assert asked(port, "/health") == 200


class TestTime:
    def trickle(self, opened: socket.socket, piece: bytes, *, for_s: float) -> None:
        end = time.monotonic() + for_s
        with suppress(ConnectionError):
            while time.monotonic() < end:
                opened.sendall(piece)
                time.sleep(0.05)

    @pytest.mark.parametrize("name", [name for name in HALF_SENT if name.startswith("half")])
    def test_a_byte_now_and_then_does_not_prolong_it(self, app: App, name: str) -> None:
        with running(app, Limits(header_s=0.5, body_s=0.5)) as port, connect(port, HALF_SENT[name]) as opened:
            begun = time.monotonic()
            self.trickle(opened, b"x", for_s=2)
            status, said = answer_of(opened)

        assert time.monotonic() - begun < 4
        assert status in {0, 408}
        assert "did not arrive in time" in said or status == 0

    def test_who_sends_half_a_request_and_waits_is_told(self, app: App) -> None:
        with running(app, Limits(header_s=0.5)) as port, connect(port, HALF_SENT["half a header"]) as opened:
            status, said = answer_of(opened)

        assert status == 408
        assert json.loads(said.rpartition(CRLF)[2])["error"].startswith("The request did not arrive in time")

    def test_who_connects_and_says_nothing_is_hung_up_on(self, app: App) -> None:
        with running(app, Limits(header_s=0.5)) as port, connect(port) as opened:
            assert answer_of(opened) == (0, "")

    def test_a_body_that_comes_at_a_good_pace_may_take_longer(self, app: App) -> None:
        head = "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n"
        with running(app, Limits(body_s=0.5, body_bytes_per_s=1000)) as port, connect(port, head) as opened:
            for _ in range(20):
                opened.sendall(b"x" * 1000)
                time.sleep(0.1)
            assert answer_of(opened)[0] == 200

    def test_a_connection_that_was_answered_may_be_used_again_later(self, app: App) -> None:
        with running(app, Limits(header_s=0.5)) as port, closing(HTTPConnection("127.0.0.1", port)) as opened:
            opened.connect()
            opened.auto_open = 0  # not a second connection in its place
            for _ in range(2):
                opened.request("GET", "/")
                answer = opened.getresponse()
                answer.read()
                assert answer.status == 200
                time.sleep(1)

    def test_an_answer_may_take_its_time(self, app: App) -> None:
        head = "GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n"
        with running(app, Limits(header_s=0.3, body_s=0.3)) as port, connect(port, head) as opened:
            time.sleep(1)
            app.let.set()
            assert answer_of(opened)[0] == 200


class TestSize:
    HEAD = "POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

    @pytest.mark.parametrize("also", ["", "Expect: 100-continue\r\n"], ids=["sent at once", "announced"])
    def test_a_stranger_is_refused_by_the_headers(self, app: App, also: str) -> None:
        with running(app) as port, connect(port, f"{self.HEAD}{also}Content-Length: 200000000\r\n\r\n") as opened:
            status, said = answer_of(opened)

        assert status == 413
        assert said.count("HTTP/1.1") == 1
        assert "1,000,000 bytes" in json.loads(said.rpartition(CRLF)[2])["error"]
        assert app.at_work == []

    def test_a_stranger_who_does_not_say_how_much_is_refused_when_it_is_too_much(self, app: App) -> None:
        with running(app) as port, connect(port, f"{self.HEAD}Transfer-Encoding: chunked\r\n\r\n") as opened:
            with suppress(ConnectionError):
                for _ in range(2000):
                    opened.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            status, _ = answer_of(opened)

        assert status in {0, 413}  # the answer may be lost, as more had been sent than was read
        assert app.at_work == []

    def test_a_stranger_may_send_a_little(self, app: App) -> None:
        with running(app) as port:
            assert asked(port, "/login", body=b"x" * 1_000_000) == 200

    @pytest.mark.parametrize(
        "head", ["Content-Length: 3000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2DC6C0\r\n"]
    )
    def test_somebody_known_may_send_much(self, app: App, head: str) -> None:
        with running(app) as port, connect(port, f"{self.HEAD}{KNOWN}{head}") as opened:
            opened.sendall(b"x" * 3_000_000 + (b"\r\n0\r\n\r\n" if "chunked" in head else b""))
            assert answer_of(opened)[1].endswith("3000000")

    def test_what_all_send_together_is_bounded(self, app: App) -> None:
        little = replace(LIMITS, bodies_bytes=5_000_000)
        head = f"{self.HEAD}{KNOWN}Content-Length: 3000000\r\n\r\n"
        with running(app, little) as port, connect(port, head) as first:
            first.sendall(b"x")
            time.sleep(0.3)
            with connect(port, head) as second:
                status, said = answer_of(second)
            assert (status, "Retry-After: " in said) == (503, True)
            first.sendall(b"x" * 2_999_999)
            assert answer_of(first)[0] == 200

            assert asked(port, body=b"x" * 3_000_000, headers=KNOWN) == 200

    def test_what_a_closed_connection_had_sent_is_forgotten(self, app: App) -> None:
        little = replace(LIMITS, bodies_bytes=5_000_000)
        with running(app, little) as port:
            for _ in range(5):
                with connect(port, f"{self.HEAD}{KNOWN}Content-Length: 3000000\r\n\r\nxxx"):
                    time.sleep(0.1)
            time.sleep(0.5)

            assert asked(port, body=b"x" * 3_000_000, headers=KNOWN) == 200
