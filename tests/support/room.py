"""The pages of a real app: a real database and Redis, and somebody who is signed in to them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.routing import Rule

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.access.roles import Roles
from captionloop.backend.page_data.room import Room
from captionloop.backend.server.app import create_app
from captionloop.backend.server.serve import build_service
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.settings import Secret, Settings

USER, PASSWORD, READER_PASSWORD = "lead", "right", "look"
_PATIENCE_S = 60  # a test is to see what a look finds in the end


class _Compiled(BytecodeCache):
    """Compiled templates: those of an app serve the next one as well."""

    def __init__(self) -> None:
        self._codes: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._codes:
            bucket.bytecode_from_string(self._codes[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


class _CompiledRule(Rule):
    """A route whose function that makes addresses is compiled once: those of an app serve the next one as well."""

    _builders: ClassVar[dict[Any, Any]] = {}

    def _compile_builder(self, append_unknown: bool = True) -> Any:
        if self.defaults:
            return super()._compile_builder(append_unknown)
        key = (self.rule, tuple(self._trace), append_unknown)  # all that the function depends on
        if key not in self._builders:
            self._builders[key] = super()._compile_builder(append_unknown)
        return self._builders[key]


Flask.url_rule_class = _CompiledRule


@contextmanager
def opened_room(home: Home, redis_url: str, **settings: Any) -> Iterator[Room]:
    """A room on a home whose database is there already; closed at the end."""
    known = Settings(
        home=home.root,
        redis_url=redis_url,
        label_studio_url="http://localhost:9",
        label_studio_api_key=Secret("5" * 40),
        server="local",
    )
    context = Context.open(replace(known, **settings))
    if "label_studio_url" not in settings:
        context.label_studio._transport._retry_delays_s = ()  # nobody answers there, however often it is asked
    room = Room(context, build_service(context), patience_s=_PATIENCE_S)
    try:
        yield room
    finally:
        room.close()
        room.service.close()
        context.close()


def app_of(room: Room) -> Flask:
    roles = Roles(leads=room.settings.leads, reviewers=room.settings.reviewers)
    gatekeeper = Gatekeeper(USER, Secret(PASSWORD), reader_password=Secret(READER_PASSWORD), roles=roles)
    app = create_app(room.service, gatekeeper, room)
    app.jinja_env.bytecode_cache = _COMPILED
    return app


def signed_in(app: Flask, user: str = USER, password: str = PASSWORD) -> FlaskClient:
    """A browser after the login form."""
    client = app.test_client()
    answer = client.post("/login", data={"user": user, "password": password, "csrf_token": token_in(client, "/login")})
    assert answer.status_code == 302, answer.get_data(as_text=True)
    return client


def token_in(client: FlaskClient, path: str) -> str:
    """The CSRF token that a page's forms carry."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).get_data(as_text=True))
    assert found, path
    return found[1]


def post(client: FlaskClient, path: str, /, page: str = "/", **fields: str) -> Any:
    """Press a button: send a form with the token that `page` carries, and follow where it leads."""
    landing = client.get(page, follow_redirects=True).request.path
    return client.post(path, data={**fields, "csrf_token": token_in(client, landing)}, follow_redirects=True)
