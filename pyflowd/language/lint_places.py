"""Where in a file a piece of a value stands: of a block, a plain or a quoted text; and the mappings of all tasks.

A mark says where a value begins. What YAML makes of the text between, such as indentation and folding, is undone here
as far as it is plain; where it is not, the place is that of the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pyflowd.language.document import Mapping

SECTIONS = ("tasks", "on_success", "on_failure", "on_cancel", "finally")
_BLOCK = re.compile(r"[|>][-+0-9]*[ \t]*(?:#[^\n]*)?\r?\n")


def place_in_value(text: str, mark: int, value: str, start: int, end: int) -> int:
    """The mark of `value[start:end]`, where `value` begins at `mark` of `text`."""
    if text.startswith(value, mark):
        return mark + start
    if text[mark : mark + 1] in ('"', "'") and text.startswith(value, mark + 1):
        return mark + 1 + start
    block = _BLOCK.match(text, mark)
    if block is not None and text[mark] == "|":
        found = _in_block(text, block.end(), value, start)
        if found >= 0:
            return found
    return _same_occurrence(text, mark, value, start, end)


def _in_block(text: str, at: int, value: str, start: int) -> int:
    """In a literal block each line of the value is a line of the text, behind the same indentation; -1: it is not."""
    number = value.count("\n", 0, start)
    line_start = value.rfind("\n", 0, start) + 1
    wanted = value[line_start:].partition("\n")[0]
    for _ in range(number):
        at = text.find("\n", at) + 1
        if not at:
            return -1
    line = text[at:].partition("\n")[0].removesuffix("\r")
    return at + len(line) - len(wanted) + start - line_start if line.endswith(wanted) else -1


def _same_occurrence(text: str, mark: int, value: str, start: int, end: int) -> int:
    """The n-th time that the piece stands in the value is the n-th time that it stands in the text."""
    piece = value[start:end].partition("\n")[0]
    if not piece:
        return mark
    at = mark - 1
    for _ in range(value.count(piece, 0, start) + 1):
        at = text.find(piece, at + 1, mark + 2 * len(value) + 4096)
        if at < 0:
            return mark
    return at


class TaskPlace(NamedTuple):
    """The mapping of a task, by the name that the task has when it is compiled."""

    name: str
    section: str
    mapping: Mapping
    mark: int


def tasks_of(root: Mapping) -> Iterator[TaskPlace]:
    """All tasks of a definition that compiled, those that belong to others behind them."""
    for key in SECTIONS:
        yield from _section(key, root.get(key))


def _section(key: str, section: object) -> Iterator[TaskPlace]:
    if not isinstance(section, Mapping):
        return
    for n, (name, mapping) in enumerate(section.items()):
        if not isinstance(mapping, Mapping):
            continue
        mark = section.marks[2 * n]
        yield TaskPlace(name, key, mapping, mark)
        undo = mapping.get("undo")
        if isinstance(undo, Mapping):
            yield TaskPlace(f"{name}.undo", "undo", undo, mapping.key_mark("undo"))
        yield from _section("on_error", mapping.get("on_error"))
