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
    return (f"{word}: {why}" if why and why != word else word) + _tries(view)


def _tries(view: TaskView) -> str:
    """How many tries it took, where more than one was or is possible; lost attempts do not count (rule R6)."""
    if view.attempts <= 1 and (view.attempts_max <= 1 or view.state == "succeeded" or not view.attempts):
        return ""
    return f" (attempt {view.attempts} of {max(view.attempts, view.attempts_max)})"


def _task_reason(view: TaskView) -> str:
    if view.reason == "signal" and view.signal is not None:
        return f"killed by {signal_name(view.signal)}"
    if view.reason in ("exit_code", "skip_code") and view.exit_code is not None:
        return f"exit code {view.exit_code}"
    return clean(view.error) or reason_text(view.reason)


def head(view: RunView, style: Style) -> str:
    """The one sentence that says how the run is."""
    subject = f"run {view.run} of {view.workflow}"
    match view.state:
        case "queued":
            said = f"{subject} is queued"
        case "running":
            said = f"{subject} is running: {_done(view)} of {plural(view.tasks_total, 'task')} done"
        case "cancelled":
            why = reason_text(view.reason)
            said = f"{subject} was cancelled" + (f": {why}" if why and why != "cancelled" else "")
        case _:
            said = f"{subject} {run_phrase(view)}"
    return f"{glyph(view.state, style)} {bold(said, style)}"


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
            Cell(glyph_text(task.state), task.state),
            Cell(task.task),
            Cell(task_phrase(task, style), task.state),
            Cell(moment(task.started_us, style)),
            Cell(took(task.started_us, task.ended_us, style), right=True),
            Cell(f"cpu {task.cpu_s:.1f}s" if task.cpu_s is not None else "", right=True),
            Cell(size_text(task.max_rss_bytes) if task.max_rss_bytes else "", right=True),
        ]
        for task in tasks
    ]


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
    return (task for task in tasks if task.state in _BAD_TASKS)


def hints(view: RunView, first_failed: str, style: Style) -> list[str]:
    """What to do next, after a run that is not well."""
    if view.state == "failed":
        logs = f"pyflowctl logs {view.run} {first_failed}".rstrip()
        return ["", hint(logs, style), hint(f"pyflowctl rerun {view.run} --failed", style)]
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


def recorded(view: RunView, style: Style) -> list[str]:
    """The acknowledgement: what is durable now, no more (rule I7)."""
    notes = [f"  {glyph('warning', style)} {clean(note)}" for note in view.notes]
    return [f"recorded as run {view.run} of {view.workflow}", *notes, hint(f"pyflowctl status {view.run}", style)]


def summary(view: RunView, failed: Sequence[TaskView], style: Style) -> list[str]:
    """How a run that was waited for ended."""
    lasted = took(view.started_us, view.ended_us, style)
    counts = counts_text(view)
    lines = [head(view, style) + (f" after {lasted}" if lasted and view.state in RUN_TERMINAL else "")]
    if counts:
        lines.append(dim(f"  tasks: {counts}", style))
    lines += task_table(style).lines(task_rows(failed, style))
    first = next((task.task for task in failed if task.state == "failed"), "")
    return lines + hints(view, first, style)


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
    return lines
