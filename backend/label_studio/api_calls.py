"""Authorized calls of Label Studio's API, with validated responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from captionloop.backend.label_studio import messages
from captionloop.backend.label_studio.authorization import Credentials
from captionloop.backend.label_studio.transport import Transport, json_of
from captionloop.errors import LabelStudioError

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]

WITH_ID = {"id": int}
"""The fields of anything with an id, for `ApiCalls.expected`."""


class ApiCalls:
    """Calls of one server by one account. Thread-safe.

    In all methods `what` names the requested thing in messages, and `request` has the arguments of `Transport.send`;
    each raises a `LabelStudioError` when the server is unreachable, refuses, or sends an unexpected response.
    """

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self._credentials = credentials

    def call(self, method: str, path: str, *, what: str, **request: Any) -> Any:
        """The JSON of the response, of any type."""
        return json_of(self._transport.url, self._authorized(method, path, **request), what=what)

    def get(self, path: str, *, what: str, **request: Any) -> Json:
        """An object, without required fields."""
        return self.send("GET", path, what=what, **request)

    def get_list(self, path: str, *, what: str, fields: Mapping[str, type] | None = None, **request: Any) -> list[Json]:
        """A list of objects with these fields."""
        answer = self.call("GET", path, what=what, **request)
        if not isinstance(answer, list):
            raise messages.unexpected(self._transport.url, f"GET {path}", "which is no list")
        return [self.expected(item, f"GET {path}", fields or {}) for item in answer]

    def send(self, method: str, path: str, *, what: str, **request: Any) -> Json:
        """Any request whose response is an object, without required fields."""
        return self.expected(self.call(method, path, what=what, **request), f"{method} {path}", {})

    def save(self, method: str, path: str, *, what: str, **request: Any) -> Json:
        """Create or change something that has an id."""
        return self.expected(self.call(method, path, what=what, **request), f"{method} {path}", WITH_ID)

    def delete(self, path: str, *, what: str, **request: Any) -> None:
        """Delete something; idempotent."""
        try:
            self.call("DELETE", path, what=what, **request)
        except LabelStudioError as error:
            if error.status != 404:
                raise

    def expected(self, answer: Any, request: str, fields: Mapping[str, type]) -> Json:
        """The response, after checking that it is an object with these fields."""
        if not isinstance(answer, dict):
            raise messages.unexpected(self._transport.url, request, "which is no object")
        for name, kind in fields.items():
            if not isinstance(answer.get(name), kind):
                found = f"in which {name!r} is no {kind.__name__}"
                raise messages.unexpected(self._transport.url, request, found)
        return answer

    def _authorized(self, method: str, path: str, **request: Any) -> httpx.Response:
        response = self._transport.send(method, path, credentials=self._credentials.headers(), **request)
        if response.status_code == 401 and self._credentials.forget():
            # The short-lived token may have ended between its check and its arrival.
            response = self._transport.send(method, path, credentials=self._credentials.headers(), **request)
        return response
