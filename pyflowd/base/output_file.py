"""What a task gave on: the text of the file `$PYFLOW_OUTPUT` to values (rule P5), and of the file beside it to the
attempt's own word for why it failed. Pure; opens nothing.

The file is a sequence of, later ones over earlier ones: a JSON object (may span lines), a line `name=value` (text), or
`name<<END`, lines of text, `END`. `pyflowd.task.output` appends objects, a shell's `echo` the others.
"""

from __future__ import annotations

import json
import re
from typing import Any

from msgspec import Struct

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", re.ASCII)
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_-]{0,62})(=|<<)(.*)", re.ASCII | re.DOTALL)
_BLANK = re.compile(r"[ \t\r\n]*")
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1  # what msgpack, SQLite and every reader of our JSON can hold
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_MESSAGE = 2000
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def parse(data: bytes) -> dict[str, Any]:
    """The outputs, in the order of their first writing. Raises ValueError with the line and the reason."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"line {data.count(10, 0, error.start) + 1}: not UTF-8") from None
    values: dict[str, Any] = {}
    at = 0
    while (at := _skip_blank(text, at)) < len(text):
        try:
            read = _read_object if text[at] == "{" else _read_assignment
            found, end = read(text, at)
            for name, value in found.items():
                check(name, value)
        except ValueError as error:
            raise ValueError(f"line {text.count(chr(10), 0, at) + 1}: {error}") from None
        values |= found
        at = end
    return values


def _skip_blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _read_object(text: str, at: int) -> tuple[dict[str, Any], int]:
    try:
        found, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"JSON deeper than {MAX_DEPTH}") from None
    line_end = text.find("\n", end)
    rest = text[end : None if line_end < 0 else line_end]
    if rest.strip():
        raise ValueError("text after the JSON object")
    return found, len(text) if line_end < 0 else line_end + 1


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _read_assignment(text: str, at: int) -> tuple[dict[str, Any], int]:
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    match = _ASSIGNMENT.fullmatch(text, at, line_end)
    if match is None:
        raise ValueError("neither name=value nor a JSON object")
    if match[2] == "=":
        return {match[1]: match[3]}, line_end + 1
    if not match[3].strip():
        raise ValueError(f"{match[1]}<< names no end")
    lines: list[str] = []
    while line_end < len(text):
        start, line_end = line_end + 1, text.find("\n", line_end + 1)
        line_end = len(text) if line_end < 0 else line_end
        line = text[start:line_end]
        if line == match[3]:
            return {match[1]: "\n".join(lines)}, line_end + 1
        lines.append(line)
    raise ValueError(f"the end of {match[1]}<<{match[3][:80]} is missing")


def check(name: str, value: Any) -> None:
    """Whether it can be kept and read by everyone. Raises ValueError."""
    if not _NAME.fullmatch(name):
        rule = "letters, digits, _ and -, first a letter or _, at most 63"
        raise ValueError(f"{json.dumps(name[:80])} is no name of an output: use {rule}")
    _check_value(value, name, 0)


def _check_value(value: Any, name: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"{name}: deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise ValueError(f"{name}: half a surrogate pair, which no text can hold")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_value(key, name, depth)
            _check_value(item, name, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_value(item, name, depth + 1)
    elif isinstance(value, int) and not _MIN_INT <= value <= _MAX_INT:
        raise ValueError(f"{name}: a whole number of more than 64 bits")
    elif isinstance(value, float) and value - value != 0:
        raise ValueError(f"{name}: a number too large")


class Said(Struct, frozen=True, kw_only=True):
    """Why an attempt failed, in its own words."""

    message: str
    """One line; empty: nothing was said."""
    facts: dict[str, str]
    """Such as `type`, the class of an exception."""


def parse_said(data: bytes) -> Said:
    """The file `$PYFLOW_OUTPUT.error`: a message in the first line, `name=value` in others. Never raises."""
    lines = data[:MAX_BYTES].decode("utf-8", "replace").split("\n")
    facts = {}
    for line in lines[1:100]:
        match = _ASSIGNMENT.fullmatch(line)
        if match is not None and match[2] == "=":
            facts[match[1]] = _one_line(match[3])
    return Said(message=_one_line(lines[0]), facts=facts)


def _one_line(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()[:_MAX_MESSAGE]
