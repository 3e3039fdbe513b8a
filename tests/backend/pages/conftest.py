"""A project with a fine-tuned version and corrections, behind the pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.room import READER_PASSWORD, app_of, opened_room, signed_in
from tests.support.versions import FinishedRun, finished_run

from captionloop.backend.pages.room import Room
from captionloop.home import Home
from captionloop.model.database import Database


@pytest.fixture
def finished(database: Database, home: Home, tmp_path: Path) -> FinishedRun:
    return finished_run(database, home, tmp_path)


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
