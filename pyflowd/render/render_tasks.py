"""Tasks of a run as text: states with their reasons, items of a fan-out, handlers, what to do next, plans. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from pyflowd.exit_status import exit_text, signal_name
from pyflowd.model.states import RUN_TERMINAL
from pyflowd.protocol.views_runs import AnswerView, ApprovalView, ArtifactView, RunView, TaskView
from pyflowd.protocol.views_workflows import PlanView
from pyflowd.render.layout import (
    Cell,
    Style,
    Table,
    bold,
    clean,
    dim,
    fit,
    glyph,
    moment,
    relative,
    span,
    text_width,
    took,
    values_text,
)
from pyflowd.render.render_runs import (
    counts_text,
    glyph_text,
    head,
    hint,
    outputs,
    param_text,
    reason_text,
    second_cancel,
    state_word,
)
from pyflowd.units import size_text

_BAD = ("failed", "upstream_failed", "cancelled")
_ITEMS_TOLD = ("running", "retrying", "skipped", "upstream_failed", "cancelled", "failed")
"""States whose number is said of a fan-out; what went wrong last, where the eye ends."""
_ITEMS_SHOWN = ("running", "retrying", "cancelled", "failed")
"""States of items that have lines of their own."""
_APPROVALS_SHOWN = 5
_PLAN_NAME_MAX = 40


# ---- Sentences ------------------------------------------------------------------------------------------------------


def task_phrase(view: TaskView, style: Style) -> str:
    """The state of a task with its reason and tries: `failed: exit code 7 (attempt 3)`."""
    word = state_word(view.state) + (", allowed" if _was_allowed(view) else "")
    if view.state == "upstream_failed":
        return "not run: a task that it needs failed"
    if view.items:
        return f"{word}: {items_text(view.items)}"
    if view.kind == "approval" and view.state == "running":
        return f"waits for an answer: {clean(str(view.values.get('message', '')))}"
    why = _task_reason(view)
    if view.state == "retrying":
        due = relative(view.retry_us, style)
        if view.pass_number and not view.reason:
            return f"next pass {due}".rstrip() + _tries(view)
        return f"retrying {due}".rstrip() + (f": {why}" if why else "") + _tries(view)
    if view.state in ("waiting", "queued", "running"):
        why = f"waits for {clean(view.why_queued)}" if view.why_queued else ""
    if not why and view.called_runs:
        why = f"run {view.called_runs[-1]}"
    elif not why and view.kind == "approval":
        why = _answered_by(view)
    return (f"{word}: {why}" if why and why != word else word) + _tries(view)


def items_text(items: dict[str, int]) -> str:
    """`397 of 400, 3 failed`: how many of the items succeeded, and what became of others."""
    told = [f"{items[state]:,} {state_word(state)}" for state in _ITEMS_TOLD if items.get(state)]
    return ", ".join([f"{items.get('succeeded', 0):,} of {sum(items.values()):,}", *told])


def _answered_by(view: TaskView) -> str:
    by, choice = view.outputs.get("by"), view.outputs.get("choice")
    chosen = f", who chose {clean(str(choice))}" if choice is not None else ""
    return f"approved by {clean(str(by))}{chosen}" if by else ""


def _was_allowed(view: TaskView) -> bool:
    """Whether it failed and that is no fault (rule S6)."""
    return view.allowed and view.state == "failed"


def _tries(view: TaskView) -> str:
    """How many tries it took, where more than one was or is possible; lost attempts do not count (rule R6)."""
    if view.passes_max:
        return _passes(view)
    if view.attempts <= 1 and (view.attempts_max <= 1 or view.state == "succeeded" or not view.attempts):
        return ""
    return f" (attempt {view.attempts} of {max(view.attempts, view.attempts_max)})"


def _passes(view: TaskView) -> str:
    """Which pass of a `repeat` it is at, and the attempt where that is another number."""
    if not view.pass_number or view.reason == "repeat_exhausted":
        return ""  # its reason counts them
    most = "" if view.state == "succeeded" else f" of at most {view.passes_max}"
    attempt = f", attempt {view.attempts}" if view.attempts != view.pass_number else ""
    return f" (pass {view.pass_number}{most}{attempt})"


def _task_reason(view: TaskView) -> str:
    if view.reason == "signal" and view.signal is not None:
        return f"killed by {signal_name(view.signal)}"
    if view.reason in ("exit_code", "skip_code") and view.exit_code is not None:
        said = clean(view.error)
        text = exit_text(view.exit_code)
        return text if not said or said == f"exit code {view.exit_code}" else f"{said} ({text})"
    if view.reason == "lost" and view.error:
        return f"its end is unknown ({clean(view.error)})"
    if view.reason == "cached":
        return _cached(view)
    if view.reason == "condition_false" and view.values:
        return values_text(view.values)
    return clean(view.error) or reason_text(view.reason)


def _cached(view: TaskView) -> str:
    """`cached from run 41, 3 h old`: of the moment when it was used again."""
    found = view.values.get("cache")
    if not isinstance(found, dict):
        return reason_text(view.reason)
    return f"cached from run {found.get('run')}, {span(float(found.get('age_s', 0)))} old"


# ---- Tables ---------------------------------------------------------------------------------------------------------


def task_rows(tasks: Iterable[TaskView], style: Style) -> list[list[Cell]]:
    """Glyph, name, state, start, time taken, CPU, memory."""
    return [
        [
            Cell(glyph_text(task.state), _look(task)),
            Cell(("  " if _is_item(task) else "") + clean(task.task)),
            Cell(task_phrase(task, style), _look(task), wraps=True),
            Cell(moment(task.started_us, style)),
            Cell(took(task.started_us, task.ended_us, style), right=True),
            Cell(f"cpu {task.cpu_s:.1f}s" if task.cpu_s is not None else "", right=True),
            Cell(size_text(task.max_rss_bytes) if task.max_rss_bytes else "", right=True),
        ]
        for task in tasks
    ]


def _is_item(task: TaskView) -> bool:
    return task.item is not None and task.section != "undo"


def _look(task: TaskView) -> str:
    """The state whose colour a task has."""
    return "warning" if _was_allowed(task) else task.state


class TaskLines:
    """The table of tasks, over any number of pages: items below their fan-out, handlers below a line of their own."""

    def __init__(self, run: int, style: Style) -> None:
        self._run = run
        self._style = style
        self._table = Table(style, droppable=(3, 6, 5))
        self._section = ""
        self._hidden = 0
        """Items of the fan-out before that are worth a look and have not come."""

    def lines(self, tasks: Sequence[TaskView]) -> list[str]:
        lines: list[str] = []
        for task, line in zip(tasks, self._table.lines(task_rows(tasks, self._style)), strict=True):
            if _is_item(task):
                self._hidden -= task.state in _ITEMS_SHOWN
            else:
                lines += [*self.rest(), *self._heading(task.section)]
                self._hidden = sum(task.items.get(state, 0) for state in _ITEMS_SHOWN)
            lines.append(line)
        return lines

    def rest(self) -> list[str]:
        """What the last fan-out has beyond what was shown."""
        hidden, self._hidden = self._hidden, 0
        return (
            [hint(f"    and {hidden:,} more: pyflowctl status {self._run} --items", self._style)] if hidden > 0 else []
        )

    def _heading(self, section: str) -> list[str]:
        if section == self._section:
            return []
        self._section = section
        return [dim(f"  {section}", self._style)]


# ---- Approvals ------------------------------------------------------------------------------------------------------


def waits_for_answer(tasks: Iterable[TaskView]) -> Iterator[TaskView]:
    return (task for task in tasks if task.kind == "approval" and task.state == "running" and not task.items)


def questions(run: int, tasks: Sequence[TaskView], style: Style) -> list[str]:
    """The whole message of each approval that waits, and what to type."""
    lines: list[str] = []
    for task in tasks[:_APPROVALS_SHOWN]:
        lines += ["", f"{clean(task.task)} waits for an answer: {clean(str(task.values.get('message', '')))}"]
        lines.append(hint(approve_command(run, task.task, task.choices), style))
    if len(tasks) > _APPROVALS_SHOWN:
        lines.append(hint(f"and {len(tasks) - _APPROVALS_SHOWN} more: pyflowctl approvals", style))
    return lines


def approve_command(run: int, task: str, choices: Sequence[str]) -> str:
    """What answers an approval; a key of an item may be any text, so it is quoted."""
    choose = f" --choose {shlex.quote(clean(choices[0]))}" if choices else ""
    others = f"  # or {', '.join(clean(choice) for choice in choices[1:])}" if len(choices) > 1 else ""
    return f"pyflowctl approve {run} {shlex.quote(clean(task))}{choose}{others}"


def approval_lines(approvals: Sequence[ApprovalView], style: Style) -> list[str]:
    """Of the host: `waiting for an answer: deploy run 42 (approve)`, a few of them."""
    lines = [
        f"  {glyph('waiting', style)} waiting for an answer: {view.workflow} run {view.run} ({clean(view.task)}), "
        f"asked {relative(view.since_us, style)}"
        for view in approvals[:_APPROVALS_SHOWN]
    ]
    if len(approvals) > _APPROVALS_SHOWN:
        lines.append(hint(f"and {len(approvals) - _APPROVALS_SHOWN} more: pyflowctl approvals", style))
    elif approvals:
        first = approvals[0]
        lines.append(hint(approve_command(first.run, first.task, first.choices), style))
    return lines


def approval_header() -> list[Cell]:
    return [Cell("RUN", right=True), *map(Cell, ("WORKFLOW", "TASK", "MESSAGE", "SINCE", "UNTIL", "MAY ANSWER"))]


def approval_rows(approvals: Iterable[ApprovalView], style: Style) -> list[list[Cell]]:
    """Run, workflow, task, message, since when, until when and what it means then, who may answer."""
    return [
        [
            Cell(str(view.run), right=True),
            Cell(view.workflow),
            Cell(clean(view.task)),
            Cell(clean(view.message), wraps=True),
            Cell(relative(view.since_us, style)),
            Cell("" if view.due_us is None else f"{relative(view.due_us, style)}: {view.on_timeout}"),
            Cell(_who(view)),
        ]
        for view in approvals
    ]


def _who(view: ApprovalView) -> str:
    who = ", ".join(clean(allowed) for allowed in view.allow) or "whoever may operate"
    return f"{who}, but not {clean(view.requested_by)}" if view.forbid_requester else who


def answer(view: AnswerView, style: Style) -> list[str]:
    """The acknowledgement of an answer."""
    state = "succeeded" if view.approved else "failed"
    word = "approved" if view.approved else "rejected"
    chosen = f", choice {clean(view.choice)}" if view.choice is not None else ""
    said = f"{clean(view.task)} of run {view.run} of {view.workflow} is {word} by {clean(view.by)}{chosen}"
    return [f"{glyph(state, style)} {said}", hint(f"pyflowctl status {view.run}", style)]


# ---- Artifacts ------------------------------------------------------------------------------------------------------


def artifact_header() -> list[Cell]:
    return [Cell("TASK"), Cell("NAME"), Cell("SIZE", right=True), Cell("SHA-256")]


def artifact_rows(artifacts: Iterable[ArtifactView]) -> list[list[Cell]]:
    return [
        [
            Cell(clean(view.task)),
            Cell(clean(view.name)),
            Cell(size_text(view.size_bytes), right=True),
            Cell(view.sha256),
        ]
        for view in artifacts
    ]


# ---- Hints, summary -------------------------------------------------------------------------------------------------


def bad_tasks(tasks: Iterable[TaskView], before: Iterable[TaskView] = ()) -> list[TaskView]:
    """Those that went wrong, of a page that comes after `before`; items only where their fan-out did."""
    found: list[TaskView] = []
    names = {task.task for task in before}
    for task in tasks:
        if task.state in _BAD and not _was_allowed(task) and (not _is_item(task) or task.of in names):
            found.append(task)
            names.add(task.task)
    return found


def first_failed(tasks: Iterable[TaskView]) -> TaskView | None:
    """The first task that failed; of a fan-out its first item that did, since that has said something."""
    failed: TaskView | None = None
    for task in bad_tasks(tasks):
        if task.state == "failed" and (failed is None or (failed.items and task.of == failed.task)):
            failed = task
    return failed


def hints(view: RunView, failed: TaskView | None, style: Style) -> list[str]:
    """What to do next, after a run that is not well; `failed` is its first failed task."""
    if view.state == "failed":
        logs = f"pyflowctl logs {view.run}" + (f" {shlex.quote(clean(failed.task))}" if failed else "")
        # What could not be started has said nothing.
        shown = [] if failed and failed.reason == "start_failed" else [logs]
        return ["", *(hint(command, style) for command in (*shown, f"pyflowctl rerun {view.run} --failed"))]
    if view.state == "running" and view.stopping:
        return ["", second_cancel(view, style)]
    if view.state == "running":
        return ["", hint(f"pyflowctl logs {view.run} -f", style)]
    return []


def summary(view: RunView, failed: Sequence[TaskView], style: Style) -> list[str]:
    """How a run that was waited for ended."""
    lasted = took(view.started_us, view.ended_us, style)
    counts = counts_text(view)
    lines = [head(view, style, lasted if view.state in RUN_TERMINAL else "")]
    if counts:
        lines.append(dim(f"  tasks: {counts}", style))
    table = TaskLines(view.run, style)
    lines += [*table.lines(failed), *table.rest(), *outputs(view.outputs, style)]
    return lines + hints(view, first_failed(failed), style)


# ---- Plans ----------------------------------------------------------------------------------------------------------


def plan(view: PlanView, style: Style) -> list[str]:
    """What a run would do, in the order of the definition; expressions as they are written."""
    tasks = f"{len(view.tasks):,} task" + ("" if len(view.tasks) == 1 else "s")
    lines = [bold(f"{view.workflow} would run {tasks}; nothing was recorded", style)]
    if view.params:
        lines.append("  params: " + ", ".join(param_text(name, value) for name, value in view.params.items()))
    shown = (*view.tasks, *view.handlers)
    widest = min(max((text_width(task.task) for task in shown), default=0), _PLAN_NAME_MAX)
    for task in view.tasks:
        lines += _planned(task, view, widest, style)
    section = ""
    for task in view.handlers:
        if task.section != section:
            section = task.section
            lines.append(dim(f"  {section}", style))
        lines += _planned(task, view, widest, style)
    lines += outputs(view.outputs, style)
    lines += [f"  warning: {clean(str(problem))}" for problem in view.warnings]
    lines += [f"  {glyph('warning', style)} {clean(note)}" for note in view.notes]
    return lines


def _planned(task: TaskView, view: PlanView, widest: int, style: Style) -> list[str]:
    """Its name with what it comes after, then what decides over it, then what it does."""
    after = f"after {', '.join(task.needs)}" if task.needs else f"for {task.of}" if task.of else ""
    facts = [
        f"if: {clean(task.condition)}" if task.condition else "",
        clean(task.fan_out),
        f"repeat: {clean(task.repeat)}" if task.repeat else "",
        f"cache: {clean(task.cache)}" if task.cache else "",
    ]
    first, *others = view.commands.get(task.task, "").splitlines() or [""]
    command = [clean(line) for line in (f"{task.kind}: {first}" if task.kind not in ("", "run") else first, *others)]
    lines = [f"  {task.task:<{widest}}  {dim(after, style)}".rstrip() if after else f"  {task.task}"]
    lines += [dim(fit(f"      {fact}", style.columns), style) for fact in facts if fact]
    return lines + ["      " + fit(line, style.columns - 6) for line in command if line]
