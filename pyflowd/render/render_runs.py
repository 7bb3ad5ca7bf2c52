"""Runs as text: what happened, why, how long it took. Pure. Their tasks are the business of `render_tasks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pyflowd.protocol.views_runs import RunView
from pyflowd.render.layout import (
    Cell,
    Style,
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
    took,
    value_text,
    zone_text,
)

REASONS = {
    "timeout": "its time ran out",
    "oom": "out of memory",
    "cancelled": "cancelled",
    "start_failed": "it could not be started",
    "lost": "no true exit status can be had",
    "upstream_failed": "a task that it needs failed",
    "upstream_skipped": "a task that it needs was skipped",
    "no_upstream_failed": "no task that it needs failed",
    "task_failed": "a task failed",
    "kept": "kept from the run before",
    "replaced": "a newer run replaced it",
    "gate_closed": "a gate was closed",
    "deadlock": "it waited for itself",
    "overlap": "a run was live",
    "queue_full": "the queue was full",
    "down": "pyflowd was not running",
    "paused": "the workflow was paused",
    "gone": "the file was gone before it could be claimed",
    "only_changes": "its trigger is for changes only",
    "depth": "runs started each other too many times",
    "disabled": "the trigger was disabled",
    "late": "a newer slot was due as well",
    "clock_step": "the clock was set forward",
    "bad_params": "its params were refused",
    "blackout": "a blackout was in force",
    "calendar": "its calendar leaves the day out",
    "deadline": "it could have started too late only",
    "dst": "the clock change leaves it out",
    "held": "what it names is missing",
    "removed": "its schedule was taken away before",
    "expression_error": "its condition has no value",
    "not_asked": "the run was asked for other tasks only",
    "condition_false": "its condition is false",
    "empty": "its list of items is empty",
    "items_failed": "too many items failed",
    "max_failures": "too many other items had failed",
    "fail_fast": "another item had failed",
    "repeat_exhausted": "it was repeated as often as it may be",
    "handler_failed": "a task of on_success failed",
    "finally_failed": "a task of finally failed",
    "run_failed": "the run that it called did not succeed",
    "restored": "it was live in the backup that this store was restored from",
}
_COUNT_ORDER = (
    "running", "retrying", "queued", "waiting", "succeeded", "skipped", "upstream_failed", "cancelled", "failed",
)  # fmt: skip


def state_word(state: str) -> str:
    return state.replace("_", " ")


def reason_text(reason: str | None) -> str:
    return REASONS.get(reason, reason.replace("_", " ")) if reason else ""


# ---- Sentences ------------------------------------------------------------------------------------------------------


def run_phrase(view: RunView) -> str:
    """The state of a run with its reason: `failed: ship: exit code 7`."""
    if view.state == "queued" and view.waits_for is not None:
        return f"queued: waits for run {view.waits_for}"
    if view.state == "queued" and view.why_queued:
        return f"queued: waits for {clean(view.why_queued)}"
    if view.state == "running" and view.stopping:
        return "running: is being cancelled" if view.stopping == "cancel" else "running: its time ran out"
    if view.state == "running" and view.section:
        return f"running: {view.section} (the tasks {_came_to(view.outcome)})"
    if view.state in ("succeeded", "running", "queued"):
        return view.state
    why = clean(view.error) or reason_text(view.reason)
    return f"{view.state}: {why}" if why and why != view.state else view.state


def _came_to(outcome: str) -> str:
    return "were cancelled" if outcome == "cancelled" else outcome or "ended"


def head(view: RunView, style: Style, after: str = "") -> str:
    """The one sentence that says how the run is; `after`: how long it took, where that is to be said."""
    subject = f"run {view.run} of {view.workflow}"
    took_text = f" after {after}" if after else ""
    match view.state:
        case "queued":
            what = f"run {view.waits_for}" if view.waits_for is not None else clean(view.why_queued)
            said = f"{subject} is queued" + (f": it waits for {what}" if what else "")
        case "running" if view.stopping:
            said = f"{subject} {_being_stopped(view)}"
        case "running" if view.section:
            said = f"{subject}: its tasks {_came_to(view.outcome)}, now {view.section} runs"
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
    if view.seen_us is not None:
        lines.append(f"seen by {clean(view.seen_by)} {moment(view.seen_us, style)}")
    if view.params:
        pairs = [param_text(name, value) for name, value in view.params.items()]
        lines.append("params: " + ", ".join(pairs))
    if counts := counts_text(view):
        lines.append(f"tasks: {counts}")
    lines.append(zone_text(style))
    return [dim("  " + fit(line, style.columns - 2), style) for line in lines]


def _origin(view: RunView, style: Style) -> str:
    parts = [f"trigger {view.trigger or 'manual'}" if view.parent is None else _caller(view)]
    if view.parent is not None and view.parent_task:
        parts[0] += f", task {clean(view.parent_task)}"
    if view.scheduled_us is not None:
        parts.append(f"slot {slot_moment(view.scheduled_us, style)}")
    if view.backfill is not None:
        parts.append(f"backfill {view.backfill}")
    if view.rerun_of is not None:
        parts.append(f"repeats run {view.rerun_of}")
    if view.requested_by:
        parts.append(f"asked for by {clean(view.requested_by)}")
    return ", ".join(parts)


def _started_by(view: RunView) -> str:
    """Its trigger, or who called it; with the backfill that asked for it."""
    if view.parent is not None:
        return _caller(view)
    return view.trigger + (f", backfill {view.backfill}" if view.backfill is not None else "")


def _caller(view: RunView) -> str:
    return f"called by run {view.parent}"


def outputs(given: Mapping[str, object], style: Style) -> list[str]:
    """What a run gave to its caller, a line each."""
    if not given:
        return []
    lines = [fit(f"  {clean(name)} = {value_text(value)}", style.columns) for name, value in given.items()]
    return ["outputs", *lines]


def param_text(name: str, value: object) -> str:
    """`day=mon`, on one line."""
    return f"{clean(name)}={_value(value)}"


def _value(value: object) -> str:
    return clean(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def counts_text(view: RunView) -> str:
    """`2 running, 3 succeeded`; what has gone wrong comes last, where the eye ends."""
    known = [state for state in _COUNT_ORDER if view.counts.get(state)]
    others = [state for state in view.counts if state not in _COUNT_ORDER and view.counts[state]]
    return ", ".join(f"{view.counts[state]:,} {state_word(state)}" for state in (*known, *others))


# ---- Tables ---------------------------------------------------------------------------------------------------------


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
            Cell(_started_by(view)),
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


def progress(view: RunView, style: Style) -> bytes:
    """One line that replaces itself; only for a terminal."""
    done = view.section if view.section and view.state == "running" else f"{_done(view)}/{view.tasks_total} tasks"
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
    notes = [f"  {clean(note)}" for note in view.notes]
    return [head(view, style), *notes, *([second_cancel(view, style)] if view.stopping else [])]


def seen(view: RunView, style: Style) -> list[str]:
    """What became of a `seen`."""
    if view.seen_us is None:
        return [f"run {view.run} of {view.workflow} is to be looked at again"]
    at = moment(view.seen_us, style)
    undo = hint(f"pyflowctl seen {view.run} --undo", style)
    return [f"run {view.run} of {view.workflow}: seen by {clean(view.seen_by)} {at}", undo]


def second_cancel(view: RunView, style: Style) -> str:
    return hint(f"pyflowctl cancel {view.run}  (a second cancel kills at once)", style)


def recorded(view: RunView, style: Style) -> list[str]:
    """The acknowledgement: what is durable now, no more (rule I7)."""
    notes = [f"  {glyph('warning', style)} {clean(note)}" for note in view.notes]
    return [f"recorded as run {view.run} of {view.workflow}", *notes, hint(f"pyflowctl status {view.run}", style)]
