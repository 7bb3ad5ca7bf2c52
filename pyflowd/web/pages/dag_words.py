"""What stands in a box of a graph: a state for its mark, and one short line. Pure."""

from __future__ import annotations

import re

from pyflowd.clock import US
from pyflowd.model.states import TASK_TERMINAL
from pyflowd.protocol.views_runs import TaskView
from pyflowd.render.layout import clean, span
from pyflowd.render.render_runs import reason_text
from pyflowd.render.render_tasks import items_text
from pyflowd.web.marks import Mark, mark
from pyflowd.web.times import Times

_BRACES = re.compile(r"\$\{\{ *(.*?) *\}\}")
"""Around an expression."""


def state_of(task: TaskView) -> str:
    """The word that `marks` knows: an approval that runs waits for a person. Empty: of a definition."""
    return "approval" if task.kind == "approval" and task.state == "running" else task.state


def mark_of(task: TaskView) -> Mark | None:
    state = state_of(task)
    return mark(state) if state else None


def fan_size(task: TaskView) -> str:
    """` ×6` of a fan-out whose items are known."""
    if task.items:
        return f" ×{sum(task.items.values()):,}"
    word, _, rest = task.fan_out.partition(": ")
    count = rest.removesuffix(" items")
    return f" ×{count}" if word and count.isdigit() and rest != count else ""


def phrase(task: TaskView, times: Times) -> str:
    """`exit 11 · 3 attempts`, `9 min 12 s`, of a definition `run · retry 3`; a rule other than `all_ok` comes first."""
    parts = _planned(task) if not task.state else _came_to(task, times)
    if task.trigger_rule and task.state:
        parts = [task.trigger_rule, *parts]
    return " · ".join(part for part in parts if part)


def _planned(task: TaskView) -> list[str]:
    fan = _BRACES.sub(r"\1", task.fan_out.replace(": ", " ", 1))
    return [
        task.kind,
        clean(fan),
        task.trigger_rule,
        f"if {clean(task.condition)}" if task.condition else "",
        f"retry {task.attempts_max}" if task.attempts_max > 1 else "",
        f"up to {task.passes_max} passes" if task.passes_max else "",
    ]


def _came_to(task: TaskView, times: Times) -> list[str]:
    took = times.took(task.started_us, task.ended_us)
    tries = f"{task.attempts} attempts" if task.attempts > 1 and not task.passes_max else ""
    match state_of(task):
        case "approval":
            return [f"asked {took} ago" if took else "asked"]
        case "upstream_failed":
            return ["never started"]
        case "waiting":
            return ["waits"]
        case "queued":
            return [f"waits for {clean(task.why_queued)}" if task.why_queued else "queued"]
        case "retrying":
            again = "" if task.retry_us is None else f"again {_due(task.retry_us, times)}"
            return [f"attempt {task.attempts} of {max(task.attempts, task.attempts_max)} failed", again]
        case "skipped":
            return [reason_text(task.reason) or "skipped"]
        case "running" | "starting":
            return [_items(task), took, f"attempt {task.attempts}" if task.attempts > 1 else ""]
        case "failed" | "cancelled" | "unknown":
            return [items_text(task.items), tries] if task.items else [_why(task), tries or took]
        case _:
            return ["from the cache" if task.reason == "cached" else "", _items(task), took, tries]


def _due(at_us: int, times: Times) -> str:
    left = (at_us - times.now_us) / US
    return f"in {span(left)}" if left > 0.5 else "now"


def _items(task: TaskView) -> str:
    if not task.items:
        return ""
    done = sum(count for state, count in task.items.items() if state in TASK_TERMINAL)
    bad = task.items.get("failed", 0)
    return f"{done:,} of {sum(task.items.values()):,}" + (f", {bad:,} failed" if bad else "")


def _why(task: TaskView) -> str:
    if task.reason in ("exit_code", "skip_code") and task.exit_code is not None:
        return f"exit {task.exit_code}"
    if task.reason == "signal" and task.signal is not None:
        return f"signal {task.signal}"
    return reason_text(task.reason)
