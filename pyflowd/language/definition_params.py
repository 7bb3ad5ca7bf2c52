"""Params as a definition declares them (rule P4): types, bounds, defaults; each default is checked here.

What a given value may be is in `params`.
"""

from __future__ import annotations

from typing import Any

from pyflowd.expressions import template
from pyflowd.language import fields, params
from pyflowd.language.definition_references import Place, Scope
from pyflowd.language.definition_types import one_maximum, read_param_type, read_pattern, read_type
from pyflowd.language.document import Mapping, Sequence, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.workflow import Param, ParamType

_NUMBERS = (ParamType.INTEGER, ParamType.NUMBER)
_RANGED = (*_NUMBERS, ParamType.STRING, ParamType.ARRAY)


def _read_enum(value: Any, report: Report) -> tuple[Any, ...]:
    if value.__class__ is not Sequence or not value:
        raise Wrong(f"expected a list of the values that are allowed, found {fields.shape(value)}")
    return tuple(params.plain(value))


def _read_items(value: Any, report: Report) -> dict[str, Any]:
    """A type, or a mapping of a type and a pattern: the fields of `Param` that they fill."""
    if value.__class__ is not Mapping:
        return {"items": read_type(value, report)}
    found = read(ITEMS, value, report)
    if "item_pattern" in found and found.get("items", ParamType.STRING) is not ParamType.STRING:
        raise Wrong(f"a pattern is for text, not for {found['items']}")
    return {"items": ParamType.STRING, **found}


ITEMS = Table("items", {"type": ("items", read_type), "pattern": ("item_pattern", read_pattern)})

PARAM = Table(
    "a param",
    {
        "type": ("type", read_param_type),
        "default": ("default", fields.template_tree),
        "required": ("required", fields.boolean),
        "enum": ("enum", _read_enum),
        "pattern": ("pattern", read_pattern),
        "minimum": ("minimum", fields.number_from(-1e300, 1e300)),
        "maximum": ("maximum", fields.number_from(-1e300, 1e300)),
        "max_length": ("max_length", fields.integer_from(0, 10**9)),
        "max_items": ("max_items", fields.integer_from(0, 10**9)),
        "items": ("items", _read_items),
        "description": ("description", fields.text),
    },
    meant={
        "min": "minimum",
        "max": "maximum",
        "values": "enum",
        "options": "enum",
        "choices": "enum",
        "regex": "pattern",
    },
)


def read_params(value: Any, report: Report, scopes: list[Scope]) -> tuple[Param, ...]:
    """The declared params, in the order of the file; what their defaults use goes to `scopes`."""
    declared = fields.mapping(value, report)
    found: dict[str, Param] = {}
    for index, (name, written) in enumerate(declared.items()):
        mark = declared.marks[2 * index]
        try:
            fields.check_name(name)
            mark = declared.marks[2 * index + 1]
            param = _read_param(name, written, report)
            other = found.setdefault(param.variable, param)
            if other is not param:
                raise Wrong(
                    f"it has the variable {param.variable}, as {other.name} has", "rename one of them", code="name"
                )
        except Wrong as wrong:
            report.wrong(mark, f"param {quote(name)[1:-1]}", wrong)
        if report.uses:
            scopes.append(Scope(Place.PARAM, report.take_uses(), task=name))
    return tuple(found.values())


def _read_param(name: str, written: Any, report: Report) -> Param:
    if written.__class__ is not Mapping:
        raise Wrong(
            f"expected a mapping, found {fields.shape(written)}", f"write it as in {name}: {{type: string, default: x}}"
        )
    errors = report.errors
    given = read(PARAM, written, report)
    given.update(given.pop("items", {}))
    one_maximum(given, written, given.get("type", ParamType.STRING))
    param = Param(name=name, **given)
    if report.errors == errors:
        _judge(param, written, report)
    return param


def _judge(param: Param, written: Mapping, report: Report) -> None:
    """Do the keys of one param fit together? Raises Wrong, or reports."""
    if param.pattern is not None and param.type is not ParamType.STRING:
        raise Wrong(f"a pattern is for text, not for {param.type}")
    if (param.minimum is not None or param.maximum is not None) and param.type not in _RANGED:
        raise Wrong(f"minimum and maximum are for numbers, text and lists, not for {param.type}")
    if param.minimum is not None and param.maximum is not None and param.minimum > param.maximum:
        raise Wrong("minimum is more than maximum")
    if param.items is not None and param.type is not ParamType.ARRAY:
        raise Wrong(f"items is for lists, not for {param.type}", "write type: array")
    if param.required and param.default is not None:
        raise Wrong("a param with a default is never missing", "leave required or default out")
    bare = Param(name=param.name, type=param.type, items=param.items, item_pattern=param.item_pattern)
    for choice in param.enum or ():
        _checked(bare, "enum", choice, written, report)
    if param.default is not None and not template.has_expression(param.default):
        _checked(param, "default", param.default, written, report)


def _checked(param: Param, key: str, value: Any, written: Mapping, report: Report) -> None:
    try:
        params.check(param, value)
    except ValueError as error:
        report.add(written.value_mark(key), "value", f"{key}: {error}")
