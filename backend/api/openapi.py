"""The API's description in OpenAPI 3.1, generated from the types and docstrings of its functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from docstring_parser import Docstring
from docstring_parser.google import parse
from flask import current_app
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core.core_schema import DataclassSchema

from captionloop.backend.api.endpoints import Endpoint, api
from captionloop.package_version import __version__

_PATH_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
_PATH_TYPES = {"int": "integer", "": "string"}
_MEANINGS = {
    "number": "The project's number in Label Studio, which stands in its address there.",
    "run_id": "The run's id.",
    "correction": "The correction's number.",
    "version": "The version's name.",
}
_REF = "#/components/schemas/{model}"
_SECURITY = {
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The lead's pair, or `reader` and its password for reading. Changes need a JSON body.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "captionloop",
        "description": "The session of somebody who is signed in to the pages.",
    },
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRFToken",
        "description": "With a session, for changes: the token that every page carries.",
    },
}


@dataclass(frozen=True)
class ErrorAnswer:
    """An error response.

    Args:
        error: a sentence for people.
        type: the kind of error, for programs.
    """

    error: str
    type: str


class _Described(GenerateJsonSchema):
    """Schemas of dataclasses whose fields are described by the "Args" of the class."""

    def dataclass_schema(self, schema: DataclassSchema) -> JsonSchemaValue:
        """The library's schema, with descriptions out of the docstring."""
        made = super().dataclass_schema(schema)
        kind = schema["cls"]
        made["description"] = _text(parse(kind.__doc__ or ""))
        known = {field.name for field in fields(kind)}
        inherited_first = [parse(ancestor.__doc__ or "") for ancestor in reversed(kind.__mro__)]
        for parameter in (parameter for told in inherited_first for parameter in told.params):
            # Several that share a line, as "query, body: the types …", share its meaning.
            for name in parameter.arg_name.split(", "):
                if name in known and name in made.get("properties", {}):
                    made["properties"][name]["description"] = parameter.description
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # titles would only repeat the names


@api.get("/openapi.json")
def get_openapi() -> Mapping[str, Any]:
    """This description."""
    key = "captionloop_openapi"
    if key not in current_app.extensions:
        current_app.extensions[key] = describe(api.endpoints)
    found: Mapping[str, Any] = current_app.extensions[key]
    return found


def describe(endpoints: list[Endpoint]) -> Mapping[str, Any]:
    """The OpenAPI document of these routes."""
    kinds: list[tuple[Any, JsonSchemaMode]] = [(ErrorAnswer, "serialization")]
    for endpoint in endpoints:
        kinds.append((endpoint.answer, "serialization"))
        kinds += [(kind, "validation") for kind in (endpoint.query, endpoint.body) if kind]
    schemas, shared = TypeAdapter.json_schemas(
        [(repr(kind), mode, TypeAdapter(kind)) for kind, mode in kinds],
        ref_template=_REF,
        schema_generator=_Described,
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        address = _PATH_PARAMETER.sub(r"{\2}", endpoint.rule)
        paths.setdefault(address, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Captionloop",
            "version": __version__,
            "description": "What the pages show, and the changes that they offer. The version of this API is in its "
            "address; within a version things are only added.",
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"basic": []}, {"session": []}],
        "paths": paths,
        "components": {"schemas": shared.get("$defs", {}), "securitySchemes": _SECURITY},
    }


def _operation(endpoint: Endpoint, schemas: Mapping[tuple[str, JsonSchemaMode], JsonSchemaValue]) -> dict[str, Any]:
    told = parse(endpoint.view.__doc__ or "")
    problem = _json(schemas[repr(ErrorAnswer), "serialization"])
    operation: dict[str, Any] = {
        "operationId": endpoint.view.__name__,
        "tags": [endpoint.view.__module__.rpartition(".")[2]],
        "summary": told.short_description,
        "parameters": [*_in_path(endpoint), *_in_query(endpoint)],
        "responses": {
            str(endpoint.status): {
                "description": told.short_description,
                "content": _json(schemas[repr(endpoint.answer), "serialization"]),
            },
            "4XX": {"description": "Something is wrong with the request.", "content": problem},
            "5XX": {"description": "Something is wrong here, or with a service behind it.", "content": problem},
        },
    }
    if told.long_description:
        operation["description"] = told.long_description
    if endpoint.body:
        operation["requestBody"] = {
            "required": any(_is_required(field) for field in fields(endpoint.body)),
            "content": _json(schemas[repr(endpoint.body), "validation"]),
        }
    if endpoint.method != "GET":
        operation["security"] = [{"basic": []}, {"session": [], "token": []}]
    return operation


def _in_path(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _MEANINGS[name],
            "schema": {"type": _PATH_TYPES[kind]},
        }
        for kind, name in _PATH_PARAMETER.findall(endpoint.rule)
    ]


def _in_query(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = TypeAdapter(endpoint.query).json_schema(ref_template=_REF, schema_generator=_Described)
    return [
        {
            "name": field.name,
            "in": "query",
            "required": _is_required(field),
            "description": schema["properties"][field.name].pop("description", ""),
            "schema": schema["properties"][field.name],
        }
        for field in fields(endpoint.query)
    ]


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _json(schema: JsonSchemaValue) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _text(told: Docstring) -> str:
    parts = (told.short_description, told.long_description)
    return "\n\n".join(part for part in parts if part)
