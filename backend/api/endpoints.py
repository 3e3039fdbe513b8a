"""Routes whose JSON follows from the types of their functions.

    @api.post("/projects/<int:number>/runs", status=202)
    def start_run(number: int, body: Order) -> RunFacts:
        '''Start a run.'''

`body` is the request's JSON, `query` its query string; both are dataclasses, and so is the response. `openapi`
describes the same types, so the description cannot differ from the behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, TypeVar, get_type_hints

from flask import Blueprint, Response, request
from pydantic import TypeAdapter, ValidationError
from werkzeug.exceptions import BadRequest

from captionloop.setting_fields import StoredSettings

_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Endpoint:
    """One route with one method.

    Args:
        rule: Flask's URL rule.
        query, body: the types of query and body; None for none.
        answer: the type of the response.
        status: of a successful response.
    """

    method: str
    rule: str
    view: Callable[..., Any]
    query: type | None
    body: type | None
    answer: Any
    status: int


class Api:
    """A blueprint with the types of its routes."""

    def __init__(self, name: str, import_name: str) -> None:
        self.blueprint = Blueprint(name, import_name)
        self.endpoints: list[Endpoint] = []

    def get(self, rule: str) -> Callable[[_View], _View]:
        return self._route("GET", rule, 200)

    def post(self, rule: str, *, status: int = 200) -> Callable[[_View], _View]:
        return self._route("POST", rule, status)

    def _route(self, method: str, rule: str, status: int) -> Callable[[_View], _View]:
        def add(view: _View) -> _View:
            types = get_type_hints(view)
            found = Endpoint(method, rule, view, types.get("query"), types.get("body"), types["return"], status)
            self.endpoints.append(found)
            self.blueprint.add_url_rule(rule, view.__name__, _answering(found), methods=[method])
            return view

        return add


def _answering(endpoint: Endpoint) -> Callable[..., Response]:
    """The function for Flask: JSON in, JSON out."""
    answer = TypeAdapter(endpoint.answer)

    @wraps(endpoint.view)
    def respond(**path: Any) -> Response:
        brought = dict(path)
        if endpoint.query:
            brought["query"] = _read(endpoint.query, request.args.to_dict(), called="query parameter")
        if endpoint.body:
            brought["body"] = _read(endpoint.body, _json_object(), called="field")
        text = answer.dump_json(endpoint.view(**brought))
        return Response(text, status=endpoint.status, mimetype="application/json")

    return respond


def _json_object() -> Mapping[str, Any]:
    found = request.get_json(silent=True) if request.get_data() else {}
    if not isinstance(found, dict):
        raise BadRequest("The body is no JSON object.")
    return found


def _read(kind: type, values: Mapping[str, Any], *, called: str) -> Any:
    """Parse values into a dataclass.

    Raises:
        BadRequest: about the first invalid value, in a sentence.
    """
    known = [field.name for field in fields(kind)]
    unknown = sorted(values.keys() - set(known))
    if unknown:
        raise BadRequest(f"There is no {called} {unknown[0]!r} here; there are {', '.join(known)}.")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if issubclass(kind, StoredSettings):  # these say in words what they expect
            raise BadRequest(
                f"{called.capitalize()} {name!r} is {values[name]!r}; expected {kind.expected(name)}."
            ) from error
        raise BadRequest(f"{called.capitalize()} {name!r}: {first['msg']}.") from error


api = Api("api", __name__)
