"""Why a run stands as it does: what it waits for, down to the root, or how it ended, and which task made it so. Pure.

What is known comes as a tree: a run has parts (tasks), both have obstacles, an obstacle has the runs behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.exit_status import exit_text, signal_name
from pyflowd.handlers.explain import Code, deeper
from pyflowd.handlers.explain_words import REASONS, RUN_STATES, TASK_STATES
from pyflowd.model.states import RUN_TERMINAL, AttemptState, Reason, RunState, TaskState
from pyflowd.protocol.views_runs import ExplanationView, FactView, RunView, StepView, TaskView
from pyflowd.render.layout import clean, plural, values_text
from pyflowd.render.render_tasks import items_text

NAMES_TOLD = 5
STEPS_TOLD = 3
_BY_PEOPLE = ("", "manual", "rerun", "workflow")
"""In the place of a trigger's name."""


class Obstacle(Struct, frozen=True, kw_only=True):
    """What a run or a task waits for, or does; `text` goes on where its name has been said."""

    code: Code
    text: str
    at_us: int | None = None
    """Since when; of what ends by itself at a known time, until when."""
    by: str = ""
    step: StepView | None = None
    """What ends it."""
    behind: tuple[Standing, ...] = ()
    """The runs that it is about."""


class Tried(Struct, frozen=True, kw_only=True):
    """One attempt, and the last lines of what it said."""

    number: int
    state: AttemptState
    reason: str | None = None
    error: str = ""
    exit_code: int | None = None
    signal: int | None = None
    started_us: int
    ended_us: int | None = None
    said: tuple[str, ...] = ()


class Part(Struct, frozen=True, kw_only=True):
    """A task of a run, or an item."""

    view: TaskView
    obstacles: tuple[Obstacle, ...] = ()
    tried: tuple[Tried, ...] = ()
    """The newest of its attempts, the oldest first."""
    retries: str = ""
    """How many are left, or why there are none."""


class Standing(Struct, frozen=True, kw_only=True):
    """A run."""

    view: RunView
    obstacles: tuple[Obstacle, ...] = ()
    """Of a queued one."""
    live: tuple[Part, ...] = ()
    """Tasks under way, or ready, or in their back-off; some of them."""
    live_total: int = 0
    bad: tuple[Part, ...] = ()
    """Tasks that made it fail, in the order in which they did."""
    not_run: tuple[str, ...] = ()
    skipped: tuple[TaskView, ...] = ()
    handlers: tuple[TaskView, ...] = ()
    cancelled_by: str = ""
    cancelled_us: int | None = None


# ---- Sentences ------------------------------------------------------------------------------------------------------


def run_name(view: RunView) -> str:
    """Of one that whoever asks may not see without its number."""
    return f"run {view.run} of {view.workflow}" if view.run else f"a run of {view.workflow}"


def run_text(view: RunView) -> str:
    """How a run is, after its name: `failed: ship: exit code 7`."""
    state = RunState(view.state)
    if state is RunState.RUNNING and view.stopping:
        return "is being cancelled" if view.stopping == "cancel" else "is being stopped, as its time ran out"
    said = RUN_STATES[state]
    if view.reason is None:
        return said
    reason = Reason(view.reason)
    if reason is Reason.CANCELLED:
        return said
    return f"{said}: {clean(view.error) or REASONS[reason]}"


def reason_text(reason: str | None, error: str, exit_code: int | None, signal: int | None) -> str:
    """The reason of a task's or an attempt's end with its facts."""
    if reason is None:
        return clean(error)
    known = Reason(reason)
    if known in (Reason.EXIT_CODE, Reason.SKIP_CODE) and exit_code is not None:
        code = exit_text(exit_code)
        return code if clean(error) in ("", f"exit code {exit_code}") else f"{clean(error)} ({code})"
    if known is Reason.SIGNAL and signal is not None:
        return f"{REASONS[known]} ({signal_name(signal)})"
    if known is Reason.START_FAILED and error:
        return clean(error)  # which says itself that it could not start
    return f"{REASONS[known]}: {clean(error)}" if error else REASONS[known]


def task_text(view: TaskView) -> str:
    """How a task is, after its name."""
    said = TASK_STATES[TaskState(view.state)] + (
        ", which is allowed" if view.allowed and view.state == "failed" else ""
    )
    if view.items and view.state in ("running", "failed", "succeeded"):
        return f"{said}: {items_text(view.items)}"
    if view.reason is None or view.reason == view.state:
        return said
    why = reason_text(view.reason, view.error, view.exit_code, view.signal)
    if view.reason == Reason.CONDITION_FALSE and view.values:
        why = f"{why}: {values_text(view.values)}"
    return f"{said}: {why}"


def attempt_text(tried: Tried) -> str:
    match tried.state:
        case AttemptState.STARTING:
            return f"attempt {tried.number} is being started"
        case AttemptState.RUNNING:
            return f"attempt {tried.number} is running"
        case AttemptState.SUCCEEDED:
            return f"attempt {tried.number} succeeded"
        case AttemptState.UNKNOWN:
            return f"attempt {tried.number} is unknown: {clean(tried.error) or REASONS[Reason.LOST]}"
        case _:
            why = reason_text(tried.reason, tried.error, tried.exit_code, tried.signal)
            word = tried.state.value.replace("_", " ")
            return f"attempt {tried.number} {word}" + (f": {why}" if why and tried.reason != tried.state else "")


def few(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else ""
    return ", ".join(map(clean, names[:NAMES_TOLD])) + more


# ---- Facts ----------------------------------------------------------------------------------------------------------


def run_facts(standing: Standing) -> list[FactView]:
    """What there is to say of a run, but for how it is."""
    view = standing.view
    if view.state in RUN_TERMINAL:
        return [*_end_facts(standing), _requested(view)]
    facts = [fact for obstacle in standing.obstacles for fact in obstacle_facts(view, "", obstacle)]
    if view.section:
        outcome = "were cancelled" if view.outcome == "cancelled" else view.outcome or "ended"
        facts.append(_fact(view, Code.HANDLERS, f"its tasks {outcome}; now {view.section} runs"))
    if standing.cancelled_by:
        facts.append(_cancelled(standing))
    for part in standing.live:
        facts += part_facts(view, part)
    if standing.live_total > len(standing.live):
        more = standing.live_total - len(standing.live)
        facts.append(_fact(view, Code.RUNNING, f"{plural(more, 'task')} more are under way, ready or in a back-off"))
    waiting = view.counts.get(TaskState.WAITING, 0)
    if waiting and view.state == RunState.RUNNING:
        text = f"{plural(waiting, 'task')} {'waits' if waiting == 1 else 'wait'} for tasks before"
        facts.append(_fact(view, Code.NOT_RUN, text))
    return [*facts, _requested(view)]


def part_facts(view: RunView, part: Part) -> list[FactView]:
    """A task under way: what it waits for or does, and the attempts before."""
    task = part.view.task
    facts: list[FactView] = []
    for obstacle in part.obstacles:
        facts += obstacle_facts(view, task, obstacle)
    if not part.obstacles:
        facts.append(_fact(view, Code.TASK, f"{clean(task)} {task_text(part.view)}", part.view.started_us, task))
    ended = [tried for tried in part.tried if tried.ended_us is not None]
    return facts + deeper(fact for tried in ended for fact in attempt_facts(view, task, tried))


def obstacle_facts(view: RunView, task: str, obstacle: Obstacle) -> list[FactView]:
    subject = clean(task) if task else run_name(view)
    head = _fact(view, obstacle.code, f"{subject} {obstacle.text}", obstacle.at_us, task)
    facts = [replace(head, by=obstacle.by)]
    for standing in obstacle.behind:
        behind = standing.view
        at_us = behind.started_us or behind.created_us
        facts.append(replace(_fact(behind, Code.RUN, f"{run_name(behind)} {run_text(behind)}", at_us), depth=1))
        told = [fact for each in standing.obstacles for fact in obstacle_facts(behind, "", each)]
        told += [fact for part in standing.live for fact in part_facts(behind, part)]
        facts += deeper(told, 2)
    return facts


def attempt_facts(view: RunView, task: str, tried: Tried) -> list[FactView]:
    at_us = tried.started_us if tried.ended_us is None else tried.ended_us
    facts = [_fact(view, Code.ATTEMPT, attempt_text(tried), at_us, task)]
    return facts + [replace(_fact(view, Code.OUTPUT, line, None, task), depth=1) for line in tried.said]


def _end_facts(standing: Standing) -> list[FactView]:
    """How a run ended: what went wrong, what did not run because of it, what its handlers did."""
    view, facts = standing.view, []
    if standing.cancelled_by:
        facts.append(_cancelled(standing))
    for part in standing.bad:
        task = part.view.task
        facts.append(_fact(view, Code.TASK, f"{clean(task)} {task_text(part.view)}", part.view.ended_us, task))
        for tried in part.tried:
            facts += deeper(attempt_facts(view, task, tried))
        if part.retries:
            facts.append(replace(_fact(view, Code.RETRIES, part.retries, None, task), depth=1))
    if standing.not_run:
        facts.append(_fact(view, Code.NOT_RUN, f"did not run because of that: {few(standing.not_run)}"))
    for task_view in standing.skipped:
        text = f"{clean(task_view.task)} {task_text(task_view)}"
        facts.append(_fact(view, Code.CONDITION if task_view.values else Code.TASK, text, None, task_view.task))
    for handler in standing.handlers:
        text = f"{handler.section}: {clean(handler.task)} {task_text(handler)}"
        facts.append(_fact(view, Code.HANDLERS, text, handler.ended_us, handler.task))
    return facts


def _cancelled(standing: Standing) -> FactView:
    text = f"a cancel was asked for by {clean(standing.cancelled_by)}"
    fact = _fact(standing.view, Code.CANCELLED, text, standing.cancelled_us)
    return replace(fact, by=standing.cancelled_by)


def _requested(view: RunView) -> FactView:
    """Who or what asked for a run."""
    by, at_us = clean(view.requested_by) or "nobody known", view.created_us
    if view.parent is not None:
        text = f"it was called by task {clean(view.parent_task)} of run {view.parent}"
    elif view.rerun_of is not None:
        text = f"it repeats run {view.rerun_of}, asked for by {by}"
    elif view.backfill is not None:
        text = f"it was recorded by backfill {view.backfill}, asked for by {by}"
    elif view.trigger in _BY_PEOPLE:
        text = f"it was asked for by {by}"
    else:
        text, at_us = f"its trigger {clean(view.trigger)} fired", view.scheduled_us or view.created_us
    return replace(_fact(view, Code.REQUESTED, text, at_us), by=view.requested_by, trigger=view.trigger)


def _fact(view: RunView, code: Code, text: str, at_us: int | None = None, task: str = "") -> FactView:
    workflow = view.workflow if view.run else ""
    return FactView(code=code, text=text, at_us=at_us, workflow=workflow, run=view.run or None, task=task)


# ---- Root, next steps -----------------------------------------------------------------------------------------------


def obstacles_of(standing: Standing) -> Iterator[tuple[RunView, str, Obstacle]]:
    """Everything that a run waits for or does: (run, task, obstacle); those at the root last in each branch."""
    mine = [("", obstacle) for obstacle in standing.obstacles]
    mine += [(part.view.task, obstacle) for part in standing.live for obstacle in part.obstacles]
    for task, obstacle in mine:
        yield standing.view, task, obstacle
        for behind in obstacle.behind:
            yield from obstacles_of(behind)


def root(standing: Standing) -> tuple[RunView, str, Obstacle] | None:
    """What a run waits for in the end, down its first branch."""
    found: tuple[RunView, str, Obstacle] | None = None
    at: Standing | None = standing
    while at is not None:
        first = _first(at)
        if first is None:
            return found
        found = (at.view, *first)
        at = first[1].behind[0] if first[1].behind else None
    return found


def _first(standing: Standing) -> tuple[str, Obstacle] | None:
    if standing.obstacles:
        return "", standing.obstacles[0]
    return next(((part.view.task, part.obstacles[0]) for part in standing.live if part.obstacles), None)


def steps(standing: Standing) -> list[StepView]:
    """What would have to happen next, without repetition: what is at the root comes first."""
    view = standing.view
    if view.state in RUN_TERMINAL:
        return _steps_after(standing)
    found: list[StepView] = []
    for _, _, obstacle in obstacles_of(standing):
        if obstacle.step is not None and obstacle.step not in found:
            found.append(obstacle.step)
    return found[::-1][:STEPS_TOLD]


def _steps_after(standing: Standing) -> list[StepView]:
    view = standing.view
    if view.state == RunState.FAILED:
        task = f" {clean(standing.bad[0].view.task)}" if standing.bad else ""
        logs = StepView(text="what it said, in whole", command=f"pyflowctl logs {view.run}{task}")
        again = StepView(text="do again what failed", command=f"pyflowctl rerun {view.run} --failed")
        has_said = bool(standing.bad) and any(tried.said for tried in standing.bad[0].tried)
        return [logs, again] if has_said else [again]
    if view.state == RunState.CANCELLED:
        return [StepView(text="do it again", command=f"pyflowctl rerun {view.run}")]
    return []


# ---- Answers --------------------------------------------------------------------------------------------------------


def explain_run(standing: Standing, host: list[FactView]) -> ExplanationView:
    """`host`: what is wrong with the host, which is told of live runs."""
    view = standing.view
    facts = run_facts(standing)
    is_live = view.state not in RUN_TERMINAL
    return ExplanationView(
        workflow=view.workflow, run=view.run, state=view.state, answer=answer(standing),
        answer_us=answer_us(standing),
        facts=[*host, *facts] if is_live else facts, next=steps(standing),
    )  # fmt: skip


def answer_us(standing: Standing) -> int | None:
    """The time that goes with `answer`: of what it says last."""
    view, last = standing.view, root(standing)
    if view.state in RUN_TERMINAL:
        return view.ended_us
    if last is not None and not view.stopping:
        return last[2].at_us
    return view.started_us or view.created_us


def answer(standing: Standing) -> str:
    """One sentence: how the run is, and why; of a chain of runs also its end."""
    view = standing.view
    name = run_name(view)
    if view.state in RUN_TERMINAL:
        by = f" by {clean(standing.cancelled_by)}" if view.reason == Reason.CANCELLED and standing.cancelled_by else ""
        return f"{name} {run_text(view)}{by}"
    first = _first(standing)
    if first is None or view.stopping:
        return f"{name} {run_text(view)}"
    task, obstacle = first
    said = f"{name} {run_text(view)}: " + (f"{clean(task)} {obstacle.text}" if task else f"it {obstacle.text}")
    others = standing.live_total - 1
    said += f"; {others} more under way" if others > 0 else ""
    last = root(standing)
    if last is None or last[2] is obstacle:
        return said
    end_view, end_task, end = last
    end_name = f"{clean(end_task)} of run {end_view.run}" if end_task else f"run {end_view.run}"
    return f"{said}; at the root of it {end_name} {end.text}"
