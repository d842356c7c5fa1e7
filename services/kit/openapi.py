"""The OpenAPI 3.1 document of a service, written from the same table as its routes."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from services.kit.errors import Forbidden, Internal, Invalid, LucidError, Malformed, TooLarge
from services.kit.http import Endpoint

_REF = "#/components/schemas/{model}"

_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong, and what to do."},
        "code": {"type": "string", "description": "Stable name for programs."},
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        },
    },
}


_EVENTS: dict[str, Any] = {
    "operationId": "events",
    "summary": "What happens, as Server-Sent Events",
    "description": "Takes the role viewer. An event `reset` says that some were missed: read the state again.",
    "parameters": [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "The id of the last event that was read; the ones after it follow.",
        }
    ],
    "responses": {"200": {"description": "A stream that does not end.", "content": {"text/event-stream": {}}}},
}


def document(service: str, version: str, summary: str, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Describe every row of a table of routes."""
    schemas, definitions = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    paths["/events"] = {"get": _EVENTS}
    return {
        "openapi": "3.1.0",
        "info": {"title": service, "version": version, "summary": summary},
        "paths": paths,
        "components": {"schemas": {**definitions, "Problem": _PROBLEM_SCHEMA}},
    }


def _schemas(
    endpoints: Sequence[Endpoint],
) -> tuple[dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]], dict[str, Any]]:
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for endpoint in endpoints:
        if endpoint.request is not None:
            wanted.append((endpoint.request, "validation"))
        if endpoint.response is not None:
            wanted.append((endpoint.response, "serialization"))
    found, definitions = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REF)
    return found, definitions.get("$defs", {})  # type: ignore[return-value]


def _operation(
    endpoint: Endpoint, schemas: dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.operation_id}",
        "summary": endpoint.summary,
        "description": f"Takes the role {endpoint.role.name.lower()}.",
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(endpoint)],
        "responses": {**_success(endpoint, schemas), **_failures(endpoint)},
    }
    if endpoint.request is not None:
        schema = schemas[endpoint.request, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)(?::\w+)?}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = endpoint.query.model_json_schema()
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))

    def inline(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return definitions[value["$ref"].rsplit("/", 1)[-1]]
            return {key: inline(item) for key, item in value.items()}
        return [inline(item) for item in value] if isinstance(value, list) else value

    return [
        {"name": name, "in": "query", "required": name in required, "schema": inline(value)}
        for name, value in schema.get("properties", {}).items()
    ]


def _success(
    endpoint: Endpoint, schemas: dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]
) -> dict[str, Any]:
    if endpoint.response is None:
        done: dict[str, Any] = {"description": endpoint.summary or "Done."}
        if endpoint.status != HTTPStatus.NO_CONTENT:
            done["content"] = {endpoint.content_type: {}}
        return {str(endpoint.status): done}
    content = {"application/json": {"schema": schemas[endpoint.response, "serialization"]}}
    answer = {"description": (endpoint.response.__doc__ or "").split("\n")[0], "content": content}
    return {str(status): answer for status in (endpoint.status, *endpoint.also)}


def _failures(endpoint: Endpoint) -> dict[str, Any]:
    kinds: list[type[LucidError]] = [*endpoint.errors, Forbidden, Internal]
    if endpoint.request is not None:
        kinds += [Malformed, TooLarge]
    kinds.append(Invalid)
    content = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {
        str(kind.status): {"description": (kind.__doc__ or "").split("\n")[0], "content": content}
        for kind in sorted(set(kinds), key=lambda kind: kind.status)
    }
