"""Types of a plugin's inputs and outputs: from the annotations of a class to a small part of JSON Schema, and whether a
value is of such a type.

`definition_uses` judges values of a definition by the same schemas, with their places; a test holds that both agree.
Each schema says its type in words as its `title`. It knows nothing of how plugins are found and run.
"""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, NamedTuple, Union

from pyflowd.task import output

Schema = dict[str, Any]
SECRET = "secret"  # noqa: S105
"""The mark of an input whose value is never written in a definition and never shown."""
_PLAIN: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    None: "null",
}
_SHOWN = 60
_MAX_DESCRIPTION = 500


class Wrong(ValueError):
    """A class of a plugin that does not say what it should; one line."""


class Field(NamedTuple):
    """One annotation of `Inputs` or `Outputs`."""

    name: str
    schema: Schema
    required: bool
    default: Any = None
    description: str = ""
    secret: bool = False


# ---- From annotations -----------------------------------------------------------------------------------------------


def fields_of(cls: Any, what: str) -> list[Field]:
    """The fields of a class, in their order. `what`: its name, for messages. Raises Wrong."""
    if not isinstance(cls, type) or issubclass(cls, (dict, tuple)):
        raise Wrong(f"{what} is no plain class: write class {what}: and below it name: type = default")
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as error:  # noqa: BLE001  an annotation may be any code
        raise Wrong(f"{what}: an annotation cannot be read: {error}") from None
    return [_field(cls, name, hint, what) for name, hint in hints.items()]


def _field(cls: type, name: str, hint: Any, what: str) -> Field:
    place = f"{what}.{name}"
    try:
        output.check_name(name)
    except ValueError as error:
        raise Wrong(f"{what}: {error}") from None
    notes: list[Any] = [""]
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        if not all(isinstance(note, str) for note in notes):
            raise Wrong(f'{place}: write Annotated[type, "description"], and "secret" after it where it is one')
    description, *marks = notes
    unknown = [mark for mark in marks if mark != SECRET]
    if unknown:
        raise Wrong(f'{place}: there is no mark "{unknown[0]}"; after the description may stand "{SECRET}"')
    schema = schema_of(hint, place)
    given, default = _default(cls, name)
    secret = SECRET in marks
    if given:
        _check_default(schema, default, place, secret=secret)
    return Field(name, schema, not given, default, output.one_line(description)[:_MAX_DESCRIPTION], secret)


def _default(cls: type, name: str) -> tuple[bool, Any]:
    """Whether there is one, and what it is; a dataclass may have a factory."""
    field = getattr(cls, "__dataclass_fields__", {}).get(name)
    if field is not None and callable(field.default_factory):
        return True, field.default_factory()
    return hasattr(cls, name), getattr(cls, name, None)


def _check_default(schema: Schema, default: Any, place: str, *, secret: bool) -> None:
    if secret and default not in ("", None):
        raise Wrong(f"{place}: a secret has no default but an empty one")
    try:
        output.encoded(default, "")
    except ValueError as error:
        raise Wrong(f"{place}: its default{error}") from None
    wrong = problems(schema, default, place)
    if wrong:
        raise Wrong(f"{wrong[0]} as its default")


def schema_of(hint: Any, place: str) -> Schema:
    """The schema of a type. Raises Wrong for one that JSON does not have."""
    if hint in _PLAIN:
        return {"type": _PLAIN[hint], "title": _PLAIN[hint]}
    if hint is Any or hint is object:
        return {"title": "any"}
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is Literal and all(type(each) in (str, int, bool, type(None)) for each in arguments):
        return {"enum": list(arguments), "title": " | ".join(output.encoded(each, "") for each in arguments)}
    if origin in (Union, types.UnionType):
        either = [schema_of(each, place) for each in arguments]
        return {"anyOf": either, "title": " | ".join(each["title"] for each in either)}
    if origin is list and len(arguments) < 2:
        items = schema_of(arguments[0] if arguments else Any, place)
        return {"type": "array", "items": items, "title": f"array of {items['title']}" if arguments else "array"}
    if origin is dict and (not arguments or arguments[0] is str):
        values = schema_of(arguments[1] if arguments else Any, place)
        title = f"object of {values['title']}" if arguments else "object"
        return {"type": "object", "additionalProperties": values, "title": title}
    shown = getattr(hint, "__name__", None) or repr(hint)
    known = "str, int, float, bool, None, Any, list[...], dict[str, ...], Literal[...], A | B"
    raise Wrong(f"{place}: the type {shown} has no form in a workflow file: use {known}")


# ---- Values ---------------------------------------------------------------------------------------------------------


def problems(schema: Schema, value: object, place: str, *, secret: bool = False) -> list[str]:
    """What of a value is not of its type, a line each. The value of a secret is not told."""
    if "anyOf" in schema:
        if any(not problems(each, value, place) for each in schema["anyOf"]):
            return []
    elif "enum" in schema:
        if any(each == value and type(each) is type(value) for each in schema["enum"]):
            return []
    elif schema.get("type") == "array" and isinstance(value, (list, tuple)):
        items = schema["items"]
        return [line for n, each in enumerate(value) for line in problems(items, each, f"{place}[{n}]", secret=secret)]
    elif schema.get("type") == "object" and isinstance(value, dict):
        of = schema["additionalProperties"]
        return [line for key, each in value.items() for line in problems(of, each, f"{place}.{key}", secret=secret)]
    elif _is_plain(schema.get("type"), value):
        return []
    found = "another value" if secret else shown(value)
    return [f"{place}: expected {schema['title']}, found {found}"]


def _is_plain(kind: str | None, value: object) -> bool:
    """Nothing is converted, but a whole number is a number."""
    match kind:
        case None:
            return True
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "null":
            return value is None
        case _:
            return False


def shown(value: object) -> str:
    """A value for a message, not endless."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            text = value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "..."
            return f"the text {output.quoted(text)}"
        case list() | tuple():
            return "an array"
        case dict():
            return "an object"
        case _:
            return f"a {output.type_name(value)}"
