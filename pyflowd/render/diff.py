"""What differs: two texts of a definition, two runs. Pure; it knows nothing of how it is shown.

A diff of long texts takes long (`difflib` is quadratic at worst): the client makes it. The daemon makes the short one
that `rerun --latest` shows, of texts that are not long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from pyflowd.language.definition_text import by_place, decoded
from pyflowd.protocol.views_runs import TaskView

DIGITS = 12
"""Of a digest, for people: enough to name a text, short enough for a line."""
BRIEF_BYTES = 64 * 1024
BRIEF_TEXT_LINES = 1000
"""Of a text that the daemon compares: a few milliseconds of one turn."""
BRIEF_LINES = 40
_NOTHING = "/dev/null"
"""What a diff calls a file that is not there."""


class Difference(Struct, frozen=True, kw_only=True):
    """A value that two runs do not have in common; absent: it is not there."""

    name: str
    old: Any = None
    new: Any = None
    was: bool = True
    """Whether the old run has it, and `there` whether the new one does: a value may be null."""
    there: bool = True


class TaskPair(Struct, frozen=True, kw_only=True):
    """A task, or an item, in two runs. None: the run has no such task."""

    task: str
    old: TaskView | None
    new: TaskView | None
    outputs: list[Difference]

    @property
    def same(self) -> bool:
        """Whether it came to the same; how long it took is no part of that."""
        if self.old is None or self.new is None:
            return False
        return not self.outputs and _came_to(self.old) == _came_to(self.new)


def _came_to(task: TaskView) -> tuple[object, ...]:
    return task.state, task.reason, task.exit_code, task.signal


# ---- Texts ----------------------------------------------------------------------------------------------------------


_WITHOUT_LINES = "(they differ in ends of lines only)"
_NO_TEXT = "(it has no text)"


def unified(old: bytes, new: bytes, old_label: str, new_label: str) -> list[str]:
    """Lines of a unified diff of two texts of definitions; none where they are equal."""
    before, after = by_place(old), by_place(new)
    found: list[str] = []
    for role, name in {**after, **before}:
        what = f" ({role} {name})" if name else ""
        one, other = before.get((role, name)), after.get((role, name))
        found += _of_part(one, other, old_label + what, new_label + what)
    return found


def _of_part(old: bytes | None, new: bytes | None, old_label: str, new_label: str) -> list[str]:
    if old == new:
        return []
    import difflib  # costs memory; only a comparison needs it

    labels = (_NOTHING if old is None else old_label, _NOTHING if new is None else new_label)
    before, after = decoded(old or b"").splitlines(), decoded(new or b"").splitlines()
    found = list(difflib.unified_diff(before, after, *labels, lineterm=""))
    return found or [f"--- {labels[0]}", f"+++ {labels[1]}", _WITHOUT_LINES if (old or new) else _NO_TEXT]


def brief(old: bytes, new: bytes, old_label: str, new_label: str, see: str) -> str:
    """The same, shortened; `see` is the command that shows all of it."""
    if max(len(old), len(new)) > BRIEF_BYTES or max(old.count(b"\n"), new.count(b"\n")) > BRIEF_TEXT_LINES:
        return f"--- {old_label}\n+++ {new_label}\n(too long to be compared here; see: {see})"
    lines = unified(old, new, old_label, new_label)
    if len(lines) > BRIEF_LINES:
        lines = [*lines[: BRIEF_LINES - 1], f"({len(lines) - BRIEF_LINES + 1} more lines; see: {see})"]
    return "\n".join(lines)


def of_file(old: bytes | None, new: bytes, file: str) -> str:
    """A unified diff of the text of one file; empty where they are equal. `old` None: there is none."""
    if (
        max(len(old or b""), len(new)) > BRIEF_BYTES
        or max((old or b"").count(b"\n"), new.count(b"\n")) > BRIEF_TEXT_LINES
    ):
        return "" if old == new else f"--- {file}\n+++ {file}\n(too long to be compared here)"
    return "\n".join(_of_part(old, new, file, file))


# ---- Runs -----------------------------------------------------------------------------------------------------------


def values(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """The names whose values differ, in the order of the new ones, then those that are gone."""
    names = [*new, *(name for name in old if name not in new)]
    return [
        Difference(name=name, old=old.get(name), new=new.get(name), was=name in old, there=name in new)
        for name in names
        if name not in old or name not in new or not _equal(old[name], new[name])
    ]


def _equal(one: Any, other: Any) -> bool:
    """Equality that tells true from 1, and 1 from 1.0 not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def tasks(old: Sequence[TaskView], new: Sequence[TaskView]) -> list[TaskPair]:
    """Every task and item of either run, in the order of the new one, then those that only the old one has."""
    before, after = {task.task: task for task in old}, {task.task: task for task in new}
    return [_pair(name, before.get(name), after.get(name)) for name in {**after, **before}]


def _pair(name: str, old: TaskView | None, new: TaskView | None) -> TaskPair:
    outputs = values(old.outputs if old else {}, new.outputs if new else {})
    return TaskPair(task=name, old=old, new=new, outputs=outputs)
