"""From what came by HTTP to a typed request: path, query, JSON body, and nothing that the request does not have. Pure.

Fields in microseconds (`since_us`) are asked for by their name without the unit, as RFC 3339: `since`.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from pyflowd.clock import to_us
from pyflowd.errors import UsageError, nearest
from pyflowd.web.api.resources import Resource

UNIT = "_us"
KEY_MAX = 255


def names(resource: Resource) -> dict[str, str]:
    """What may be given to a resource, to the field that it fills; also what the path holds."""
    return {
        field.removesuffix(UNIT): field
        for field in _hints(resource.request)
        if field not in resource.hidden and field not in resource.fixed
    }


def in_path(resource: Resource) -> list[str]:
    return [part[1:-1] for part in resource.path.split("/") if part.startswith("{")]


def of_query(resource: Resource, path: Mapping[str, str], query: Sequence[tuple[str, str]]) -> Any:
    """Raises UsageError."""
    hints = _hints(resource.request)
    found: dict[str, Any] = {}
    for name, text in query:
        field = _field(resource, name)
        if _is_list(hints[field]):
            found.setdefault(field, []).append(text)
        elif field in found:
            raise UsageError(f"{name} comes twice")
        else:
            found[field] = _time_us(name, text) if field.endswith(UNIT) else text
    return _made(resource, found, path, strict=False)


def of_body(resource: Resource, path: Mapping[str, str], body: bytes, key: str | None) -> Any:
    """`key`: the header Idempotency-Key. Raises UsageError."""
    given: Any = {}
    if body.strip():
        try:
            given = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"the body is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise UsageError("the body is no JSON object")
    found: dict[str, Any] = {}
    for name, value in given.items():
        field = _field(resource, name)
        is_time = field.endswith(UNIT) and isinstance(value, str)
        found[field] = _time_us(name, value) if is_time else value
    if key is not None:
        found = _with_key(resource, found, key)
    return _made(resource, found, path, strict=True)


def _with_key(resource: Resource, found: dict[str, Any], key: str) -> dict[str, Any]:
    """Rule I2's key, as HTTP has it."""
    if "key" not in _hints(resource.request):
        raise UsageError("Idempotency-Key: this request takes none: it may be sent again as it is")
    if not 0 < len(key) <= KEY_MAX:
        raise UsageError(f"Idempotency-Key: 1 to {KEY_MAX} characters")
    if found.get("key", key) != key:
        raise UsageError("Idempotency-Key and key differ; send one of them")
    return {**found, "key": key}


def _field(resource: Resource, name: str) -> str:
    known = names(resource)
    of_path = in_path(resource)
    if name not in known or name in of_path:
        choices = [each for each in known if each not in of_path]
        told = f"; there are: {', '.join(choices)}" if choices else ""
        raise UsageError(f'"{name[:64]}" is nothing to ask for here{nearest(name[:64], choices)}{told}')
    return known[name]


def _made(resource: Resource, found: dict[str, Any], path: Mapping[str, str], *, strict: bool) -> Any:
    try:
        of_path = _converted_path(resource, path)
        made: Any = msgspec.convert({**found, **of_path, **resource.fixed}, resource.request, strict=strict)
    except (msgspec.ValidationError, RecursionError) as error:
        raise UsageError(str(error)) from None
    return _bounded(resource, made)


def _converted_path(resource: Resource, path: Mapping[str, str]) -> dict[str, Any]:
    hints = _hints(resource.request)
    return {name: msgspec.convert(path[name], hints[name], strict=False) for name in in_path(resource)}


def _bounded(resource: Resource, asked: Any) -> Any:
    if not resource.most:
        return asked
    if asked.limit is None:
        return msgspec.structs.replace(asked, limit=resource.most)
    if asked.limit > resource.most:
        raise UsageError(
            f"limit: {asked.limit} is more than {resource.most}; ask for the next page with before or after"
        )
    return asked


def _time_us(name: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name}: write it as 2026-11-24T02:30:00+01:00") from None
    if at.tzinfo is None:
        raise UsageError(f"{name}: it has no offset; write it as 2026-11-24T02:30:00+01:00")
    return to_us(at)


def _hints(request: type) -> dict[str, Any]:
    return get_type_hints(request, include_extras=True)


def _is_list(hint: Any) -> bool:
    return any(get_origin(each) is list for each in _alternatives(hint))


def _alternatives(hint: Any) -> Iterable[Any]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
