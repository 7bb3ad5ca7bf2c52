"""A definition as it is after templates and drop-ins, each value with the place it comes from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pyflowd.protocol.views_workflows import OriginView
from pyflowd.render.layout import Style, clean, dim, text_width

_COLUMN = 44
"""Where the places stand, unless a value is longer."""
_PLAIN_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/.$%")
_WORDS = frozenset({"true", "false", "null", "~"})


def origin_lines(values: Sequence[OriginView], style: Style) -> list[str]:
    """A tree of keys as YAML has it; behind each value, as a comment, file and line."""
    lines: list[str] = []
    above: list[str] = []
    for each in values:
        known = _common(above, each.path)
        lines += [f"{'  ' * depth}{_written(each.path[depth])}:" for depth in range(known, len(each.path) - 1)]
        lines += _leaf(each, style)
        above = each.path
    return lines


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many keys two paths begin with together."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def _leaf(value: OriginView, style: Style) -> list[str]:
    indent = "  " * (len(value.path) - 1)
    key = f"{indent}{_written(value.path[-1])}: " if value.path else ""
    place = dim(f"# {clean(value.file)}:{value.line}", style)
    if isinstance(value.value, str) and "\n" in value.value.rstrip("\n"):
        text = value.value.rstrip("\n").split("\n")
        mark = "|" if value.value.endswith("\n") else "|-"
        head = f"{key}{mark}"
        return [_with(head, place), *(f"{indent}  {clean(line)}" for line in text)]
    return [_with(key + _written(value.value), place)]


def _with(text: str, place: str) -> str:
    return text + " " * max(2, _COLUMN - text_width(text)) + place


def _written(value: Any) -> str:
    """A value on one line of YAML; text without quotes where nothing could take it for something else."""
    if isinstance(value, str):
        plain = value[:1] in _PLAIN_FIRST and value.lower() not in _WORDS and value.isprintable()
        if plain and ": " not in value and " #" not in value and value == value.strip() and not value.endswith(":"):
            return value
    return clean(msgspec.json.encode(value).decode())
