"""A simulation, added up by workflow. Pure."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from pyflowd.model.states import Fate, RunState
from pyflowd.simulation.simulation_changes import longest, waited_us
from pyflowd.simulation.simulation_model import SimulatedRun, Simulation, Waiting


class Total(Struct, frozen=True, kw_only=True):
    workflow: str
    fired: int = 0
    skipped: int = 0
    reasons: dict[str, int] = {}
    """Of what was skipped, by `SlotReason`."""
    runs: int = 0
    """Live in the span, however they were started."""
    bad: int = 0
    """That failed or were cancelled."""
    waited: int = 0
    """Runs that waited for something of others, or whose tasks did."""
    longest: Waiting | None = None
    longest_us: int = 0
    took_us: int = 0
    """Of the longest run."""


def totals(simulation: Simulation) -> tuple[Total, ...]:
    """By name; workflows of which nothing happened are left out."""
    fired: Counter[str] = Counter()
    skipped: dict[str, Counter[str]] = {}
    for slot in simulation.slots:
        if slot.fate is Fate.FIRED:
            fired[slot.workflow] += 1
        else:
            skipped.setdefault(slot.workflow, Counter())[slot.reason or "unknown"] += 1
    runs: dict[str, list[SimulatedRun]] = {}
    for run in simulation.runs:
        runs.setdefault(run.ref.workflow, []).append(run)
    names = sorted(fired.keys() | skipped.keys() | runs.keys())
    return tuple(_total(name, fired[name], skipped.get(name, Counter()), runs.get(name, [])) for name in names)


def _total(name: str, fired: int, skipped: Counter[str], runs: list[SimulatedRun]) -> Total:
    worst, worst_us = None, 0
    for run in runs:
        waiting = longest(run)
        if waiting is not None and (worst is None or waited_us(waiting) > worst_us):
            worst, worst_us = waiting, waited_us(waiting)
    ended = [run.ended_us - run.started_us for run in runs if run.ended_us and run.started_us]
    return Total(
        workflow=name, fired=fired, skipped=skipped.total(), reasons=dict(skipped.most_common()), runs=len(runs),
        bad=sum(run.state in (RunState.FAILED, RunState.CANCELLED) for run in runs),
        waited=sum(longest(run) is not None for run in runs), longest=worst, longest_us=worst_us,
        took_us=max(ended, default=0),
    )  # fmt: skip
