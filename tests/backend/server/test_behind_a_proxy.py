"""The backend behind a real nginx, with clients that have addresses of their own."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.models import add_project, tiny_base
from tests.support.nginx import nginx_before
from tests.support.room import PASSWORD, USER, app_of, opened_room
from tests.support.served import running

from captionloop.backend.server.graceful_server import GracefulServer
from captionloop.backend.server.large_bodies import may_send_much
from captionloop.backend.server.proxies import BehindProxies
from captionloop.home import Home
from captionloop.hosts import Hosts
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.model.database import Database, RunKind

PROXY = "127.0.0.1"
GUESSER, LABEL_STUDIO = "127.0.0.2", "127.0.0.3"
GUESSES = 20

Serve = Callable[[str], str]


@pytest.fixture
def serve(database: Database, home: Home, redis_url: str, tmp_path: Path) -> Iterator[Serve]:
    """Start a backend that trusts these proxies; returns its address."""
    with ExitStack() as stack:
        base = tiny_base(tmp_path / "base").source
        add_project(database)

        def start(trusted: str) -> str:
            room = stack.enter_context(opened_room(home, redis_url, model=base))
            return stack.enter_context(_served(app_of(room), BehindProxies, Hosts.parse(trusted)))

        yield start


@contextmanager
def _served(app: object, kind: type[BehindProxies], trusted: Hosts) -> Iterator[str]:
    stop, wrapped = threading.Event(), kind(app, trusted)
    server = GracefulServer(
        wrapped, listening=[socket.create_server(("127.0.0.1", 0))], threads=4, stop=stop,
        may_send_much=may_send_much(app, wrapped.seen_through),  # type: ignore[arg-type]
    )  # fmt: skip
    with running(server, stop) as address:
        yield address


def ask(address: str, password: str, *, client: str, forwarded: str | None = None) -> int:
    """The status for a Basic pair that comes from an address."""
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=client), timeout=60) as browser:
        return browser.get(f"{address}/metrics", auth=(USER, password), headers=headers).status_code


def test_wrong_guesses_through_a_known_proxy_lock_out_the_guesser_alone(serve: Serve, tmp_path: Path) -> None:
    with nginx_before(serve(PROXY), tmp_path) as address:
        guesses = [ask(address, f"guess {number}", client=GUESSER) for number in range(GUESSES)]

        assert (guesses[0], guesses[-1]) == (401, 429)
        assert ask(address, PASSWORD, client=LABEL_STUDIO) == 200
        assert ask(address, PASSWORD, client=GUESSER) == 429


def test_what_the_guesser_writes_about_itself_does_not_count(serve: Serve, tmp_path: Path) -> None:
    with nginx_before(serve(PROXY), tmp_path) as address:
        for number in range(GUESSES):
            ask(address, f"guess {number}", client=GUESSER, forwarded=f"10.1.2.{number}, {PROXY}")

        assert ask(address, PASSWORD, client=GUESSER, forwarded=LABEL_STUDIO) == 429


@pytest.mark.parametrize("trusted", ["", PROXY])
def test_from_an_unknown_address_the_header_changes_nothing(serve: Serve, trusted: str) -> None:
    address = serve(trusted)
    for number in range(GUESSES):
        ask(address, f"guess {number}", client=GUESSER, forwarded=f"10.1.2.{number}")

    assert ask(address, PASSWORD, client=GUESSER, forwarded=LABEL_STUDIO) == 429
    assert ask(address, PASSWORD, client=LABEL_STUDIO, forwarded=GUESSER) == 200


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("10.9.9.9, 192.0.2.7", "192.0.2.7"),
        ("10.9.9.9, 192.0.2.7, 10.0.0.5", "192.0.2.7"),  # through two known proxies
        ("10.0.0.6", "10.0.0.6"),  # a known one asks for itself
        ("2001:db8::7", "2001:db8::7"),
        ("", "10.0.0.4"),
        ("unknown", "10.0.0.4"),
        ("192.0.2.7, 192.0.2.8:5555", "10.0.0.4"),  # else each port was another client
        ("192.0.2.7, ' OR 1=1", "10.0.0.4"),
    ],
)
def test_the_client_is_what_the_known_proxies_in_a_row_wrote(forwarded: str, client: str) -> None:
    proxies = BehindProxies(None, Hosts.parse("10.0.0.0/29"))

    for proxy in ("10.0.0.4", "::ffff:10.0.0.4"):
        environ = {"REMOTE_ADDR": proxy, "HTTP_X_FORWARDED_FOR": forwarded}
        assert proxies.seen_through(environ)["REMOTE_ADDR"] == (proxy if client == "10.0.0.4" else client)


def test_live_progress_comes_as_it_is_made(
    serve: Serve, database: Database, home: Home, redis_url: str, tmp_path: Path
) -> None:
    """nginx holds back what it gets until it has some kilobytes, unless it is told not to."""
    with opened_room(home, redis_url) as room:
        queue: Queue = room.context.queue
        run = queue.request(1, RunKind.FINETUNE, asked_by="test").run.id
        queue.runs.start(run)
    with (
        nginx_before(serve(PROXY), tmp_path) as address,
        httpx.Client(base_url=address, timeout=60, follow_redirects=True) as browser,
    ):
        form = browser.get("/login").text.partition('name="csrf_token" value="')[2].partition('"')[0]
        browser.post("/login", data={"user": USER, "password": PASSWORD, "csrf_token": form})
        with browser.stream("GET", f"/projects/1/live?run={run}", timeout=httpx.Timeout(60, read=3)) as live:
            pieces = live.iter_text()
            told = [next(pieces) for _ in range(8)]

    assert any("event: run" in piece for piece in told)
