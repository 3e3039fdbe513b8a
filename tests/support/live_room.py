"""The pages behind a real server, for a real browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.serving import make_server

from tests.support.room import PASSWORD, USER

if TYPE_CHECKING:
    from playwright.sync_api import Page


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address of the app while it is served."""
    server = make_server("localhost", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()


def sign_in(page: "Page", address: str) -> None:
    """Fill in the form as the lead."""
    sign_in_at(page, address, "/projects/1/")


def sign_in_at(page: "Page", address: str, overview: str) -> None:
    """The same for a room whose only project has another number."""
    page.goto(f"{address}/login")
    page.fill("input[name=user]", USER)
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{address}{overview}")


def press(page: "Page", key: str) -> None:
    """Press a key when the page's script listens."""
    page.wait_for_load_state("load")
    page.keyboard.press(key)
