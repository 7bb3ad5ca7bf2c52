"""A form that asks for the params of a run: a field for each by its type, with what was typed and what is wrong. Pure.

What a value may be is judged by the daemon (rule P4); the browser's own checks only spare a way there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from pyflowd.protocol.views_workflows import ParamView

PREFIX = "param."
"""Before the name of a param in the name of its field."""
_LONG = 60
"""Characters of a text from which it gets several lines."""


class Option(Struct, frozen=True):
    value: str
    word: str
    on: bool


class Field(Struct, frozen=True, kw_only=True):
    name: str
    id: str
    label: str
    kind: str
    """`select`, `check`, `number`, `date`, `json`, `text`."""
    value: str
    hint: str
    error: str
    required: bool
    focus: bool
    """The first that is wrong."""
    options: list[Option] = []
    minimum: str = ""
    maximum: str = ""
    step: str = ""
    mono: bool = False


class ParamsForm(Struct, frozen=True, kw_only=True):
    fields: list[Field]
    problems: list[str]
    """What is wrong and belongs to no field."""
    wrong: int


def form(
    params: Sequence[ParamView], given: Mapping[str, str], error: str = "", secrets: Sequence[str] = ()
) -> ParamsForm:
    """`given`: what was typed, by param. `error`: the daemon's refusal. `secrets`: names that there are."""
    errors, rest = by_field(error, [param.name for param in params])
    focused = next((param.name for param in params if param.name in errors), None)
    fields = [
        _field(param, given.get(param.name), errors.get(param.name, ""), secrets, focus=param.name == focused)
        for param in params
    ]
    return ParamsForm(fields=fields, problems=rest, wrong=len(errors) + len(rest))


def by_field(error: str, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """A refusal of params, `params: a: why; b: why`, by name; and what of it is about none of them."""
    if not error:
        return {}, []
    if not error.startswith("params: "):
        return {}, [error]
    found: dict[str, str] = {}
    rest: list[str] = []
    last = ""
    for piece in error.removeprefix("params: ").split("; "):
        name, colon, why = piece.partition(": ")
        if colon and name in names and name not in found:
            found[name], last = why, name
        elif last and not re.match(r"(there is no param|all values|and \d+ more)", piece):
            found[last] += f"; {piece}"
        else:
            rest.append(piece)
            last = ""
    return found, rest


def _field(param: ParamView, given: str | None, error: str, secrets: Sequence[str], *, focus: bool) -> Field:
    value = given if given is not None else _text(param.default)
    common: dict[str, Any] = {
        "name": PREFIX + param.name, "id": f"p-{param.name}", "label": param.name, "hint": _hint(param),
        "error": error, "required": param.required, "focus": focus,
    }  # fmt: skip
    if param.enum is not None:
        return Field(
            kind="select", value=value, options=_options([_text(each) for each in param.enum], value, param), **common
        )
    match param.type:
        case "boolean" if param.default is not None or param.required:
            return Field(kind="check", value=value or "false", **common)
        case "boolean":
            return Field(kind="select", value=value, options=_options(["true", "false"], value, param), **common)
        case "secret" if secrets:
            return Field(kind="select", value=value, options=_options(secrets, value, param), **common)
        case "integer" | "number":
            step = "1" if param.type == "integer" else "any"
            return Field(
                kind="number", value=value, step=step, minimum=_bound(param.minimum), maximum=_bound(param.maximum),
                **common,
            )  # fmt: skip
        case "date":
            return Field(kind="date", value=value, **common)
        case "array" | "object":
            return Field(kind="json", value=value, mono=True, **common)
        case _:
            kind = "json" if "\n" in value or len(value) > _LONG else "text"
            return Field(kind=kind, value=value, mono=param.type == "secret", **common)


def _options(values: Sequence[str], chosen: str, param: ParamView) -> list[Option]:
    found = [Option(value, value, value == chosen) for value in values]
    if chosen not in values:
        word = chosen if chosen else ("choose" if param.required else "not given")
        found.insert(0, Option(chosen, word, True))
    return found


def _text(value: Any) -> str:
    """As it is typed: text as it is, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if abs(value) < 1e15 else str(int(value))


def _hint(param: ParamView) -> str:
    """`Where the archive goes. integer, 1 to 365`."""
    kind = f"{param.type} of {param.items}" if param.items else param.type
    if param.type == "secret":
        kind = "the name of a secret, never its value"
    told = [
        kind,
        _range(param),
        f"like {param.pattern}" if param.pattern else "",
        f"each like {param.item_pattern}" if param.item_pattern else "",
        "required" if param.required else "",
        _default(param),
    ]
    shape = ", ".join(part for part in told if part)
    described = param.description.rstrip(".")
    return f"{described}. {shape[:1].upper()}{shape[1:]}" if described else shape[:1].upper() + shape[1:]


def _default(param: ParamView) -> str:
    if param.default is None:
        return ""
    if isinstance(param.default, str) and "${{" in param.default:
        return f"made of {param.default} if left empty"
    return "its default if left empty"


def _range(param: ParamView) -> str:
    low, high = _bound(param.minimum), _bound(param.maximum)
    unit = {"string": " characters", "array": " items"}.get(param.type, "")
    if low and high:
        return f"{low} to {high}{unit}"
    if low:
        return f"{low}{unit} or more"
    return f"{high}{unit} or less" if high else ""
