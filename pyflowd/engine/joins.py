"""Joins and what follows them: what a task does when all its direct parents are terminal (rules J1 to J4). Pure."""

from __future__ import annotations

from typing import assert_never

from pyflowd.engine.state import Decide, Question, TaskRun, Turn
from pyflowd.model.states import Reason, Section
from pyflowd.model.workflow import TriggerRule


def join(task: TaskRun) -> tuple[str, Reason | None]:
    """The move of a task whose direct parents are all terminal, and its reason (on effective states).

    A rule that cannot hold because something went wrong blocks; one that cannot hold though nothing went wrong skips.
    """
    rule, ok, skipped, bad = task.definition.trigger_rule, task.ok, task.skipped, task.bad
    if task.section is Section.UNDO:
        rule = TriggerRule.ALL_DONE  # one that fails does not keep the others from being tried
    match rule:
        case TriggerRule.ALL_OK:
            holds = not bad and ok > 0
        case TriggerRule.ALL_SUCCESS:
            holds = not bad and not skipped
        case TriggerRule.NONE_FAILED:
            holds = not bad
        case TriggerRule.ANY_SUCCESS:
            holds = ok > 0
        case TriggerRule.ANY_FAILED:
            if not bad:
                return "skip", Reason.NO_UPSTREAM_FAILED
            holds = True
        case TriggerRule.ALL_DONE:
            holds = True
        case _:
            assert_never(rule)
    if holds:
        return "ready", None
    return ("block", Reason.UPSTREAM_FAILED) if bad else ("skip", Reason.UPSTREAM_SKIPPED)


def parents_ended(turn: Turn, task: TaskRun) -> None:
    """All direct parents of a waiting task are terminal."""
    name, reason = join(task)
    if name == "ready":
        eligible(turn, task)
    else:
        turn.move(task, name, reason)


def eligible(turn: Turn, task: TaskRun) -> None:
    """Its rule holds: ask its `if`, then for its items, then for an earlier success, then queue it."""
    definition = task.definition
    fan_out = definition.fan_out
    is_item = task.item is not None and task.section is not Section.UNDO
    if definition.condition and (fan_out is None or fan_out.if_each == is_item):
        ask(turn, task, Question.CONDITION)
    else:
        conditions_met(turn, task)


def conditions_met(turn: Turn, task: TaskRun) -> None:
    """Its `if` holds, or it has none."""
    if task.definition.fan_out is not None and task.item is None:
        ask(turn, task, Question.ITEMS)
    elif task.definition.cache is not None:
        ask(turn, task, Question.CACHE)
    else:
        turn.move(task, "ready")


def ask(turn: Turn, task: TaskRun, question: Question) -> None:
    task.deciding = question
    turn.effects.append(Decide(question, task.name))
