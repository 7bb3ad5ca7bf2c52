"""Fan-out: items of a task, how many of them are under way, and what they come to together (rules F1 to F4, J5). Pure.

The behaviour does not depend on how many run at once: which items there are is frozen by one event, and the aggregate
counts outcomes only.
"""

from __future__ import annotations

import math
from typing import Any

from pyflowd.engine.joins import eligible
from pyflowd.engine.outcomes import Stopping
from pyflowd.engine.state import Fan, Item, S, StopAttempt, TaskRun, Turn
from pyflowd.events import KeptItem
from pyflowd.model.states import TASK_TERMINAL, Reason, Section, TaskState
from pyflowd.model.workflow import FanOut, OnEmpty


def expand(turn: Turn, task: TaskRun, items: list[tuple[str, Any]]) -> None:
    """The items are known: make their nodes, keep those that are done already, start the first."""
    fan_out = task.definition.fan_out
    assert fan_out is not None
    if not items:
        _empty(turn, task, fan_out.on_empty)
        return
    kept = {item.key: item for item in turn.run.kept_items(task.name)}
    fan = _make(turn, task, items)
    turn.move(task, "expand")
    for node in fan.items:
        assert node.item is not None
        known = kept.get(node.item.key)
        if known is None:
            fan.waiting.append(node)
            turn.changed.append(node)
        else:
            _keep(turn, node, known)
    release(turn, task)


def keep(turn: Turn, task: TaskRun) -> None:
    """A fan-out that is taken over as a whole: its items with it, for those who read its results."""
    items = turn.run.kept_items(task.name)
    if task.definition.fan_out is None or not items:
        return
    fan = _make(turn, task, [(item.key, item.value) for item in items])
    for node, known in zip(fan.items, items, strict=True):
        _keep(turn, node, known)


def _make(turn: Turn, task: TaskRun, items: list[tuple[str, Any]]) -> Fan:
    fan_out = task.definition.fan_out
    assert fan_out is not None
    fan = task.fan = Fan(_limit(fan_out, len(items)))
    for position, (key, value) in enumerate(items):
        name = f"{task.name}[{key}]"
        node = turn.run.add(task.definition, task.section, task, name)
        node.item = Item(key, value, position)
        node.open_parents = 0
        fan.items.append(node)
    fan.open = len(items)
    return fan


def _keep(turn: Turn, node: TaskRun, known: KeptItem) -> None:
    if known.state is TaskState.SUCCEEDED:
        node.outputs = known.outputs
        node.artifacts = turn.run.kept.artifacts.get(node.name, {})
    turn.move(node, f"keep_{known.state}", Reason.KEPT)


def _limit(fan_out: FanOut, count: int) -> float:
    """How many items may fail (rule F3)."""
    if fan_out.max_failures_percent is not None:
        return math.floor(count * fan_out.max_failures_percent / 100)
    return fan_out.max_failures or 0


def _stops(fan_out: FanOut) -> bool:
    """Rule F2: whether too many failures keep further items from starting."""
    return fan_out.fail_fast or fan_out.max_failures is not None or fan_out.max_failures_percent is not None


def _empty(turn: Turn, task: TaskRun, on_empty: OnEmpty) -> None:
    task.fan = None
    name = {OnEmpty.SKIP: "skip", OnEmpty.SUCCEED: "succeed", OnEmpty.FAIL: "fail"}[on_empty]
    if on_empty is OnEmpty.SUCCEED:
        task.outputs = {}
    turn.move(task, name, Reason.EMPTY, "the list of items is empty" if on_empty is OnEmpty.FAIL else "")


def release(turn: Turn, task: TaskRun) -> None:
    """Let waiting items go as far as `max_parallel` allows."""
    fan, fan_out = task.fan, task.definition.fan_out
    assert fan is not None
    assert fan_out is not None
    most = fan_out.max_parallel or math.inf
    while fan.waiting and fan.released < most and not fan.stopped:
        node = fan.waiting.popleft()
        if node.state in (S.WAITING, S.RETRYING):
            node.released = True
            fan.released += 1
            if node.state is S.WAITING:
                eligible(turn, node)
            else:
                turn.move(node, "ready")


def step_back(turn: Turn, node: TaskRun) -> None:
    """Rule R7: an item that waits for its back-off leaves its place to another."""
    task = node.owner
    assert task is not None
    assert task.fan is not None
    _give_back(task.fan, node)
    release(turn, task)


def back_in_line(turn: Turn, node: TaskRun) -> None:
    """The back-off of an item is over: it is the next to start."""
    task = node.owner
    assert task is not None
    assert task.fan is not None
    task.fan.waiting.appendleft(node)
    release(turn, task)


def _give_back(fan: Fan, node: TaskRun) -> None:
    fan.released -= node.released
    node.released = False


def item_settled(turn: Turn, node: TaskRun) -> None:
    """An item is terminal: count it, stop the others if that is too much, start another, or end the whole."""
    task = node.owner
    assert task is not None
    fan, fan_out = task.fan, task.definition.fan_out
    assert fan is not None
    assert fan_out is not None
    fan.open -= 1
    _give_back(fan, node)
    fan.failed += node.state is S.FAILED
    if task.state is not S.RUNNING:
        return  # taken over as a whole
    if fan.failed > fan.max_failures and _stops(fan_out) and not fan.stopped:
        stop_items(turn, task, fail_fast=fan_out.fail_fast)
    if fan.open:
        if not turn.run.stopping:
            release(turn, task)
    else:
        _aggregate(turn, task, fan)


def _aggregate(turn: Turn, task: TaskRun, fan: Fan) -> None:
    """Rule F3: the state of the whole, when all items are terminal."""
    states = [node.state for node in fan.items]
    if fan.failed > fan.max_failures:
        first = next(node for node in fan.items if node.state is S.FAILED)
        error = f"{fan.failed} of {len(fan.items)} items failed, {first.item.key if first.item else ''}: {first.error}"
        turn.move(task, "fail", Reason.ITEMS_FAILED, error)
    elif S.CANCELLED in states:
        stopped = next(node for node in fan.items if node.state is S.CANCELLED)
        turn.move(task, "cancel", stopped.reason)
    elif all(state is S.SKIPPED for state in states):
        turn.move(task, "skip", Reason.CONDITION_FALSE)
    else:
        task.outputs = {}
        turn.move(task, "succeed")


def stop_items(turn: Turn, task: TaskRun, *, fail_fast: bool) -> None:
    """Rule F2: start no further item; with `fail_fast` stop those that run."""
    fan = task.fan
    assert fan is not None
    fan.stopped = True
    fan.waiting.clear()
    reason = Reason.FAIL_FAST if fail_fast else Reason.MAX_FAILURES
    for node in fan.items:
        if node.state not in TASK_TERMINAL and (fail_fast or node.state is not S.RUNNING):
            stop_node(turn, node, reason, at_once=False)


def stop_node(turn: Turn, node: TaskRun, reason: Reason, *, at_once: bool) -> None:
    """Stop this node alone: an attempt by rule R5, a fan-out item by item, what has not begun at once."""
    if node.state in TASK_TERMINAL:
        return
    if node.fan is not None:
        node.fan.stopped = True
        node.fan.waiting.clear()
        for item in node.fan.items:
            stop_node(turn, item, reason, at_once=at_once)
    elif node.state is S.RUNNING:
        node.stopping, node.stop_reason = Stopping.CANCEL, reason
        grace_s = 0.0 if at_once else node.definition.kill_grace_s
        turn.effects.append(StopAttempt(node.name, node.attempts, grace_s))
    else:
        turn.move(node, "cancel", reason)


def is_item(node: TaskRun) -> bool:
    return node.item is not None and node.section is not Section.UNDO
