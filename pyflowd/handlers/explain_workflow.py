"""Why a workflow has not run, or when it does: whether it is in force and on, its triggers, its newest slots, its runs.
Pure.
"""

from __future__ import annotations

import shlex

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.folder.listing import UNSAFE
from pyflowd.handlers.explain import Code, deeper
from pyflowd.handlers.explain_run import Standing, run_facts, run_name, run_text, steps
from pyflowd.handlers.explain_run import answer as run_answer
from pyflowd.handlers.explain_run import answer_us as run_answer_us
from pyflowd.handlers.explain_slot import SlotStanding, slot_facts, slot_steps, slot_text
from pyflowd.model.problem import Problem
from pyflowd.model.states import RUN_TERMINAL, Fate, RunState
from pyflowd.protocol.views_runs import ExplanationView, FactView, StepView
from pyflowd.render.layout import clean, plural

PROBLEMS_TOLD = 3
DIGITS = 12


class TriggerStanding(Struct, frozen=True, kw_only=True):
    """What may start a workflow: a schedule with its next slot, or something that happens (`event`)."""

    name: str
    text: str
    """`30 2 * * * (Europe/Berlin)`, `file /srv/in/*.csv`."""
    enabled: bool = True
    event: bool = False
    next_us: int | None = None
    """None: none comes."""
    barred: str = ""
    """What keeps an earlier one from firing, and when that would have been."""
    barred_us: int | None = None
    firing: FactView | None = None
    """What reached it last, where it waits for events."""


class WorkflowStanding(Struct, frozen=True, kw_only=True):
    workflow: str
    state: str
    """`active`, `paused`, `stale`, `broken`, `removed`, `uninstalled` (it ran from a file)."""
    file: str = ""
    path: str = ""
    """Of the file, for commands."""
    digest: str = ""
    since_us: int | None = None
    """When its definition came into force, or went."""
    how: str = ""
    """What that was: `edited`, `added`, ... ."""
    paused_by: str = ""
    paused_us: int | None = None
    problems: tuple[Problem, ...] = ()
    """Errors of its newest text."""
    refused_us: int | None = None
    triggers: tuple[TriggerStanding, ...] = ()
    expected: tuple[FactView, ...] = ()
    """What should have happened, and has not."""
    newest: SlotStanding | None = None
    skipped: SlotStanding | None = None
    """The newest that was skipped."""
    last: Standing | None = None
    """Its newest run; where some are live, the oldest of those."""
    live_runs: int = 0
    skips: bool = False
    """Its overlap rule skips a slot while a run is live."""


def explain_workflow(standing: WorkflowStanding, host: list[FactView]) -> ExplanationView:
    facts = [*host, *_state(standing), *standing.expected, *_triggers(standing), *_slots(standing), *_runs(standing)]
    if standing.since_us is not None and standing.digest:
        text = f"the definition in force is {standing.digest[:DIGITS]} from {clean(standing.file)}"
        facts.append(_fact(standing, Code.DEFINITION, text + (f" ({standing.how})" if standing.how else ""),
                           standing.since_us))  # fmt: skip
    text, at_us = _answer(standing)
    return ExplanationView(
        workflow=standing.workflow, state=standing.state, answer=text, answer_us=at_us, facts=facts,
        next=_steps(standing),
    )  # fmt: skip


# ---- Answer ---------------------------------------------------------------------------------------------------------


def next_us(standing: WorkflowStanding) -> int | None:
    """Of all triggers that are on."""
    if standing.state == "paused":
        return None
    coming = (trigger.next_us for trigger in standing.triggers if trigger.enabled)
    return min((at_us for at_us in coming if at_us is not None), default=None)


def _answer(standing: WorkflowStanding) -> tuple[str, int | None]:
    """One sentence and its time: what is now, else what was at the newest slot, else what comes."""
    name, last = standing.workflow, standing.last
    if last is not None and last.view.state not in RUN_TERMINAL:
        return run_answer(last), run_answer_us(last)
    if standing.state == "broken":
        where = str(standing.problems[0]) if standing.problems else standing.file
        return f"{name} is not in force: {clean(where)}", standing.refused_us
    if standing.state == "removed":
        return f"{name} is not in force: its file {clean(standing.file)} is gone", standing.since_us
    if standing.state == "uninstalled":
        return f"{name} is not installed: its runs came from files given to `pyflowctl run`", None
    if standing.state == "paused":
        return f"{name} is paused by {clean(standing.paused_by)}: its slots are skipped", standing.paused_us
    if not standing.triggers:
        return f"{name} has no trigger: it runs when somebody, or another workflow, asks for it", None
    if not any(trigger.enabled for trigger in standing.triggers):
        return f"{name} does not start by itself: all its triggers are disabled", standing.since_us
    newest = standing.newest
    if newest is not None and newest.view.fate is Fate.SKIPPED:
        return f"{name} did not run: {slot_text(newest.view)}", newest.view.scheduled_us
    if newest is not None and newest.behind is not None:
        return f"{name} ran at its newest slot: {_ran(newest.behind)}", newest.view.scheduled_us
    coming_us = next_us(standing)
    if coming_us is None and not any(trigger.event for trigger in standing.triggers):
        return f"{name} does not run again: no slot of its schedules comes any more", None
    if coming_us is None:
        return f"{name} runs when what it waits for happens", None
    return f"{name} has had no slot yet: its first one is to come", coming_us


def _ran(standing: Standing) -> str:
    return f"run {standing.view.run} {run_text(standing.view)}"


# ---- Facts ----------------------------------------------------------------------------------------------------------


def _state(standing: WorkflowStanding) -> list[FactView]:
    """What keeps it from starting, whatever its triggers say."""
    facts = []
    if standing.paused_by:
        text = f"it was paused by {clean(standing.paused_by)}"
        facts.append(replace(_fact(standing, Code.PAUSED, text, standing.paused_us), by=standing.paused_by))
    if standing.state == "removed":
        text = f"its file {clean(standing.file)} was taken away; runs under way went on"
        facts.append(_fact(standing, Code.REMOVED, text, standing.since_us))
    if standing.problems:
        if standing.state == "broken":
            head = _fact(standing, Code.BROKEN, f"{clean(standing.file)} has never had a good text", None)
        else:
            text = f"the newest text of {clean(standing.file)} is refused: the one before stays in force"
            head = _fact(standing, Code.STALE, text, standing.refused_us)
        code = Code(head.code)
        told = [_fact(standing, code, clean(str(problem))) for problem in standing.problems[:PROBLEMS_TOLD]]
        facts += [head, *deeper(told)]
    return facts


def _triggers(standing: WorkflowStanding) -> list[FactView]:
    facts = []
    for trigger in standing.triggers:
        name = f"its trigger {clean(trigger.name)}: {clean(trigger.text)}"
        if not trigger.enabled:
            fact = _fact(standing, Code.DISABLED, f"{name} is disabled in the file")
        elif trigger.event:
            fact = _fact(standing, Code.TRIGGER, f"{name}; it starts a run when that happens")
        elif trigger.next_us is None:
            fact = _fact(standing, Code.TRIGGER, f"{name} has no slot any more")
        elif standing.state == "paused":
            fact = _fact(standing, Code.TRIGGER, f"{name}; its next slot will be skipped", trigger.next_us)
        else:
            unless = ", which is skipped if a run is live then" if standing.live_runs and standing.skips else ""
            fact = _fact(standing, Code.TRIGGER, f"{name}; its next slot{unless}", trigger.next_us)
        facts.append(replace(fact, trigger=trigger.name))
        if trigger.barred and trigger.enabled:
            fact = _fact(
                standing, Code.BARRED, f"an earlier one will not fire: {clean(trigger.barred)}", trigger.barred_us
            )
            facts.append(replace(fact, trigger=trigger.name, depth=1))
        if trigger.firing is not None:
            facts.append(replace(trigger.firing, depth=1))
    if not standing.triggers and standing.state in ("active", "stale", "paused"):
        facts.append(_fact(standing, Code.UNSCHEDULED, "its definition has no trigger"))
    return facts


def _slots(standing: WorkflowStanding) -> list[FactView]:
    """The newest slot, and always the newest that was skipped."""
    facts = []
    if standing.newest is not None:
        facts += slot_facts(standing.newest)
    skipped = standing.skipped
    if skipped is not None and (standing.newest is None or skipped.view != standing.newest.view):
        facts += slot_facts(skipped)
    return facts


def _runs(standing: WorkflowStanding) -> list[FactView]:
    last = standing.last
    if last is None:
        return [_fact(standing, Code.RUN, "it has never run")] if standing.state != "broken" else []
    newest = standing.newest
    if newest is not None and newest.behind is not None and newest.behind.view.run == last.view.run:
        return []
    view = last.view
    is_live = view.state not in RUN_TERMINAL
    at_us = (view.started_us or view.created_us) if is_live else view.ended_us
    which = "" if is_live else "its last run: "
    fact = _fact(standing, Code.RUN, f"{which}{run_name(view)} {run_text(view)}", at_us)
    facts = [replace(fact, run=view.run), *deeper(run_facts(last))]
    if standing.live_runs > 1:
        facts.append(_fact(standing, Code.RUN, f"{plural(standing.live_runs, 'run')} of it are live"))
    return facts


def _fact(standing: WorkflowStanding, code: Code, text: str, at_us: int | None = None) -> FactView:
    return FactView(code=code, text=text, at_us=at_us, workflow=standing.workflow)


# ---- Next -----------------------------------------------------------------------------------------------------------


def _steps(standing: WorkflowStanding) -> list[StepView]:
    name = standing.workflow
    found: list[StepView] = []
    last = standing.last
    if last is not None and last.view.state not in RUN_TERMINAL:
        found += steps(last)[:1]
    if standing.state in ("broken", "stale") and standing.problems:
        problem = standing.problems[0]
        text = problem.fix or f"mend {clean(problem.file)}"
        # Of a file that others could have written the text may be in order.
        command = "pyflowctl reload" if problem.code == UNSAFE else f"pyflowctl lint {shlex.quote(standing.path)}"
        found.append(StepView(text=text, command=command))
    if standing.state == "removed":
        found.append(StepView(text=f"put {clean(standing.file)} back"))
    if standing.state == "paused":
        found.append(StepView(text="somebody resumes it", command=f"pyflowctl resume {name}"))
    coming_us = next_us(standing)
    if coming_us is not None:
        found.append(StepView(text="its next slot comes", at_us=coming_us))
    elif any(trigger.event and trigger.enabled for trigger in standing.triggers):
        found.append(StepView(text="what one of its triggers waits for happens"))
    elif standing.state in ("active", "stale") and not found:
        found.append(StepView(text="somebody starts it", command=f"pyflowctl run {name}"))
    newest = standing.newest
    if newest is not None and newest.view.fate is Fate.SKIPPED and standing.state == "active":
        found += [step for step in slot_steps(newest) if step not in found]
    elif last is not None and last.view.state == RunState.FAILED:
        command = f"pyflowctl explain {last.view.run}"
        found.append(StepView(text=f"why run {last.view.run} failed", command=command))
    return found[:4]
