"""A project with a fine-tuned version and corrections, behind the pages."""

from collections.abc import Iterator
from threading import Thread

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.room import READER_PASSWORD, app_of, opened_room, signed_in
from tests.support.versions import FinishedRun
from werkzeug.serving import ThreadedWSGIServer, make_server

from captionloop.backend.page_data.room import Room
from captionloop.home import Home


@pytest.fixture
def room(finished: FinishedRun, home: Home, redis_url: str) -> Iterator[Room]:
    with opened_room(home, redis_url) as opened:
        yield opened


@pytest.fixture
def app(room: Room) -> Flask:
    return app_of(room)


@pytest.fixture
def lead(app: Flask) -> FlaskClient:
    """A browser in which the lead is signed in."""
    return signed_in(app)


@pytest.fixture
def reader(app: Flask) -> FlaskClient:
    """A browser in which somebody is signed in who may only look."""
    return signed_in(app, "reader", READER_PASSWORD)


@pytest.fixture
def served(app: Flask) -> Iterator[str]:
    """The address of the app while a real server answers for it, for a browser."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    assert isinstance(server, ThreadedWSGIServer)
    server.daemon_threads = False  # so that closing waits for streams to end
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
