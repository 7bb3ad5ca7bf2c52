"""What is different since a workflow's last success: definition, params, times, numeric outputs. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyflowd.protocol.views_runs import RunView, TaskView
from pyflowd.render.layout import clean
from pyflowd.web.times import length

SLOWER = 1.5
"""A task that took so many times as long, or one part of it, is told."""
LEAST_US = 1_000_000
GREW = 0.1
_NUMBER = re.compile(r"^-?[0-9]{1,15}(\.[0-9]{1,9})?\Z", re.ASCII)


def changes(run: RunView, tasks: Sequence[TaskView], good: RunView, before: Sequence[TaskView]) -> list[str]:
    """What differs from the last success, the largest first: definition and params, then times and numeric outputs."""
    found: list[tuple[float, str]] = []
    named = {task.task: task for task in before if task.item is None}
    for task in tasks:
        old = named.get(task.task)
        if old is None or task.item is not None:
            continue
        found += _slower(task, old)
        found += _grew(task, old)
    same = [
        "Same definition" if run.digest == good.digest else "Another definition",
        _params(run, good),
    ]
    first = f"{same[0]}, {same[1]}." + ("" if found else " Nothing else stands out.")
    return [first, *(text for _, text in sorted(found, key=lambda each: -each[0])[:2])]


def _params(run: RunView, good: RunView) -> str:
    names = sorted(name for name in {*run.params, *good.params} if run.params.get(name) != good.params.get(name))
    if not names:
        return "same params"
    told = [
        f"{clean(name)}: {clean(str(good.params.get(name)))} → {clean(str(run.params.get(name)))}" for name in names
    ]
    return f"other params ({', '.join(told[:3])}{', …' if told[3:] else ''})"


def _slower(task: TaskView, old: TaskView) -> list[tuple[float, str]]:
    if None in (task.started_us, task.ended_us, old.started_us, old.ended_us):
        return []
    now = (task.ended_us or 0) - (task.started_us or 0)
    then = (old.ended_us or 0) - (old.started_us or 0)
    ratio = max(now, 1) / max(then, 1)
    if abs(now - then) < LEAST_US or 1 / SLOWER < ratio < SLOWER:
        return []
    return [(max(ratio, 1 / ratio), f"{clean(task.task)} took {length(now)}, then {length(then)}.")]


def _grew(task: TaskView, old: TaskView) -> list[tuple[float, str]]:
    found = []
    for name, value in task.outputs.items():
        now, then = _number(value), _number(old.outputs.get(name))
        if now is None or then is None or now == then:
            continue
        ratio = abs(now - then) / max(abs(then), 1e-9)
        if ratio >= GREW:
            percent = f" ({'+' if now > then else '−'}{ratio * 100:.0f} %)" if then and ratio < 100 else ""
            found.append(
                (1 + ratio, f"{clean(task.task)}.{clean(name)} went from {_said(then)} to {_said(now)}{percent}.")
            )
    return found


def _number(value: object) -> float | None:
    """A number, or a text that is one: what a shell gives on is text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _NUMBER.match(value):
        return None
    return float(value) if "." in value else int(value)


def _said(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
