"""What was expected of a workflow, and whether it has happened in time: the rules of `expect`, and their words. Pure.

It is given rows of the ledger of slots and of runs, and knows nothing of the store, of clocks, and of who is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from msgspec import Struct

from pyflowd.clock import US, from_us, to_us
from pyflowd.model.states import Fate, RunState, SlotReason
from pyflowd.model.triggers import Schedule
from pyflowd.model.workflow import Expected
from pyflowd.units import duration_written

LOOK_BACK_US = 7 * 86_400 * US
"""Of a longer down time nobody wants to be told all."""
ON_PURPOSE = frozenset(
    {
        SlotReason.PAUSED,
        SlotReason.DISABLED,
        SlotReason.LATE,
        SlotReason.BLACKOUT,
        SlotReason.CALENDAR,
        SlotReason.CONDITION_FALSE,
        SlotReason.DST,
        SlotReason.REMOVED,
    }
)
"""Why a slot started nothing that nobody expected to start."""


class SlotRow(NamedTuple):
    """Of the ledger."""

    scheduled_us: int
    fate: str
    reason: str | None
    run: int | None

    @property
    def is_expected(self) -> bool:
        return self.fate == Fate.FIRED or self.reason not in ON_PURPOSE


class RunRow(NamedTuple):
    run: int
    state: str
    since_us: int
    """When it was recorded; of a backfill, the slot that it makes up for."""
    started_us: int | None
    ended_us: int | None


class Missed(Struct, frozen=True, kw_only=True):
    """Something that did not happen in time."""

    sort: Expected
    trigger: str = ""
    subject: int
    """The slot's time, or the run."""
    run: int | None = None
    """That was late."""
    text: str = ""
    """For people, without the workflow."""
    met_us: int | None = None
    """When it happened after all."""


# ---- Starting in time -----------------------------------------------------------------------------------------------


def lag_us(trigger: Schedule, within_s: float) -> int:
    """How long after a slot's time its run must have started: its jitter is no lateness."""
    return round((within_s + trigger.jitter_s) * US)


def missed_start(trigger: Schedule, slot: SlotRow, runs: Sequence[RunRow], within_s: float) -> Missed | None:
    """What is to be told of a slot whose time to start is over; `runs`: those since the slot, its own among them."""
    if not slot.is_expected:
        return None
    starts = [(run.started_us, run.run) for run in runs if run.started_us and run.since_us >= slot.scheduled_us]
    first_us, run = min(starts, default=(None, slot.run if slot.fate == Fate.FIRED else None))
    if first_us is not None and first_us <= slot.scheduled_us + lag_us(trigger, within_s):
        return None
    return Missed(sort=Expected.START_WITHIN, trigger=trigger.name, subject=slot.scheduled_us, run=run, met_us=first_us)


# ---- Finishing by a time --------------------------------------------------------------------------------------------


def deadlines(finish_by: str, zone: tzinfo, after_us: int, until_us: int) -> Iterator[tuple[int, int]]:
    """The moments of that time of day after `after_us` up to `until_us`, each with the one of the day before."""
    at = time.fromisoformat(finish_by)
    day = from_us(after_us).astimezone(zone).date() - timedelta(days=1)
    before_us, moment_us = _moment_us(day - timedelta(days=1), at, zone), _moment_us(day, at, zone)
    while moment_us <= until_us:
        if moment_us > after_us:
            yield moment_us, before_us
        day += timedelta(days=1)
        before_us, moment_us = moment_us, _moment_us(day, at, zone)


def next_deadline_us(finish_by: str, zone: tzinfo, after_us: int) -> int:
    """The first such moment after `after_us`."""
    return next(deadlines(finish_by, zone, after_us, after_us + 4 * 86_400 * US))[0]


def _moment_us(day: date, at: time, zone: tzinfo) -> int:
    return to_us(datetime.combine(day, at, zone))


def missed_finish(trigger: Schedule, slot: SlotRow | None, runs: Sequence[RunRow], deadline_us: int) -> Missed | None:
    """What is to be told at a deadline, of the newest slot of the day before it."""
    if slot is None or not slot.is_expected:
        return None
    since = [run for run in runs if run.since_us >= slot.scheduled_us]
    ends = [(run.ended_us, run.run) for run in since if run.state == RunState.SUCCEEDED and run.ended_us]
    last = max((run.run for run in since), default=slot.run if slot.fate == Fate.FIRED else None)
    first_us, run = min(ends, default=(None, last))
    if first_us is not None and first_us <= deadline_us:
        return None
    return Missed(sort=Expected.FINISH_BY, trigger=trigger.name, subject=slot.scheduled_us, run=run, met_us=first_us)


# ---- Words ----------------------------------------------------------------------------------------------------------


def moment_text(at_us: int, zone: tzinfo) -> str:
    seconds = ":%S" if at_us // US % 60 else ""
    return format(from_us(at_us).astimezone(zone), f"%Y-%m-%d %H:%M{seconds} %Z")


def start_text(trigger: str, slots: Sequence[SlotRow], within_s: float, zone: tzinfo) -> str:
    """`the slot of schedule at 2026-03-10 02:30 UTC has not started within 15m: pyflowd was not running`."""
    newest = slots[-1]
    about = f"the slot of {trigger} at {moment_text(newest.scheduled_us, zone)}"
    if len(slots) > 1:
        about = f"{len(slots)} slots of {trigger}, the newest at {moment_text(newest.scheduled_us, zone)},"
    has = "have" if len(slots) > 1 else "has"
    return f"{about} {has} not started within {duration_written(within_s)}{_because(newest)}"


def finish_text(trigger: str, slot: SlotRow, finish_by: str, deadline_us: int, zone: tzinfo) -> str:
    """`no run has succeeded by 06:00 on 2026-03-10 since the slot of schedule at 2026-03-10 02:30 UTC`."""
    day = f"{from_us(deadline_us).astimezone(zone):%Y-%m-%d}"
    since = f"the slot of {trigger} at {moment_text(slot.scheduled_us, zone)}"
    return f"no run had succeeded by {finish_by} on {day} since {since}{_because(slot)}"


def duration_words(run: int, max_s: float) -> str:
    return f"run {run} takes longer than {duration_written(max_s)}"


def missed_title(missed: Missed) -> str:
    """A few words, for the subject of a message."""
    match missed.sort:
        case Expected.START_WITHIN:
            return "not started in time" if missed.met_us is None else "started late"
        case Expected.FINISH_BY:
            return "not finished in time" if missed.met_us is None else "finished late"
        case Expected.MAX_DURATION:
            return f"run {missed.subject} takes too long"


def met_text(missed: Missed, zone: tzinfo) -> str:
    """That it has happened after all."""
    at = moment_text(missed.met_us or 0, zone)
    match missed.sort:
        case Expected.START_WITHIN:
            what = f"run {missed.run} has started at {at}, for the slot at {moment_text(missed.subject, zone)}"
        case Expected.FINISH_BY:
            what = f"run {missed.run} has succeeded at {at}, for the slot at {moment_text(missed.subject, zone)}"
        case Expected.MAX_DURATION:
            what = f"run {missed.run} has ended at {at}"
    return f"it has happened now: {what}"


_BECAUSE = {
    SlotReason.OVERLAP: "a run was live",
    SlotReason.QUEUE_FULL: "the queue was full",
    SlotReason.DOWN: "pyflowd was not running",
    SlotReason.CLOCK_STEP: "the clock was set forward",
    SlotReason.BAD_PARAMS: "its params were refused",
}


def _because(slot: SlotRow) -> str:
    if slot.fate == Fate.FIRED:
        return f": see run {slot.run}" if slot.run is not None else ""
    reason = SlotReason(slot.reason) if slot.reason in list(SlotReason) else None
    told = _BECAUSE.get(reason, reason.replace("_", " ")) if reason else ""
    by = f" (run {slot.run})" if slot.run is not None else ""
    return f": {told}{by}" if told else ""
