"""What a run, or a backfill, would do, before it is recorded. Pure."""

from __future__ import annotations

from msgspec import Struct

from pyflowd.protocol.views_runs import BackfillView
from pyflowd.protocol.views_workflows import PlanView
from pyflowd.render.layout import clean, value_text
from pyflowd.web.times import Times, When, counted

SLOTS_SHOWN = 50
COMMANDS_SHOWN = 200


class Plan(Struct, frozen=True, kw_only=True):
    heading: str
    params: list[tuple[str, str]]
    commands: list[tuple[str, str]]
    commands_left: int
    warnings: list[str]
    notes: list[str]


def plan(view: PlanView) -> Plan:
    commands = list(view.commands.items())
    return Plan(
        heading=f"{view.workflow} would run {counted(len(view.tasks), 'task')}",
        params=[(name, value_text(value, 400)) for name, value in view.params.items()],
        commands=commands[:COMMANDS_SHOWN], commands_left=max(0, len(commands) - COMMANDS_SHOWN),
        warnings=[clean(str(problem)) for problem in view.warnings], notes=[clean(note) for note in view.notes],
    )  # fmt: skip


class BackfillPlan(Struct, frozen=True, kw_only=True):
    heading: str
    slots: list[When]
    slots_left: int
    left_out: str
    total: int


def backfill_plan(view: BackfillView, times: Times) -> BackfillPlan:
    slots = [when for at in view.slots[:SLOTS_SHOWN] if (when := times.when(at))]
    left_out = (
        f"{counted(view.left_out, 'slot')} left out: a run of it has succeeded, or may yet" if view.left_out else ""
    )
    return BackfillPlan(
        heading=f"{counted(view.total, 'run')} of {view.workflow} would be recorded"
        if view.total
        else f"No slot of {view.workflow} is left to run for in these days",
        slots=slots, slots_left=max(0, view.total - len(slots)), left_out=left_out, total=view.total,
    )  # fmt: skip
