"""Params of a workflow: are given values what the definition asks for, and what do they look like to a task (rule P4).

It knows nothing of files: the same check serves a default in a definition, a trigger and a request to run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import date
from typing import Any, assert_never

from pyflowd.errors import Refused, nearest
from pyflowd.expressions.expression import ExpressionError
from pyflowd.expressions.pattern import matches
from pyflowd.expressions.template import has_expression, render_tree
from pyflowd.language.document import MAX_DEPTH, DocumentError, quote
from pyflowd.language.document_json import parse_json
from pyflowd.model.states import is_name
from pyflowd.model.workflow import Param, ParamType

MAX_VALUE_BYTES = 120 * 1024
"""One variable of the environment (rule D5); the kernel's limit is 128 KiB."""
MAX_VALUES_BYTES = 512 * 1024
"""All params of a run together: they share 2 MiB with arguments and the rest of the environment."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_INT64 = range(-(2**63), 2**63)


def bind(
    params: Iterable[Param], given: dict[str, Any], *, from_text: bool, run: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The values of a run: what is given and the defaults; an optional param without either is absent.

    `from_text`: the values are text of the command line and are read as the declared type asks; otherwise nothing is
    coerced. `run`: what an expression in a default finds under that name, beside the params that stand before its own;
    None: there is no run yet, and such a param is left absent. Raises Refused with all that is wrong, in one line.
    """
    declared = {param.name: param for param in params}
    reasons = []
    values: dict[str, Any] = {}
    for name in given:
        if name not in declared:
            guess = nearest(name, list(declared)) if len(name) < 80 else ""
            reasons.append(f"there is no param {quote(name)}{guess}")
    for name, param in declared.items():
        try:
            if name in given:
                values[name] = _checked(param, read_text(param, given[name]) if from_text else given[name])
            elif param.required:
                raise ValueError("a value is required")
            elif param.default is not None and not has_expression(param.default):
                values[name] = param.default
            elif param.default is not None and run is not None:
                values[name] = _checked(param, render_tree(param.default, RunNames(values, run)))
        except ValueError as error:
            reasons.append(f"{name}: {error}")
    if not reasons and sum(len(text) for text in environment(declared.values(), values).values()) > MAX_VALUES_BYTES:
        reasons.append(f"all values together have more than {MAX_VALUES_BYTES} characters: put them in a file")
    if reasons:
        shown = "; ".join(reasons[:20])
        more = f"; and {len(reasons) - 20} more" if len(reasons) > 20 else ""
        raise Refused(f"params: {shown}{more}")
    return values


class RunNames:
    """What an expression sees that is evaluated before anything of the run has begun."""

    def __init__(self, values: dict[str, Any], run: dict[str, Any]) -> None:
        self._names = {"params": values, "run": run}

    def lookup(self, name: str) -> Any:
        if name not in self._names:
            raise ExpressionError(f"there is no name {quote(name)} here: it can use params and run")
        return self._names[name]


def environment(params: Iterable[Param], values: dict[str, Any]) -> dict[str, str]:
    """`PARAM_X` and its text for each param that has a value (rule P3); `values` were bound."""
    return {param.variable: value_text(values[param.name]) for param in params if param.name in values}


def value_text(value: Any) -> str:
    """Text as it is, all else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _checked(param: Param, value: Any) -> Any:
    check(param, value)
    return value


def check(param: Param, value: Any) -> None:
    """Raises ValueError with the reason if `value` is none that `param` allows."""
    _check_type(param.type, value)
    if param.items is not None:
        for index, item in enumerate(value):
            try:
                _check_type(param.items, item)
            except ValueError as error:
                raise ValueError(f"item {index + 1}: {error}") from None
            if param.item_pattern is not None and not matches(param.item_pattern, item):
                raise ValueError(f"item {index + 1}: {_shown(item)} does not match {quote(param.item_pattern)}")
    if param.enum is not None and not any(_same(value, choice) for choice in param.enum):
        raise ValueError(f"{_shown(value)} is none of {', '.join(_shown(choice) for choice in param.enum[:20])}")
    if param.minimum is not None or param.maximum is not None:
        _check_range(param, value)
    if param.pattern is not None and not matches(param.pattern, value):
        raise ValueError(f"{_shown(value)} does not match {quote(param.pattern)}")
    text = value_text(value)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
        raise ValueError(f"longer than {MAX_VALUE_BYTES} bytes: put it in a file and give its name")
    if "\0" in text:
        raise ValueError("the text holds a NUL byte, which no variable can hold")
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise ValueError("the text is not UTF-8")


def _check_type(kind: ParamType, value: Any) -> None:
    right = False
    match kind:
        case ParamType.STRING:
            right = isinstance(value, str)
        case ParamType.INTEGER:
            right = type(value) is int and value in _INT64
        case ParamType.NUMBER:
            right = (type(value) is int and value in _INT64) or (isinstance(value, float) and math.isfinite(value))
        case ParamType.BOOLEAN:
            right = isinstance(value, bool)
        case ParamType.ARRAY:
            right = isinstance(value, list) and _is_json(value, MAX_DEPTH)
        case ParamType.OBJECT:
            right = isinstance(value, dict) and _is_json(value, MAX_DEPTH)
        case ParamType.DATE:
            right = isinstance(value, str) and _is_date(value)
        case ParamType.SECRET:
            right = isinstance(value, str) and is_name(value)
        case _:
            assert_never(kind)
    if kind is ParamType.SECRET and not right:  # it may be the secret itself: it is not shown
        raise ValueError("expected the name of a secret, never its value: store that with pyflowctl secret set NAME")
    if not right:
        raise ValueError(f"expected {_ARTICLES[kind]}, got {_shown(value)}")


_ARTICLES = {
    ParamType.STRING: "text",
    ParamType.INTEGER: "an integer",
    ParamType.NUMBER: "a number",
    ParamType.BOOLEAN: "true or false",
    ParamType.ARRAY: "a list",
    ParamType.OBJECT: "a mapping",
    ParamType.DATE: "a date (YYYY-MM-DD)",
    ParamType.SECRET: "the name of a secret",
}


def _is_date(text: str) -> bool:
    try:
        return bool(_DATE.fullmatch(text)) and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _is_json(value: Any, depth: int) -> bool:
    """Whether JSON can hold `value`, to the depth that files may have (recursion is bounded by it)."""
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(k, str) and _is_json(v, depth - 1) for k, v in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_json(item, depth - 1) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, bool)) or (isinstance(value, int) and value in _INT64)


def _same(value: Any, choice: Any) -> bool:
    """Equality that tells true from 1."""
    return isinstance(value, bool) == isinstance(choice, bool) and bool(value == choice)


def _check_range(param: Param, value: Any) -> None:
    sized = isinstance(value, (str, list))
    figure = len(value) if sized else value
    what = f"a length of {figure}" if sized else f"{figure}"
    if param.minimum is not None and figure < param.minimum:
        raise ValueError(f"{what} is less than {param.minimum:g}")
    if param.maximum is not None and figure > param.maximum:
        raise ValueError(f"{what} is more than {param.maximum:g}")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else quote(str(value))[1:-1]


# ---- Text of the command line ---------------------------------------------------------------------------------------


def read_text(param: Param, text: Any) -> Any:
    """The value that `text` stands for, as the declared type directs; raises ValueError."""
    if not isinstance(text, str):
        return text
    match param.type:
        case ParamType.STRING | ParamType.DATE | ParamType.SECRET:
            return text
        case ParamType.INTEGER if _INTEGER.fullmatch(text):
            return int(text)
        case ParamType.NUMBER if _NUMBER.fullmatch(text):
            return int(text) if _INTEGER.fullmatch(text) else float(text)
        case ParamType.BOOLEAN if text in ("true", "false"):
            return text == "true"
        case ParamType.ARRAY | ParamType.OBJECT:
            return _read_json(text)
        case _:
            raise ValueError(f"expected {_ARTICLES[param.type]}, got {quote(text)}")


def _read_json(text: str) -> Any:
    try:
        return plain(parse_json(text.encode("utf-8", "surrogatepass"), any_text=True).root)
    except DocumentError as error:
        raise ValueError(f"{error.message} at column {error.column}") from None


def plain(value: Any) -> Any:
    """A tree of `document` as plain dicts and lists, for those who keep or send it (depth is bounded)."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
