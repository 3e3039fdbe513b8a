"""The deadline of a whole HTTP exchange holds against every kind of slow server."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from captionloop.backend.label_studio.deadlines import TimedNetwork, client_on, until
from captionloop.backend.label_studio.network_environment import certificates, proxy_for

LIMIT_S = 0.4
# What a busy machine may add to the limit; without one each of these servers goes on for 30 s.
AMPLE_S = 10.0


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Starts a server that treats its first connection as it is told; gives its address."""
    listeners: list[socket.socket] = []

    def start(treat: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    treat(connection)
            except OSError:
                pass  # the client has gone

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with client_on(TimedNetwork(), certificates=certificates(), timeout=30.0) as made:
        yield made


def _again_and_again(piece: bytes) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        for _ in range(3000):
            connection.sendall(piece)
            time.sleep(0.01)

    return send


def _silent(connection: socket.socket) -> None:
    connection.recv(1)
    time.sleep(30)


@pytest.mark.parametrize(
    "treat",
    [
        _silent,
        _again_and_again(b"H"),
        _again_and_again(b"HTTP/1.1 100 Continue\r\n\r\n"),
        _again_and_again(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
        _again_and_again(b"HTTP/1.1 200 OK\r\nX: y\r\n"),
    ],
    ids=["silence", "a letter at a time", "100 for ever", "103 for ever", "headers for ever"],
)
def test_an_answer_that_does_not_come_is_given_up(
    server: Callable[..., str], client: httpx.Client, treat: Callable[[socket.socket], None]
) -> None:
    started = time.monotonic()
    with pytest.raises(httpx.TransportError), until(started + LIMIT_S):
        client.get(f"http://{server(treat)}/")
    assert time.monotonic() - started < AMPLE_S


def test_a_body_that_trickles_is_given_up(server: Callable[..., str], client: httpx.Client) -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        _again_and_again(b"x")(connection)

    started = time.monotonic()
    with pytest.raises(httpx.ReadTimeout), until(started + LIMIT_S):
        client.get(f"http://{server(trickle)}/")
    assert time.monotonic() - started < AMPLE_S


@pytest.mark.parametrize("piece", [b"\x16", b""], ids=["a byte at a time", "silence"])
def test_a_tls_handshake_that_does_not_end_is_given_up(
    server: Callable[..., str], client: httpx.Client, piece: bytes
) -> None:
    started = time.monotonic()
    with pytest.raises(httpx.TransportError), until(started + LIMIT_S):
        client.get(f"https://{server(_again_and_again(piece))}/")
    assert time.monotonic() - started < AMPLE_S


def test_a_request_that_nobody_reads_is_given_up(server: Callable[..., str], client: httpx.Client) -> None:
    started = time.monotonic()
    with pytest.raises(httpx.WriteTimeout), until(started + LIMIT_S):
        client.post(f"http://{server(lambda _: time.sleep(30))}/", content=bytes(50_000_000))
    assert time.monotonic() - started < AMPLE_S


def test_of_two_moments_the_earlier_counts(server: Callable[..., str], client: httpx.Client) -> None:
    started = time.monotonic()
    with until(started + LIMIT_S), until(started + 30), pytest.raises(httpx.ReadTimeout):
        client.get(f"http://{server(_silent)}/")
    assert time.monotonic() - started < AMPLE_S


def test_a_moment_is_for_its_block_alone(server: Callable[..., str], client: httpx.Client) -> None:
    with until(time.monotonic() - 1), pytest.raises(httpx.ConnectTimeout):
        client.get("http://127.0.0.1:9/")

    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    assert client.get(f"http://{server(answer)}/").text == "ok"


def test_the_way_through_a_proxy_is_limited_too(server: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{server(_again_and_again(b'H'))}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    started = time.monotonic()
    with (
        client_on(
            TimedNetwork(), certificates=certificates(), proxy=proxy_for("http://studio.test"), timeout=30.0
        ) as client,
        pytest.raises(httpx.TransportError),
        until(started + LIMIT_S),
    ):
        client.get("http://studio.test/")
    assert time.monotonic() - started < AMPLE_S
