"""The OpenAPI document of the API, made from the table of resources and the types of the requests. Pure."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from pyflowd.protocol.requests import OPERATIONS
from pyflowd.protocol.words import Level
from pyflowd.version import VERSION
from pyflowd.web.api.asked import UNIT, in_path, names
from pyflowd.web.api.resources import RESOURCES, Resource, Shape

Object = dict[str, Any]
_REF = "#/components/schemas/{name}"
_ERROR: Object = {
    "type": "object",
    "required": ["error", "status", "code"],
    "properties": {
        "error": {"type": "string", "description": "One line: what, where, what to do."},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; as of pyflowctl, with a few of HTTP's own."},
    },
}
_TIME: Object = {"type": "string", "format": "date-time"}


def document(base: str) -> Object:
    """`base`: where the paths begin."""
    requests = sorted({each.request for each in RESOURCES}, key=lambda each: each.__name__)
    views = {each.view for each in RESOURCES if each.view is not None}
    _, parts = msgspec.json.schema_components([*requests, *views], ref_template=_REF)
    paths: dict[str, Object] = {}
    for each in RESOURCES:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, parts)
    used = {name: schema for name, schema in parts.items() if name not in {each.__name__ for each in requests}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PyFlow",
            "version": VERSION,
            "description": "The requests of pyflowd's control socket. Answers are the JSON of `pyflowctl -o json`.",
        },
        "servers": [{"url": base}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "pyflowctl token create"}},
            "schemas": {**used, "Error": _ERROR},
        },
    }


def _operation(resource: Resource, parts: dict[str, Object]) -> Object:
    schema = parts[resource.request.__name__]
    told = " ".join((resource.request.__doc__ or "").split(" -> ")[0].split())
    level = OPERATIONS[resource.request].level
    operation: Object = {
        "operationId": f"{resource.method.lower()}{resource.path.title().translate(_DROPPED)}",
        "summary": told,
        "description": _description(resource, level),
        "parameters": [_path_parameter(name, schema) for name in in_path(resource)],
        "responses": {
            str(resource.status): _answer(resource),
            "default": {"description": "An error", "content": _json({"$ref": _REF.format(name="Error")})},
        },
    }
    if resource.method == "GET":
        operation["parameters"] += [
            _query_parameter(name, field, resource, schema)
            for name, field in names(resource).items()
            if name not in in_path(resource)
        ]
    elif body := _body(resource, schema):
        operation["requestBody"] = {"required": bool(body.get("required")), "content": _json(body)}
        if "key" in body["properties"]:
            header: Object = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}}
            operation["parameters"].append(header)
    return operation


_DROPPED = str.maketrans("", "", "/{}_-")


def _description(resource: Resource, level: Level) -> str:
    needs = f"Needs level {level.name.lower()}." if level is not Level.NONE else "Needs no level."
    same = f" Prints what `pyflowctl -o json {resource.command}` prints." if resource.command else ""
    return needs + same


def _property(field: str, schema: Object) -> Object:
    found: Object = copy.deepcopy(schema["properties"].get(field, {}))
    return dict(_TIME) if field.endswith(UNIT) else found


def _path_parameter(name: str, schema: Object) -> Object:
    return {"name": name, "in": "path", "required": True, "schema": _property(name, schema)}


def _query_parameter(name: str, field: str, resource: Resource, schema: Object) -> Object:
    shown = _property(field, schema)
    if field == "limit" and resource.most:
        shown = {"type": "integer", "minimum": 1, "maximum": resource.most}
    needed = field in schema.get("required", []) and field != "limit"
    return {"name": name, "in": "query", "required": needed, "schema": shown}


def _body(resource: Resource, schema: Object) -> Object:
    fields = {name: field for name, field in names(resource).items() if name not in in_path(resource)}
    if not fields:
        return {}
    needed = [name for name, field in fields.items() if field in schema.get("required", [])]
    return {
        "type": "object",
        "properties": {name: _property(field, schema) for name, field in fields.items()},
        "additionalProperties": False,
        **({"required": needed} if needed else {}),
    }


def _answer(resource: Resource) -> Object:
    match resource.shape:
        case Shape.LOG:
            content: Object = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        case Shape.ARRAY:
            content = _json({"type": "array", "items": {"type": "object"}})
        case Shape.FIGURES:
            assert resource.view is not None
            content = _json({"$ref": _REF.format(name=resource.view.__name__)})
        case _:
            content = _json({"type": "object"})
    return {"description": "Done" if resource.method == "POST" else "Found", "content": content}


def _json(schema: Object) -> Object:
    return {"application/json": {"schema": schema}}
