"""Runs and their tasks as text: what happened, why, how long it took, what to do next. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from pyflowd.layout import (
    Cell,
    Style,
    Table,
    bold,
    clean,
    dim,
    fit,
    glyph,
    moment,
    paint_state,
    plural,
    relative,
    slot_moment,
    text_width,
    took,
    zone_text,
)
from pyflowd.model import RUN_TERMINAL
from pyflowd.protocol import PlanView, RunView, TaskView
from pyflowd.units import size_text

REASONS = {
    "timeout": "its time ran out",
    "cancelled": "cancelled",
    "start_failed": "it could not be started",
    "lost": "no true exit status can be had",
    "upstream_failed": "a task that it needs failed",
    "upstream_skipped": "a task that it needs was skipped",
    "no_upstream_failed": "no task that it needs failed",
    "task_failed": "a task failed",
    "kept": "kept from the run before",
    "replaced": "a newer run replaced it",
    "overlap": "a run was live",
    "queue_full": "the queue was full",
    "down": "pyflowd was not running",
    "paused": "the workflow was paused",
    "disabled": "the trigger was disabled",
    "late": "a newer slot was due as well",
    "clock_step": "the clock was set forward",
    "bad_params": "its params were refused",
}
_BAD_TASKS = ("failed", "upstream_failed", "cancelled")
_COUNT_ORDER = (
    "running", "retrying", "queued", "waiting", "succeeded", "skipped", "upstream_failed", "cancelled", "failed",
)  # fmt: skip


def state_word(state: str) -> str:
    return state.replace("_", " ")


def reason_text(reason: str | None) -> str:
    return REASONS.get(reason, reason.replace("_", " ")) if reason else ""


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# ---- Sentences ------------------------------------------------------------------------------------------------------


def run_phrase(view: RunView) -> str:
    """The state of a run with its reason: `failed: ship: exit code 7`."""
    if view.state == "queued" and view.waits_for is not None:
        return f"queued: waits for run {view.waits_for}"
    if view.state == "running" and view.stopping:
        return "running: is being cancelled" if view.stopping == "cancel" else "running: its time ran out"
    if view.state in ("succeeded", "running", "queued"):
        return view.state
    why = clean(view.error) or reason_text(view.reason)
    return f"{view.state}: {why}" if why and why != view.state else view.state


def task_phrase(view: TaskView, style: Style) -> str:
    """The state of a task with its reason and tries: `failed: exit code 7 (attempt 3)`."""
    word = state_word(view.state)
    if view.state == "upstream_failed":
        return "not run: a task that it needs failed"
    why = _task_reason(view)
    if view.state == "retrying":
        due = relative(view.retry_us, style)
        return f"retrying {due}".rstrip() + (f": {why}" if why else "") + _tries(view)
    if view.state in ("waiting", "queued", "running"):
        why = ""
    word += ", allowed" if _was_allowed(view) else ""
    return (f"{word}: {why}" if why and why != word else word) + _tries(view)


def _was_allowed(view: TaskView) -> bool:
    """Whether it failed and that is no fault (rule S6)."""
    return view.allowed and view.state == "failed"


def _tries(view: TaskView) -> str:
    """How many tries it took, where more than one was or is possible; lost attempts do not count (rule R6)."""
    if view.attempts <= 1 and (view.attempts_max <= 1 or view.state == "succeeded" or not view.attempts):
        return ""
    return f" (attempt {view.attempts} of {max(view.attempts, view.attempts_max)})"


def _task_reason(view: TaskView) -> str:
    if view.reason == "signal" and view.signal is not None:
        return f"killed by {signal_name(view.signal)}"
    if view.reason in ("exit_code", "skip_code") and view.exit_code is not None:
        return exit_text(view.exit_code)
    if view.reason == "lost" and view.error:
        return f"its end is unknown ({clean(view.error)})"
    return clean(view.error) or reason_text(view.reason)


def exit_text(code: int) -> str:
    """The exit code, with the signal where it looks like what a shell makes of one."""
    try:
        return f"exit code {code} (128 + {signal.Signals(code - 128).name})"
    except ValueError:
        return f"exit code {code}"


def head(view: RunView, style: Style, after: str = "") -> str:
    """The one sentence that says how the run is; `after`: how long it took, where that is to be said."""
    subject = f"run {view.run} of {view.workflow}"
    took_text = f" after {after}" if after else ""
    match view.state:
        case "queued":
            behind = f": it waits for run {view.waits_for}" if view.waits_for is not None else ""
            said = f"{subject} is queued{behind}"
        case "running" if view.stopping:
            said = f"{subject} {_being_stopped(view)}"
        case "running":
            said = f"{subject} is running: {_done(view)} of {plural(view.tasks_total, 'task')} done"
        case "cancelled":
            why = reason_text(view.reason)
            said = f"{subject} was cancelled{took_text}" + (f": {why}" if why and why != "cancelled" else "")
        case _:
            state, colon, why = run_phrase(view).partition(":")
            said = f"{subject} {state}{took_text}{colon}{why}"
    return f"{glyph(view.state, style)} {bold(said, style)}"


def _being_stopped(view: RunView) -> str:
    what = "is being cancelled" if view.stopping == "cancel" else "is being stopped, its time ran out"
    left = view.counts.get("running", 0)
    if not left:
        return what
    return f"{what}: {plural(left, 'task')} {'is' if left == 1 else 'are'} still being stopped"


def _done(view: RunView) -> int:
    open_states = ("running", "retrying", "queued", "waiting")
    return view.tasks_total - sum(view.counts.get(state, 0) for state in open_states)


def facts(view: RunView, style: Style) -> list[str]:
    """What else there is to know, a line each."""
    lines = []
    if view.started_us is None:
        lines.append(f"recorded {moment(view.created_us, style)} ({relative(view.created_us, style)})")
    else:
        lasted = "took" if view.ended_us is not None else "so far"
        lines.append(
            f"started {moment(view.started_us, style)} ({relative(view.started_us, style)}), "
            f"{lasted} {took(view.started_us, view.ended_us, style)}"
        )
    lines.append(_origin(view, style))
    if view.params:
        pairs = [f"{name}={_value(value)}" for name, value in view.params.items()]
        lines.append("params: " + ", ".join(pairs))
    if counts := counts_text(view):
        lines.append(f"tasks: {counts}")
    lines.append(zone_text(style))
    return [dim("  " + fit(line, style.columns - 2), style) for line in lines]


def _origin(view: RunView, style: Style) -> str:
    parts = [f"trigger {view.trigger or 'manual'}"]
    if view.scheduled_us is not None:
        parts.append(f"slot {slot_moment(view.scheduled_us, style)}")
    if view.rerun_of is not None:
        parts.append(f"repeats run {view.rerun_of}")
    if view.requested_by:
        parts.append(f"asked for by {clean(view.requested_by)}")
    return ", ".join(parts)


def _value(value: object) -> str:
    return clean(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def counts_text(view: RunView) -> str:
    """`2 running, 3 succeeded`; what has gone wrong comes last, where the eye ends."""
    known = [state for state in _COUNT_ORDER if view.counts.get(state)]
    others = [state for state in view.counts if state not in _COUNT_ORDER and view.counts[state]]
    return ", ".join(f"{view.counts[state]:,} {state_word(state)}" for state in (*known, *others))


# ---- Tables ---------------------------------------------------------------------------------------------------------


def task_table(style: Style) -> Table:
    return Table(style, droppable=(3, 6, 5))


def task_rows(tasks: Iterable[TaskView], style: Style) -> list[list[Cell]]:
    """Glyph, name, state, start, time taken, CPU, memory."""
    return [
        [
            Cell(glyph_text(task.state), _look(task)),
            Cell(task.task),
            Cell(task_phrase(task, style), _look(task)),
            Cell(moment(task.started_us, style)),
            Cell(took(task.started_us, task.ended_us, style), right=True),
            Cell(f"cpu {task.cpu_s:.1f}s" if task.cpu_s is not None else "", right=True),
            Cell(size_text(task.max_rss_bytes) if task.max_rss_bytes else "", right=True),
        ]
        for task in tasks
    ]


def _look(task: TaskView) -> str:
    """The state whose colour a task has."""
    return "warning" if _was_allowed(task) else task.state


def glyph_text(state: str) -> str:
    return glyph(state, Style())


def run_rows(runs: Sequence[RunView], style: Style) -> list[list[Cell]]:
    """Glyph, number, workflow, state, start, time taken, trigger."""
    return [
        [
            Cell(glyph_text(view.state), view.state),
            Cell(str(view.run), right=True),
            Cell(view.workflow),
            Cell(run_phrase(view), view.state),
            Cell(moment(view.started_us or view.created_us, style)),
            Cell(took(view.started_us, view.ended_us, style), right=True),
            Cell(view.trigger),
        ]
        for view in runs
    ]


def run_header() -> list[Cell]:
    return [
        Cell(" "),
        Cell("RUN", right=True),
        *map(Cell, ("WORKFLOW", "STATE", "STARTED")),
        Cell("TOOK", right=True),
        Cell("TRIGGER"),
    ]


# ---- Hints, progress, summary ---------------------------------------------------------------------------------------


def hint(command: str, style: Style) -> str:
    return dim(f"  {command}", style)


def bad_tasks(tasks: Iterable[TaskView]) -> Iterator[TaskView]:
    return (task for task in tasks if task.state in _BAD_TASKS and not _was_allowed(task))


def first_failed(tasks: Iterable[TaskView]) -> TaskView | None:
    return next((task for task in bad_tasks(tasks) if task.state == "failed"), None)


def hints(view: RunView, failed: TaskView | None, style: Style) -> list[str]:
    """What to do next, after a run that is not well; `failed` is its first failed task."""
    if view.state == "failed":
        logs = f"pyflowctl logs {view.run}" + (f" {failed.task}" if failed else "")
        # What could not be started has said nothing.
        shown = [] if failed and failed.reason == "start_failed" else [logs]
        return ["", *(hint(command, style) for command in (*shown, f"pyflowctl rerun {view.run} --failed"))]
    if view.state == "running" and view.stopping:
        return ["", hint(f"pyflowctl cancel {view.run}  (a second cancel kills at once)", style)]
    if view.state == "running":
        return ["", hint(f"pyflowctl logs {view.run} -f", style)]
    return []


def progress(view: RunView, style: Style) -> bytes:
    """One line that replaces itself; only for a terminal."""
    done = f"{_done(view)}/{view.tasks_total} tasks"
    # When it began, not how long ago: the line changes with the run, not with the clock.
    since = f"since {moment(view.started_us, style)}" if view.started_us is not None else ""
    parts = [f"run {view.run} of {view.workflow}", view.state, done, since]
    if view.counts.get("failed"):
        parts.append(f"{view.counts['failed']} failed")
    parts.append(", ".join(view.running))
    text = fit("  ".join(part for part in parts if part), style.columns - 3)
    return f"\r{glyph(view.state, style)} {paint_state(text, '', style)}\x1b[K".encode()


def answered(view: RunView, style: Style) -> list[str]:
    """What became of a `cancel`."""
    return [head(view, style), *(hints(view, None, style)[1:] if view.stopping else [])]


def recorded(view: RunView, style: Style) -> list[str]:
    """The acknowledgement: what is durable now, no more (rule I7)."""
    notes = [f"  {glyph('warning', style)} {clean(note)}" for note in view.notes]
    return [f"recorded as run {view.run} of {view.workflow}", *notes, hint(f"pyflowctl status {view.run}", style)]


def summary(view: RunView, failed: Sequence[TaskView], style: Style) -> list[str]:
    """How a run that was waited for ended."""
    lasted = took(view.started_us, view.ended_us, style)
    counts = counts_text(view)
    lines = [head(view, style, lasted if view.state in RUN_TERMINAL else "")]
    if counts:
        lines.append(dim(f"  tasks: {counts}", style))
    lines += task_table(style).lines(task_rows(failed, style))
    return lines + hints(view, first_failed(failed), style)


def plan(view: PlanView, style: Style) -> list[str]:
    """What a run would do, in the order of the definition."""
    lines = [bold(f"{view.workflow} would run {plural(len(view.tasks), 'task')}; nothing was recorded", style)]
    if view.params:
        lines.append("  params: " + ", ".join(f"{name}={_value(value)}" for name, value in view.params.items()))
    widest = min(max((text_width(task.task) for task in view.tasks), default=0), 40)
    for task in view.tasks:
        after = f"  {dim('after ' + ', '.join(task.needs), style)}" if task.needs else ""
        lines.append(f"  {task.task:<{widest}}{after}".rstrip())
        lines += [
            "      " + fit(clean(line), style.columns - 6) for line in view.commands.get(task.task, "").splitlines()
        ]
    lines += [f"  warning: {clean(str(problem))}" for problem in view.warnings]
    lines += [f"  {glyph('warning', style)} {clean(note)}" for note in view.notes]
    return lines
