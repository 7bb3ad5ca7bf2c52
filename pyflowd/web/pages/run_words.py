"""What the head of a run's page says: one sentence, and one line of when and how long. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.protocol.views_runs import ExplanationView, RunView, TaskView
from pyflowd.render.layout import clean
from pyflowd.render.render_runs import counts_text, reason_text
from pyflowd.web.pages.dag_words import state_of
from pyflowd.web.times import Times, counted, length

LATE_US = 1_000_000
"""A slot that fired within a second is not late."""


def heading(run: RunView, tasks: Sequence[TaskView], cause: TaskView | None) -> str:
    """One sentence about how the run is now."""
    name = run.workflow
    match run.state:
        case "queued":
            return f"{name} waits to start" + (f": run {run.waits_for} still runs" if run.waits_for else "")
        case "running" if run.stopping == "cancel":
            return f"{name} is being cancelled"
        case "running" if run.stopping:
            return f"{name} is being stopped: its time ran out"
        case "running":
            return f"{name} {_runs(run, tasks)}"
        case "succeeded":
            return f"{name} succeeded"
        case "cancelled":
            why = reason_text(run.reason)
            return f"{name} was cancelled" + (f": {why}" if why and why != "cancelled" else "")
        case "failed":
            return f"{name} failed{_where(run, tasks, cause)}"
        case _:
            return f"{name}: {run.state.replace('_', ' ')}"


def _runs(run: RunView, tasks: Sequence[TaskView]) -> str:
    asking = [task.task for task in tasks if state_of(task) == "approval"]
    going = [task.task for task in tasks if task.state == "running" and task.task not in asking and task.item is None]
    retrying = [task.task for task in tasks if task.state == "retrying" and task.item is None]
    if run.section:
        came_to = {"failed": " after it failed", "cancelled": " after it was cancelled"}.get(run.outcome, "")
        return f"runs its {run.section}{came_to}"
    if asking and not going:
        return f"waits for approval of {clean(asking[0])}" + (f" and {len(asking) - 1} more" if asking[1:] else "")
    if retrying and not going:
        return f"runs: {clean(retrying[0])} is tried again"
    if going:
        return f"runs {clean(going[0])}" + (f" and {len(going) - 1} more" if going[1:] else "")
    return "runs"


def _where(run: RunView, tasks: Sequence[TaskView], cause: TaskView | None) -> str:
    if run.reason in ("timeout", "gate_closed", "deadlock", "deadline", "restored"):
        return f": {reason_text(run.reason)}"
    if cause is None:
        why = clean(run.error) or reason_text(run.reason)
        return f": {why}" if why else ""
    items = {task.of for task in tasks if task.item is not None}
    others = [
        task
        for task in tasks
        if task.state == "failed" and not task.allowed and task.item is None and task.task not in (cause.task, cause.of)
    ]
    more = f" and {len(others)} more" if others and cause.task not in items else ""
    return f" at {clean(cause.task)}{more}"


def lede(
    run: RunView, explanation: ExplanationView | None, times: Times, usual_us: int | None
) -> list[tuple[bool, str]]:
    """Pieces of a line; the first of each says whether it is strong."""
    pieces: list[tuple[bool, str]] = []
    if run.scheduled_us is not None and (slot := times.when(run.scheduled_us)):
        pieces += [(False, "Slot "), (True, slot.text), (False, ", ")]
    else:
        pieces.append((False, f"{_asked(run)}, "))
    if run.started_us is None:
        pieces.append((False, f"recorded {times.relative(run.created_us)}"))
    elif run.ended_us is None:
        usual = f", usually {length(usual_us)}" if usual_us else ""
        pieces.append((False, f"runs for {times.took(run.started_us, None)}{usual}"))
    else:
        pieces.append((False, f"ran {times.took(run.started_us, run.ended_us)}, "))
        pieces.append((False, f"ended {times.relative(run.ended_us)}"))
    pieces.append((False, ". "))
    pieces += _came_to(run, explanation)
    return pieces


def _asked(run: RunView) -> str:
    if run.parent is not None:
        return f"Called by run {run.parent}"
    if run.trigger in ("", "manual", "rerun") and run.requested_by:
        return f"Asked for by {clean(run.requested_by)}"
    return f"Started by {clean(run.trigger or 'hand')}"


def _came_to(run: RunView, explanation: ExplanationView | None) -> list[tuple[bool, str]]:
    if run.state == "queued":
        what = explanation.answer.partition(": ")[2] if explanation else ""
        return [(True, f"{what[:1].upper()}{what[1:]}.")] if what else []
    if run.state == "cancelled" and explanation is not None:
        by = next((fact.by for fact in explanation.facts if fact.code == "cancelled" and fact.by), "")
        return [(False, "Cancelled by "), (True, f"{clean(by)}"), (False, ". "), *_counts(run)] if by else _counts(run)
    return _counts(run)


def _counts(run: RunView) -> list[tuple[bool, str]]:
    if set(run.counts) <= {"succeeded"} and run.state == "succeeded":
        return [(False, f"{_all(run.tasks_total)} succeeded.")]
    return [(False, f"Tasks: {counts_text(run)}.")] if run.counts else []


def _all(tasks: int) -> str:
    return "The task" if tasks == 1 else f"All {counted(tasks, 'task')}"
