"""What differs between two simulations of one span: what a changed file changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from pyflowd.model.states import Fate, SlotReason
from pyflowd.simulation.simulation_model import Ref, SimulatedRun, SimulatedSlot, Simulation, Waiting

LITTLE_US = 1_000_000
"""Nobody asks about less: starting a task takes some milliseconds, too."""


class ChangeSort(StrEnum):
    ADDED = "added"
    GONE = "gone"
    MOVED = "moved"  # another nominal time
    NEWLY_SKIPPED = "newly_skipped"
    FIRES_AGAIN = "fires_again"  # it was skipped
    LATER = "later"  # the same slot, its run begins later
    EARLIER = "earlier"


class Change(Struct, frozen=True, kw_only=True):
    sort: ChangeSort
    workflow: str
    trigger: str
    before_us: int | None
    """Nominal time; where only the beginning of its run is another one, that."""
    after_us: int | None
    reason: SlotReason | None = None
    because: Ref | None = None
    waiting: Waiting | None = None
    """What the run waits for longest, where it begins later."""


_Key = tuple[str, str, int]


def compare(before: Simulation, after: Simulation) -> tuple[Change, ...]:
    """In the order of time."""
    old, new = _by_key(before), _by_key(after)
    old_runs, new_runs = _runs(before), _runs(after)
    found = list(_moved(_times(old.keys() - new.keys()), _times(new.keys() - old.keys())))
    for key in old.keys() & new.keys():
        change = _of_slot(old[key], new[key])
        if change is None and old[key].fate is Fate.FIRED and key in old_runs and key in new_runs:
            change = _of_run(key, old_runs[key], new_runs[key])
        if change is not None:
            found.append(change)
    return tuple(sorted(found, key=_when))


def _when(change: Change) -> tuple[int, str, str]:
    at_us = change.after_us if change.after_us is not None else change.before_us
    return at_us or 0, change.workflow, change.trigger


def _by_key(simulation: Simulation) -> dict[_Key, SimulatedSlot]:
    return {(slot.workflow, slot.trigger, slot.scheduled_us): slot for slot in simulation.slots}


def _runs(simulation: Simulation) -> dict[_Key, SimulatedRun]:
    return {(run.ref.workflow, run.trigger, run.ref.at_us): run for run in simulation.runs if run.by_slot}


def _times(keys: Iterable[_Key]) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for workflow, trigger, at_us in sorted(keys):
        found.setdefault((workflow, trigger), []).append(at_us)
    return found


def _moved(gone: dict[tuple[str, str], list[int]], added: dict[tuple[str, str], list[int]]) -> Iterator[Change]:
    """As many slots of a trigger that come as go are the same ones at other times."""
    for workflow, trigger in sorted(gone.keys() | added.keys()):
        old, new = gone.get((workflow, trigger), []), added.get((workflow, trigger), [])
        if len(old) == len(new):
            for was_us, is_us in zip(old, new, strict=True):
                yield _change(ChangeSort.MOVED, workflow, trigger, was_us, is_us)
            continue
        for at_us in old:
            yield _change(ChangeSort.GONE, workflow, trigger, at_us, None)
        for at_us in new:
            yield _change(ChangeSort.ADDED, workflow, trigger, None, at_us)


def _change(sort: ChangeSort, workflow: str, trigger: str, before_us: int | None, after_us: int | None) -> Change:
    return Change(sort=sort, workflow=workflow, trigger=trigger, before_us=before_us, after_us=after_us)


def _of_slot(old: SimulatedSlot, new: SimulatedSlot) -> Change | None:
    if old.fate is new.fate:
        return None
    return Change(
        sort=ChangeSort.NEWLY_SKIPPED if new.fate is Fate.SKIPPED else ChangeSort.FIRES_AGAIN,
        workflow=new.workflow,
        trigger=new.trigger,
        before_us=old.scheduled_us,
        after_us=new.scheduled_us,
        reason=new.reason or old.reason,
        because=new.because or old.because,
    )


def _of_run(key: _Key, old: SimulatedRun, new: SimulatedRun) -> Change | None:
    was_us, is_us = old.started_us, new.started_us
    if was_us == is_us or (was_us is not None and is_us is not None and abs(was_us - is_us) < LITTLE_US):
        return None
    later = is_us is None or (was_us is not None and is_us > was_us)
    return Change(
        sort=ChangeSort.LATER if later else ChangeSort.EARLIER,
        workflow=key[0],
        trigger=key[1],
        before_us=was_us,
        after_us=is_us,
        waiting=longest(new) if later else longest(old),
    )


def longest(run: SimulatedRun) -> Waiting | None:
    """The longest time that a run, or one of its tasks, waits; None where it is short."""
    some = [waiting for waiting in run.waits if waited_us(waiting) >= LITTLE_US]
    return max(some, key=waited_us, default=None)


def waited_us(waiting: Waiting) -> int:
    """How long; so far, where it is not over."""
    return waiting.until_us - waiting.since_us
