"""Why one task of a run stands as it does: the tasks that it needs, its rule and condition, what it waits for, and its
attempts one by one. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.handlers.explain import Code, deeper
from pyflowd.handlers.explain_run import (
    Part,
    attempt_facts,
    obstacle_facts,
    obstacles_of,
    part_facts,
    run_name,
    run_text,
    task_text,
)
from pyflowd.handlers.explain_words import RULES
from pyflowd.model.states import RUN_TERMINAL, TASK_TERMINAL, Reason, TaskState
from pyflowd.model.workflow import TriggerRule
from pyflowd.protocol.views_runs import EventView, ExplanationView, FactView, RunView, StepView
from pyflowd.render.layout import clean, plural

NEEDS_TOLD = 8
_STORY = {"condition_decided": Code.CONDITION, "cache_decided": Code.CACHE, "expanded": Code.ITEMS}
"""Events that have a code of their own."""


class Need(Struct, frozen=True, kw_only=True):
    """A task that the one in question needs; where it did not run, with those that kept it from it."""

    part: Part
    needs: tuple[Need, ...] = ()


class TaskStanding(Struct, frozen=True, kw_only=True):
    run: RunView
    part: Part
    rule: TriggerRule = TriggerRule.ALL_OK
    needs: tuple[Need, ...] = ()
    """Some of them, those first that went wrong or are open."""
    needs_total: int = 0
    needs_open: int = 0
    condition: str = ""
    story: tuple[EventView, ...] = ()
    """What happened to it beside its attempts, the oldest first."""
    bad_items: tuple[Part, ...] = ()
    """Of a fan-out."""


def explain_task(standing: TaskStanding, host: list[FactView]) -> ExplanationView:
    """`host`: what is wrong with the host, which is told of tasks that have not ended."""
    run, view = standing.run, standing.part.view
    ended = view.state in TASK_TERMINAL or run.state in RUN_TERMINAL
    facts = [*_state_facts(standing), *_story(standing)]
    return ExplanationView(
        workflow=run.workflow, run=run.run, task=view.task, state=view.state, answer=_answer(standing),
        answer_us=_answer_us(standing), facts=facts if ended else [*host, *facts],
        next=_steps(standing),
    )  # fmt: skip


def _answer_us(standing: TaskStanding) -> int | None:
    view = standing.part.view
    if view.state in TASK_TERMINAL:
        return view.ended_us
    return standing.part.obstacles[0].at_us if standing.part.obstacles else None


def _answer(standing: TaskStanding) -> str:
    run, part = standing.run, standing.part
    name = f"{clean(part.view.task)} of {run_name(run)}"
    if part.obstacles:
        return f"{name} {part.obstacles[0].text}"
    if part.view.state == TaskState.WAITING:
        if run.state in RUN_TERMINAL:
            return f"{name} was never reached: the run {run_text(run)}"
        open_needs = [need.part.view.task for need in standing.needs if need.part.view.state not in TASK_TERMINAL]
        return f"{name} waits for {', '.join(map(clean, open_needs[:3]))}" + (
            f" and {standing.needs_open - 3} more"
            if standing.needs_open > 3
            else ""
            if open_needs
            else "its run to start"
        )
    blamed = _blamed(standing.needs)
    if part.view.state == TaskState.UPSTREAM_FAILED and blamed:
        return f"{name} did not run: {clean(blamed[0].view.task)}, which it needs, {task_text(blamed[0].view)}"
    return f"{name} {task_text(part.view)}"


def _blamed(needs: Sequence[Need]) -> list[Part]:
    """The tasks at the root of one that did not run."""
    found: list[Part] = []
    for need in needs:
        if need.part.view.state == TaskState.UPSTREAM_FAILED and need.needs:
            found += _blamed(need.needs)
        elif need.part.view.state in (TaskState.FAILED, TaskState.CANCELLED) and not need.part.view.allowed:
            found.append(need.part)
    return found


# ---- Facts ----------------------------------------------------------------------------------------------------------


def _state_facts(standing: TaskStanding) -> list[FactView]:
    run, part = standing.run, standing.part
    view = part.view
    facts = [fact for obstacle in part.obstacles for fact in obstacle_facts(run, view.task, obstacle)]
    if view.state == TaskState.WAITING and run.state not in RUN_TERMINAL and not standing.needs:
        facts.append(_fact(standing, Code.RUN, f"{run_name(run)} {run_text(run)}", run.created_us))
    for tried in part.tried:
        if tried.ended_us is not None or not part.obstacles:
            facts += attempt_facts(run, view.task, tried)
    if view.user and view.started_us is not None:
        facts.append(_fact(standing, Code.ATTEMPT, f"it runs as {clean(view.user)}", view.started_us))
    for item in standing.bad_items:
        text = f"{clean(item.view.task)} {task_text(item.view)}"
        facts.append(replace(_fact(standing, Code.ITEMS, text, item.view.ended_us), task=item.view.task))
        facts += deeper(fact for tried in item.tried for fact in attempt_facts(run, item.view.task, tried))
    if part.retries:
        facts.append(_fact(standing, Code.RETRIES, part.retries))
    return [*facts, *_needs(standing)]


def _needs(standing: TaskStanding) -> list[FactView]:
    """Its rule and what it needs, one by one; those that decide come first."""
    if not standing.needs:
        return []
    facts = [_fact(standing, Code.RULE, f"it runs when {RULES[standing.rule]} ({standing.rule})")]
    for need in standing.needs:
        facts += _need(standing, need)
    more = standing.needs_total - len(standing.needs)
    if more > 0:
        facts.append(_fact(standing, Code.DEPENDENCY, f"and {plural(more, 'task')} more that it needs"))
    return facts


def _need(standing: TaskStanding, need: Need) -> list[FactView]:
    view = need.part.view
    at_us = view.ended_us if view.state in TASK_TERMINAL else view.started_us
    text = f"it needs {clean(view.task)}, which {task_text(view)}"
    facts = [replace(_fact(standing, Code.DEPENDENCY, text, at_us), task=view.task)]
    if need.part.obstacles:
        facts += deeper(part_facts(standing.run, need.part))
    for before in need.needs:
        facts += deeper(_need(standing, before))
    return facts


def _story(standing: TaskStanding) -> list[FactView]:
    """What was decided of it, and by whom it was stopped."""
    facts = []
    if standing.condition and not any(event.type == "condition_decided" for event in standing.story):
        text = f"its condition is looked at when it could run: {clean(standing.condition)}"
        facts.append(_fact(standing, Code.CONDITION, text))
    for event in standing.story:
        code = _STORY.get(event.type, Code.EVENT)
        facts.append(_fact(standing, code, clean(event.text), event.at_us))
    return facts


def _fact(standing: TaskStanding, code: Code, text: str, at_us: int | None = None) -> FactView:
    run = standing.run
    return FactView(code=code, text=text, at_us=at_us, workflow=run.workflow, run=run.run, task=standing.part.view.task)


# ---- Next -----------------------------------------------------------------------------------------------------------


def _steps(standing: TaskStanding) -> list[StepView]:
    run, view = standing.run.run, standing.part.view
    if view.state == TaskState.WAITING and standing.run.state not in RUN_TERMINAL:
        return _steps_of([need.part for need in standing.needs])
    if view.state not in TASK_TERMINAL:
        return _steps_of([standing.part])
    if view.state == TaskState.SKIPPED and view.reason == Reason.CONDITION_FALSE:
        return [StepView(text=f"it runs in a run in which its condition holds: {clean(standing.condition)}")]
    if view.state in (TaskState.FAILED, TaskState.CANCELLED):
        again = StepView(text="do again what failed", command=f"pyflowctl rerun {run} --failed")
        logs = StepView(text="what it said, in whole", command=f"pyflowctl logs {run} {clean(view.task)}")
        return [logs, again] if any(tried.said for tried in standing.part.tried) else [again]
    blamed = _blamed(standing.needs)
    if view.state == TaskState.UPSTREAM_FAILED and blamed:
        name = clean(blamed[0].view.task)
        return [
            StepView(text=f"why {name} {blamed[0].view.state}", command=f"pyflowctl explain {run} {name}"),
            StepView(text="once that is mended, do again what failed", command=f"pyflowctl rerun {run} --failed"),
        ]
    return []


def _steps_of(parts: Sequence[Part]) -> list[StepView]:
    found: list[StepView] = []
    for part in parts:
        for obstacle in part.obstacles:
            steps = [obstacle.step] if obstacle.step else []
            steps += [each.step for behind in obstacle.behind for _, _, each in obstacles_of(behind) if each.step]
            found += [step for step in steps if step not in found]
    return found[:3]
