"""What tests of the simulation need: workflows in few words, and a basis of them."""

from __future__ import annotations

import msgspec

from pyflowd.clock import US, to_us
from pyflowd.model.kinds import Argv
from pyflowd.model.triggers import Schedule
from pyflowd.model.workflow import Task, Workflow
from pyflowd.simulation.simulation_model import Basis, Duration, SimulatedSlot, Simulation

MINUTE_US = 60 * US
HOUR_US = 3600 * US
NOON_US = 1_767_610_800 * US
"""2026-01-05 11:00 UTC, a Monday."""


def at(text: str) -> int:
    """Microseconds of an RFC 3339 time."""
    from datetime import datetime

    return to_us(datetime.fromisoformat(text))


def task(name: str, **given: object) -> Task:
    return Task(name=name, kind=Argv(argv=("true",)), **given)  # type: ignore[arg-type]


def flow(
    name: str, cron: str = "", *tasks: Task, schedule: dict[str, object] | None = None, **given: object
) -> Workflow:
    """A workflow of one task, or of those that are given; `cron` empty: no schedule."""
    triggers = (Schedule(name="schedule", cron=cron, **(schedule or {})),) if cron else ()  # type: ignore[arg-type]
    return Workflow(name=name, tasks=tasks or (task("t"),), triggers=triggers, **given)  # type: ignore[arg-type]


def row(workflow: Workflow, now_us: int = NOON_US, *, paused: bool = False) -> list[object]:
    digest = f"digest-{workflow.name}"
    encoded = msgspec.msgpack.encode(workflow)
    return [workflow.name, f"{workflow.name}.yaml", digest, now_us, now_us if paused else None, "", encoded]


def basis(
    *workflows: Workflow,
    took_s: dict[str, float] | None = None,
    now_us: int = NOON_US,
    max_tasks: int = 100,
    pools: dict[str, int] | None = None,
    paused: tuple[str, ...] = (),
    timezone: str = "UTC",
) -> Basis:
    """`took_s`: `workflow` or `workflow/task` to what it always took."""
    rows = [row(each, now_us, paused=each.name in paused) for each in sorted(workflows, key=lambda each: each.name)]
    triggers = [[each.name, trigger.name, now_us, now_us] for each in workflows for trigger in each.triggers]
    durations = {}
    for name, seconds in (took_s or {}).items():
        workflow, _, of = name.partition("/")
        durations[workflow, of or "t"] = Duration(runs=20, median_s=seconds, p90_s=2 * seconds)
    return Basis(
        now_us=now_us, mono_us=10**12, host="host", timezone=timezone, max_tasks=max_tasks, pools=pools or {},
        rows={"workflows": rows, "triggers": triggers}, durations=durations,
    )  # fmt: skip


def told(slot: SimulatedSlot, since_us: int = NOON_US) -> str:
    """`0:20 w fired`, `0:40 w skipped overlap with w of 0:20`."""
    text = f"{_clock(slot.scheduled_us - since_us)} {slot.workflow} {slot.fate}"
    text += f" {slot.reason}" if slot.reason else ""
    return text + (f" with {slot.because.workflow} of {_clock(slot.because.at_us - since_us)}" if slot.because else "")


def slots(simulation: Simulation) -> list[str]:
    return [told(slot) for slot in simulation.slots]


def begun(simulation: Simulation) -> list[str]:
    """`w of 0:20 at 0:25` for each run that began."""
    return [
        f"{run.ref.workflow} of {_clock(run.ref.at_us - NOON_US)} at {_clock(run.started_us - NOON_US)}"
        for run in simulation.runs
        if run.started_us is not None
    ]


def _clock(us: int) -> str:
    minutes, seconds = divmod(us // US, 60)
    return f"{minutes // 60}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")
