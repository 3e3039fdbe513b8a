"""How the backend ends: what is begun is answered, nothing new is taken."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from captionloop.backend.server.graceful_server import GracefulServer

BODY = b"an answer" * 100_000  # more than a socket's buffer takes at once


class App:
    """Answers once it is let."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let = threading.Event()

    def __call__(self, environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.begun.set()
        self.let.wait(20)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
        return [BODY]


@contextmanager
def running(app: App, *, threads: int = 4, finish_within_s: float = 20) -> Iterator[tuple[str, threading.Event, Any]]:
    stop = threading.Event()
    listening = [socket.create_server(("127.0.0.1", 0))]
    server = GracefulServer(
        app, listening=listening, threads=threads, stop=stop, may_send_much=bool, finish_within_s=finish_within_s
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}", stop, thread
    finally:
        stop.set()
        app.let.set()
        thread.join()


def ask(address: str, answers: list[object]) -> None:
    try:
        answers.append(httpx.get(address, timeout=30).content)
    except httpx.HTTPError as error:
        answers.append(error)


def asking(address: str, count: int, answers: list[object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=ask, args=(address, answers)) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def until_refused(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    pytest.fail("connections are still taken")


@pytest.mark.faults
def test_a_request_in_progress_is_finished_and_new_connections_are_refused() -> None:
    app, answers = App(), list[object]()
    with running(app) as (address, stop, server):
        [asker] = asking(address, 1, answers)
        app.begun.wait(10)
        stop.set()
        until_refused(address)
        app.let.set()
        asker.join()
        server.join(10)

        assert answers == [BODY]
        assert not server.is_alive()


def test_a_request_that_waits_for_a_thread_is_answered_too() -> None:
    app, answers = App(), list[object]()
    with running(app, threads=1) as (address, stop, _):
        askers = asking(address, 5, answers)
        app.begun.wait(10)
        time.sleep(0.5)  # until the others have arrived as well
        stop.set()
        until_refused(address)
        app.let.set()
        for asker in askers:
            asker.join()

    assert answers == [BODY] * 5


def test_an_idle_connection_does_not_keep_it() -> None:
    app = App()
    app.let.set()
    with running(app) as (address, stop, server), httpx.Client() as client:
        client.get(address)
        stop.set()
        server.join(5)

        assert not server.is_alive()


def test_a_request_that_takes_too_long_does_not_keep_the_server_from_ending() -> None:
    app, answers = App(), list[object]()
    with running(app, finish_within_s=0.5) as (address, stop, server):
        [asker] = asking(address, 1, answers)
        app.begun.wait(10)
        stop.set()
        server.join(5)
        ended = not server.is_alive()
        asker.join()

    assert ended
    assert isinstance(answers[0], httpx.HTTPError)
