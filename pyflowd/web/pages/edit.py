"""The editor: a definition as it is typed, what is wrong with it, its graph; before it is saved, what saving changes.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from pyflowd.model.problem import Problem, Severity
from pyflowd.protocol.views_runs import TaskView
from pyflowd.protocol.views_workflows import SavedView
from pyflowd.web.drawing import link_to
from pyflowd.web.editor.jobs import Checked, TypedTask
from pyflowd.web.marks import Mark, mark
from pyflowd.web.pages.dag import Asked, Dag, Links, draw
from pyflowd.web.pages.versions import DiffLine, marked
from pyflowd.web.times import Times, When, counted

WHOLE_MAX = 150
"""Tasks up to which each is a box of its own."""
PROBLEMS_SHOWN = 100
SLOTS_SHOWN = 12
NEW = """\
description: What it is for
schedule: {cron: "30 2 * * *"}
tasks:
  hello:
    run: echo "Hello from $PYFLOW_WORKFLOW"
"""
_NEAREST = re.compile(r'(?:did you mean|perhaps) "?([A-Za-z0-9_.-]+)"?\??', re.IGNORECASE)


class Shown(Struct, frozen=True, kw_only=True):
    """One problem."""

    mark: Mark
    severity: str
    line: int
    """0: of the whole file."""
    column: int
    place: str
    text: str
    fix: str
    word: str
    """What to write in its place, where that is sure enough for a button; else empty."""


class Draft(Struct, frozen=True, kw_only=True):
    """A text on its way: what the form carries."""

    name: str
    """Of the workflow; empty: a new one."""
    file: str
    text: str
    base: str
    """SHA-256 of what was there when the change began; empty: nothing."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What is said of a text while it is typed."""

    problems: list[Shown]
    left_out: int
    summary: str
    """`1 error, 2 warnings`, `No problems`."""
    errors: int
    save: str
    """Beside the button."""
    may_save: bool
    graph: Dag | None
    graph_note: str
    """Why there is no graph; empty: there is."""
    tasks: list[str]
    lines: list[tuple[str, int]]
    """Task to its line."""


class Slot(Struct, frozen=True, kw_only=True):
    sign: str
    when: When | None
    trigger: str


class Changes(Struct, frozen=True, kw_only=True):
    """Before it is saved."""

    heading: str
    lines: list[DiffLine]
    slots: list[Slot]
    slots_text: str
    may_save: bool
    conflict: bool
    why_not: str


def verdict(
    draft: Draft, checked: Checked, problems: Sequence[Problem], times: Times, refused: str, *, task: str = ""
) -> Verdict:
    """`refused`: why it may not be saved at all."""
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    graph, note = _graph(draft, checked, times, task)
    return Verdict(
        problems=[_shown(problem) for problem in problems[:PROBLEMS_SHOWN]],
        left_out=max(0, len(problems) - PROBLEMS_SHOWN),
        summary=_summary(errors, len(problems) - errors),
        errors=errors,
        save=refused or (f"{counted(errors, 'error')}: Save is off" if errors else ""),
        may_save=not refused and not errors,
        graph=graph,
        graph_note=note,
        tasks=[each.name for each in checked.tasks],
        lines=[(each.name, each.line) for each in checked.tasks],
    )


def _summary(errors: int, warnings: int) -> str:
    parts = [counted(count, noun) for count, noun in ((errors, "error"), (warnings, "warning")) if count]
    return ", ".join(parts) or "No problems"


def _shown(problem: Problem) -> Shown:
    found = _NEAREST.search(problem.fix) or _NEAREST.search(problem.message)
    return Shown(
        mark=mark(problem.severity.value),
        severity=problem.severity.value,
        line=problem.line,
        column=problem.column,
        place=f"{problem.line}:{problem.column}" if problem.line else "file",
        text=problem.message,
        fix=problem.fix,
        word=found[1] if found and problem.line else "",
    )


def fixed(text: str, line: int, column: int, word: str) -> str:
    """`text` with `word` in the place of the word at a place, both from 1; as it was where there is none."""
    lines = text.split("\n")
    if not 1 <= line <= len(lines):
        return text
    at = lines[line - 1]
    found = re.compile(r"""["']?([A-Za-z0-9_.-]+)""").match(at, max(0, column - 1))
    if not found:
        return text
    lines[line - 1] = at[: found.start(1)] + word + at[found.end(1) :]
    return "\n".join(lines)


# ---- The graph as typed ----------------------------------------------------------------------------------------------


def _graph(draft: Draft, checked: Checked, times: Times, task: str) -> tuple[Dag | None, str]:
    if not checked.readable:
        return None, "Drawn when the text can be read."
    if not checked.tasks:
        return (
            None,
            "No tasks yet." if not checked.elsewhere else "Its tasks come from a template: drawn when it is saved.",
        )
    page = link_to("workflows", draft.name, "edit") if draft.name else "/new"
    look = Asked(whole=len(checked.tasks) <= WHOLE_MAX, task=task)
    return draw([_view(each) for each in checked.tasks], times, look, Links(of=draft.name, page=page)), ""


def _view(task: TypedTask) -> TaskView:
    return TaskView(
        task=task.name, state="", needs=task.needs, kind=task.kind, attempts_max=task.attempts,
        trigger_rule=task.trigger_rule, fan_out=task.fan_out,
    )  # fmt: skip


# ---- Before saving ---------------------------------------------------------------------------------------------------


def changes(view: SavedView, times: Times) -> Changes:
    errors = sum(problem.severity is Severity.ERROR for problem in view.problems)
    lines = marked(view.diff.splitlines())
    added, removed = (sum(line.css == css for line in lines) for css in ("add", "del"))
    conflict = view.there is not None
    why = view.refused or (f"{counted(errors, 'error')}: Save is off" if errors else "")
    if not lines and not why:
        why = "nothing is different"
    slots = [Slot(sign="-", when=times.when(each.scheduled_us), trigger=each.trigger) for each in view.slots_removed]
    slots += [Slot(sign="+", when=times.when(each.scheduled_us), trigger=each.trigger) for each in view.slots_added]
    slots.sort(key=lambda slot: slot.when.at_us if slot.when else 0)
    return Changes(
        heading=f"Save {view.file}: {counted(added, 'line')} added, {removed} removed",
        lines=lines, slots=slots[:SLOTS_SHOWN], slots_text=_slots_text(len(view.slots_added), len(view.slots_removed)),
        may_save=not why, conflict=conflict and bool(view.refused), why_not=why,
    )  # fmt: skip


def _slots_text(added: int, removed: int) -> str:
    """What becomes of the next day."""
    if not added and not removed:
        return "The slots of the next 24 hours stay as they are."
    parts = [f"{counted(count, 'slot')} {what}" for count, what in ((added, "more"), (removed, "fewer")) if count]
    return f"In the next 24 hours: {', '.join(parts)}."
