"""Malformed requests: cases in which Werkzeug would return 500 become client errors."""

from typing import Any

from flask import Flask, Request
from werkzeug.datastructures import Authorization
from werkzeug.exceptions import BadRequest
from werkzeug.routing import IntegerConverter, Map, ValidationError

from captionloop.model.database import LARGEST_ID


def take_any_request(app: Flask) -> None:
    """Call it before any route is added."""
    app.request_class = _Request
    app.url_map.converters["int"] = _Id


class _Request(Request):
    @property
    def authorization(self) -> Authorization | None:
        """None also for a header that is not valid text, for which Werkzeug raises."""
        try:
            return super().authorization
        except ValueError:
            return None

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """
        Raises:
            BadRequest: the JSON has too many levels, silent or not; or it is invalid.
        """
        try:
            return super().get_json(force=force, silent=silent, cache=cache)
        except RecursionError as error:
            raise BadRequest("The body is JSON of too many levels.") from error


class _Id(IntegerConverter):
    """A number in an address; numbers beyond the database's range match nothing."""

    def __init__(self, map: Map) -> None:
        super().__init__(map, max=LARGEST_ID)

    def to_python(self, value: str) -> int:
        if len(value) > len(str(LARGEST_ID)):  # Python itself refuses to read thousands of digits
            raise ValidationError
        return int(super().to_python(value))
