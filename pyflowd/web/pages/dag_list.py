"""A graph as a list: the same for who does not see the drawing, or does not want to. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pyflowd.protocol.views_runs import TaskView
from pyflowd.web.dag.ranks import CycleError, levels
from pyflowd.web.marks import Mark
from pyflowd.web.pages.dag_look import Asked, Links
from pyflowd.web.pages.dag_words import fan_size, mark_of, phrase
from pyflowd.web.times import Times

ROWS_MAX = 500


class Row(Struct, frozen=True, kw_only=True):
    task: str
    href: str
    mark: Mark | None
    sub: str
    needs: str
    indent: int
    selected: bool


def rows_of(proper: Sequence[TaskView], times: Times, look: Asked, links: Links) -> tuple[list[Row], int]:
    depth = _depths(proper)
    order = sorted(proper, key=lambda task: depth[task.task])
    left = 0
    if len(order) > ROWS_MAX and look.rows != "all":
        first = [task for task in order if task.state in ("failed", "unknown", "running", "retrying", "queued")]
        rest = [task for task in order if task not in first] if len(first) < ROWS_MAX else []
        order, left = (first + rest)[:ROWS_MAX], len(order) - ROWS_MAX
    rows = [
        Row(
            task=task.task + fan_size(task), href=links.task(task.task), mark=mark_of(task), sub=phrase(task, times),
            needs=", ".join(task.needs[:8]) + (f" and {len(task.needs) - 8} more" if len(task.needs) > 8 else ""),
            indent=min(depth[task.task], 6), selected=task.task == look.task,
        )
        for task in order
    ]  # fmt: skip
    return rows, left


def _depths(proper: Sequence[TaskView]) -> dict[str, int]:
    """Longest way from a task without needs; 0 for those of a graph that goes round."""
    number = {task.task: n for n, task in enumerate(proper)}
    needs = tuple(tuple(number[need] for need in dict.fromkeys(task.needs) if need in number) for task in proper)
    try:
        _, depths = levels(needs)
    except CycleError:
        return dict.fromkeys(number, 0)
    return {task.task: depth for task, depth in zip(proper, depths, strict=True)}
