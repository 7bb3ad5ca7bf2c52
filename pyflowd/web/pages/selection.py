"""Which task of a run a page shows: the one that its address names, else the one that matters most. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pyflowd.protocol.views_runs import ExplanationView, TaskView
from pyflowd.web.pages.dag_words import state_of

BAD = ("failed", "unknown", "cancelled")
GOING = ("running", "starting", "retrying")
SILENT = ("approval", "wait", "workflow")
"""Kinds that say nothing: they have no log."""


class Selected(Struct, frozen=True, kw_only=True):
    task: TaskView | None = None
    """A task of the definition, or a handler; None: there is none, or no such one."""
    node: TaskView | None = None
    """What has a log: the task itself, or the item of it that is looked at."""
    missing: str = ""
    """What the address names and the run does not have."""

    @property
    def name(self) -> str:
        return self.task.task if self.task else ""

    @property
    def item(self) -> str | None:
        return self.node.item if self.node and self.task and self.node.task != self.task.task else None

    @property
    def has_log(self) -> bool:
        return self.node is not None and self.node.attempts > 0 and not self.node.items and self.node.kind not in SILENT


def cause_of(explanation: ExplanationView | None, tasks: Sequence[TaskView]) -> TaskView | None:
    """The task or item that made a run go wrong; where nothing says so, the first that ended badly."""
    named = {task.task: task for task in tasks}
    for fact in explanation.facts if explanation else ():
        found = named.get(fact.task)
        if fact.code == "task" and found is not None and found.state in BAD:
            return _worst_item(found, tasks) or found
    bad = [task for task in tasks if task.state == "failed" and not task.allowed and not task.items]
    return min(bad, key=lambda task: (task.ended_us or 0, task.task), default=None)


def _worst_item(fan: TaskView, tasks: Sequence[TaskView]) -> TaskView | None:
    items = [task for task in tasks if fan.items and task.of == fan.task and task.item is not None]
    return min((task for task in items if task.state in BAD), key=_ended_first, default=None)


def _ended_first(task: TaskView) -> tuple[bool, int, int]:
    return task.state != "failed", task.ended_us or 0, task.position or 0


def select(
    tasks: Sequence[TaskView], cause: TaskView | None, asked_task: str = "", asked_item: str | None = None
) -> Selected:
    """`tasks`: of a run, with some or all of their items. `asked_task` is a task of the definition."""
    named = {task.task: task for task in tasks}
    if asked_task:
        task = named.get(asked_task)
        if task is None:
            return Selected(missing=asked_task)
        if asked_item is None:
            return Selected(task=task, node=_item_of(task, tasks, cause) if task.items else task)
        node = next((each for each in tasks if each.of == task.task and each.item == asked_item), None)
        return Selected(task=task, node=node, missing="" if node else f"{asked_task}[{asked_item}]")
    chosen = cause or _going(tasks) or _asking(tasks) or _last(tasks)
    if chosen is None:
        return Selected()
    if chosen.item is not None and chosen.of in named and chosen.section != "undo":
        return Selected(task=named[chosen.of], node=chosen)
    return Selected(task=chosen, node=_item_of(chosen, tasks, cause) if chosen.items else chosen)


def _item_of(fan: TaskView, tasks: Sequence[TaskView], cause: TaskView | None) -> TaskView | None:
    """Of a fan-out the item that matters most, of those that are known here."""
    items = [task for task in tasks if task.of == fan.task and task.item is not None and task.section == fan.section]
    if cause is not None and cause in items:
        return cause
    return _worst_item(fan, tasks) or _going(items) or _last(items)


def _going(tasks: Sequence[TaskView]) -> TaskView | None:
    """What runs longest."""
    found = [
        task for task in tasks if task.state in GOING and state_of(task) != "approval" and task.started_us is not None
    ]
    return min(found, key=lambda task: (bool(task.items), task.started_us or 0), default=None)


def _asking(tasks: Sequence[TaskView]) -> TaskView | None:
    return next((task for task in tasks if state_of(task) == "approval"), None)


def _last(tasks: Sequence[TaskView]) -> TaskView | None:
    """What ended last; of several the later one in the definition. Tasks of the workflow come before handlers."""
    ended = [task for task in tasks if task.ended_us is not None and task.attempts]
    proper = [task for task in ended if not task.section] or ended
    return max(proper, key=lambda task: (task.ended_us or 0, not task.items), default=None)
