"""The functions of expressions that work on texts and single numbers.

Each is pure, takes any values and raises nothing but ExpressionError.
"""

from __future__ import annotations

import base64 as base64_codec
import binascii
import hashlib
import json
import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import NoReturn
from urllib.parse import quote

from pyflowd.expressions import pattern as patterns
from pyflowd.expressions.expression_values import (
    MAX_LIST_ITEMS,
    MAX_TEXT_CHARACTERS,
    MAX_VALUE_SIZE,
    ExpressionError,
    Value,
    encoded,
    is_number,
    kind,
    shown,
    text_of,
    weight,
)

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_LONGEST_NUMBER = 400
_MOST_DIGITS = 15
_EXACT = Context(prec=40)
_NULL_FIX = ": default(...) gives another value"


def _text(value: Value, what: str) -> str:
    if isinstance(value, str):
        return value
    fix = _NULL_FIX if value is None else f": text(...) makes one of {kind(value)}"
    raise ExpressionError(f"{what} must be a text, not {kind(value)}{fix}")


def _a_number(value: Value) -> int | float:
    if is_number(value):
        return value  # type: ignore[no-any-return]
    fix = (
        _NULL_FIX if value is None else ": int(...) or float(...) makes one of a text" if isinstance(value, str) else ""
    )
    raise ExpressionError(f"it needs a number, not {kind(value)}{fix}")


# ---- Conversions ----------------------------------------------------------------------------------------------------


def integer(value: Value) -> int:
    if isinstance(value, str):
        stripped = value.strip(" \t\r\n")
        if _WHOLE.fullmatch(stripped):
            return int(stripped)
        raise ExpressionError("the text is no whole number of 64 bits, such as '42'; float(...) takes fractions")
    if isinstance(value, bool):
        raise ExpressionError("a boolean is no number: write 1 if x else 0")
    if isinstance(value, float) and not value.is_integer():
        raise ExpressionError("the number has a fraction: write floor(...), ceil(...) or round(...)")
    return int(_a_number(value))


def number(value: Value) -> int | float:
    if isinstance(value, bool):
        raise ExpressionError("a boolean is no number: write 1 if x else 0")
    try:
        if isinstance(value, str):
            stripped = value.strip(" \t\r\n")
            if len(stripped) > _LONGEST_NUMBER or not _NUMBER.fullmatch(stripped):
                raise ExpressionError("the text is no number, such as '4.2'")
            return float(stripped)
        return float(_a_number(value))
    except OverflowError:
        raise ExpressionError("the number is too large") from None


def boolean(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value in ("true", "false"):
            return value == "true"
        raise ExpressionError("only the texts 'true' and 'false' are booleans: compare with == for any other")
    fix = _NULL_FIX if value is None else ": write x != 0" if is_number(value) else ": write len(x) > 0"
    raise ExpressionError(f"{kind(value)} is no boolean{fix}")


def from_json(text: Value) -> Value:
    written = _text(text, "JSON")
    try:
        value = json.loads(written, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError):
            raise ExpressionError(f"the text is no JSON: line {error.lineno}, column {error.colno}") from None
        raise ExpressionError("the text is no JSON: a number that JSON does not have, or nested too deeply") from None
    if weight(value, MAX_VALUE_SIZE) > MAX_VALUE_SIZE:
        raise ExpressionError("the value is too large")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


# ---- Texts ----------------------------------------------------------------------------------------------------------


def join(items: Value, separator: Value) -> str:
    if not isinstance(items, list):
        raise ExpressionError(f"join needs a list, not {kind(items)}")
    between = _text(separator, "the separator")
    parts = [text_of(each) for each in items]
    _must_fit(sum(map(len, parts)) + len(between) * max(0, len(parts) - 1))
    return between.join(parts)


def _must_fit(characters: int) -> None:
    """Before a text is made: afterwards would be too late."""
    if characters > MAX_TEXT_CHARACTERS:
        raise ExpressionError(f"the result is longer than {MAX_TEXT_CHARACTERS} characters")


def split(text: Value, separator: Value) -> list[str]:
    between = _text(separator, "the separator")
    if not between:
        raise ExpressionError("the separator is empty")
    return _text(text, "what is split").split(between, MAX_LIST_ITEMS)


def lines(text: Value) -> list[str]:
    parts = _text(text, "what is cut into lines").split("\n", MAX_LIST_ITEMS)
    if parts[-1] == "":
        parts.pop()
    return [part.removesuffix("\r") for part in parts]


def trim(text: Value) -> str:
    return _text(text, "what is trimmed").strip()


def upper(text: Value) -> str:
    return _text(text, "it").upper()


def lower(text: Value) -> str:
    return _text(text, "it").lower()


def replace(text: Value, old: Value, new: Value) -> str:
    whole, before, after = (_text(each, "each argument of replace") for each in (text, old, new))
    if not before:
        raise ExpressionError("the text to replace is empty")
    _must_fit(len(whole) + whole.count(before) * (len(after) - len(before)))
    return whole.replace(before, after)


def starts_with(text: Value, start: Value) -> bool:
    return _text(text, "it").startswith(_text(start, "the start"))


def ends_with(text: Value, end: Value) -> bool:
    return _text(text, "it").endswith(_text(end, "the end"))


def matches(text: Value, pattern: Value) -> bool:
    whole, written = _text(text, "what is matched"), _text(pattern, "a pattern")
    if len(whole) > patterns.MAX_VALUE_CHARACTERS:
        raise ExpressionError(
            f"the text is longer than the {patterns.MAX_VALUE_CHARACTERS} characters that matches takes"
        )
    try:
        patterns.check(written)
    except ValueError as error:
        raise ExpressionError(f"the pattern: {shown(str(error), 200)[1:-1]}") from None
    return patterns.matches(written, whole)


def sha256(value: Value) -> str:
    return hashlib.sha256(encoded(text_of(value))).hexdigest()


def base64(text: Value) -> str:
    return base64_codec.b64encode(encoded(_text(text, "it"))).decode()


def from_base64(text: Value) -> str:
    try:
        return base64_codec.b64decode(encoded(_text(text, "it")), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ExpressionError("the text is no base64 of a text") from None


def url_encode(text: Value) -> str:
    return quote(encoded(_text(text, "it")), safe="")


def basename(path: Value) -> str:
    return _text(path, "a path").rstrip("/").rpartition("/")[2]


def dirname(path: Value) -> str:
    """As dirname(1): `.` where there is no folder in it."""
    stripped = _text(path, "a path").rstrip("/")
    folder, slash, _ = stripped.rpartition("/")
    if not slash:
        return "/" if not stripped and path else "."
    return folder.rstrip("/") or "/"


# ---- Numbers --------------------------------------------------------------------------------------------------------


def absolute(x: Value) -> int | float:
    return abs(_a_number(x))


def rounded(x: Value, digits: Value = 0) -> int | float:
    """By its digits as they are written: 2.675 to two is 2.68, whatever its nearest binary fraction is."""
    value = _finite(x)
    if not isinstance(digits, int) or isinstance(digits, bool) or not 0 <= digits <= _MOST_DIGITS:
        raise ExpressionError(f"digits are a whole number from 0 to {_MOST_DIGITS}")
    if isinstance(value, int):
        return value
    if abs(value) >= 2**53:  # there are no fractions so far out
        return int(value) if digits == 0 else value
    near = Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, _EXACT)
    return int(near) if digits == 0 else float(near)


def _finite(x: Value) -> int | float:
    value = _a_number(x)
    if value - value != 0:
        raise ExpressionError("the number is not finite")
    return value


def floor(x: Value) -> int:
    return math.floor(_finite(x))


def ceil(x: Value) -> int:
    return math.ceil(_finite(x))
