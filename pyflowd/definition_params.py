"""Params as a definition declares them (rule P4): types, bounds, defaults; each default is checked here.

What a given value may be is in `params`.
"""

from __future__ import annotations

from typing import Any

from pyflowd import fields, params, pattern
from pyflowd.document import Mapping, Sequence, quote
from pyflowd.fields import Report, Table, Wrong, read
from pyflowd.model import Param, ParamType

_NUMBERS = (ParamType.INTEGER, ParamType.NUMBER)
_RANGED = (*_NUMBERS, ParamType.STRING, ParamType.ARRAY)
_type_word = fields.one_of(ParamType)


def _read_type(value: Any, report: Report) -> ParamType:
    if value == "secret":
        raise Wrong("params of type secret are not supported by this version", "leave it out", code="later")
    kind: ParamType = _type_word(value, report)
    return kind


def _read_pattern(value: Any, report: Report) -> str:
    written = fields.text(value, report)
    try:
        pattern.check(written)
    except ValueError as error:
        raise Wrong(f"{quote(written)}: {error}") from None
    return written


def _read_enum(value: Any, report: Report) -> tuple[Any, ...]:
    if value.__class__ is not Sequence or not value:
        raise Wrong(f"expected a list of the values that are allowed, found {fields.shape(value)}")
    return tuple(params.plain(value))


_PARAM = Table(
    "a param",
    {
        "type": ("type", _read_type),
        "default": ("default", lambda value, report: params.plain(value)),
        "required": ("required", fields.boolean),
        "enum": ("enum", _read_enum),
        "pattern": ("pattern", _read_pattern),
        "minimum": ("minimum", fields.number_from(-1e300, 1e300)),
        "maximum": ("maximum", fields.number_from(-1e300, 1e300)),
        "items": ("items", _read_type),
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


def read_params(value: Any, report: Report) -> tuple[Param, ...]:
    """The declared params, in the order of the file."""
    declared = fields.mapping(value, report)
    found: dict[str, Param] = {}
    for index, (name, written) in enumerate(declared.items()):
        mark = declared.marks[2 * index]
        try:
            fields.check_name(name)
            mark = declared.marks[2 * index + 1]
            if written.__class__ is not Mapping:
                fix = f"write it as in {name}: {{type: string, default: x}}"
                raise Wrong(f"expected a mapping, found {fields.shape(written)}", fix)
            errors = report.errors
            param = Param(name=name, **read(_PARAM, written, report))
            if report.errors == errors:
                _judge(param, written, report)
            other = found.setdefault(param.variable, param)
            if other is not param:
                raise Wrong(
                    f"it has the variable {param.variable}, as {other.name} has", "rename one of them", code="name"
                )
        except Wrong as wrong:
            report.wrong(mark, f"param {quote(name)[1:-1]}", wrong)
    return tuple(found.values())


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
    bare = Param(name=param.name, type=param.type, items=param.items)
    for choice in param.enum or ():
        _checked(bare, "enum", choice, written, report)
    if param.default is not None:
        _checked(param, "default", param.default, written, report)


def _checked(param: Param, key: str, value: Any, written: Mapping, report: Report) -> None:
    try:
        params.check(param, value)
    except ValueError as error:
        report.add(written.value_mark(key), "value", f"{key}: {error}")
