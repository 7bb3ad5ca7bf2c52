"""The triggers of all workflows by time, and the order in which their slots come (rules T1, T7, T8).

Everything here is given `now`. It knows nothing of runs, of the store, or of who is told.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from msgspec import Struct

from pyflowd.base.zones import Zone
from pyflowd.clock import US
from pyflowd.model.states import SlotReason
from pyflowd.model.triggers import Catchup, CatchupPolicy, Schedule
from pyflowd.schedules import schedule
from pyflowd.schedules.fates import Bar, Due, is_too_late
from pyflowd.schedules.schedule import Slot, Times, from_slots, same_times

STEP_US = 3 * 3600 * US
"""Rule T8: the clock set forward by more than this is a correction, as in Debian's cron."""
_LOOK_AHEAD_US = 5 * 366 * 86_400 * US
_LOOK_AHEAD_SLOTS = 2_000
"""Slots that a calendar or a blackout keeps are passed over in search of a coming one: so far, and so many in turn."""

Judge = Callable[[Schedule, Zone, int, int], Bar | None]
"""Whether calendars and blackouts let a trigger start something: of its nominal time, at a time."""


class Planned(NamedTuple):
    """A slot of a trigger, with its jitter."""

    at_us: int
    due_us: int
    left_out: bool


class _Entry(Struct):
    """A trigger in force."""

    workflow: str
    trigger: Schedule
    zone: Zone
    times: Times
    host_id: str
    jitter_us: int
    """Of a stable jitter."""
    catchup: Catchup | None
    anchor_us: int
    after_us: int
    """Its cursor: slots up to this nominal time are accounted for. It never goes back."""
    next: Planned | None = None
    """The first slot after the cursor."""
    ticket: int = 0
    """Number of its newest place in the heap; places with older numbers are void."""

    def first_after(self, after_us: int) -> Planned | None:
        slot = self.times.next_after(max(after_us, self.after_us))
        return None if slot is None else self.planned(slot)

    def planned(self, slot: Slot) -> Planned:
        return Planned(slot.at_us, slot.at_us + self._delay_us(slot.at_us), slot.left_out)

    def _delay_us(self, at_us: int) -> int:
        if not self.trigger.random_jitter:
            return self.jitter_us
        following = self.times.next_after(at_us)
        next_us = None if following is None else following.at_us
        return schedule.random_jitter_us(
            self.host_id, self.workflow, self.trigger.name, self.trigger.jitter_s, at_us, next_us
        )


class Timetable:
    """Each trigger has a cursor, the nominal time last accounted for, that never goes back: a clock set back fires
    nothing twice, and its schedules are silent until the clock has come to the cursor again (rule T8).
    """

    def __init__(self, host_id: str, host: Zone, judge: Judge = lambda *_: None) -> None:
        self.judge = judge
        self._host_id = host_id
        self._host = host
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._boot: dict[str, tuple[Schedule, ...]] = {}
        self._heap: list[tuple[int, str, str, int]] = []
        self._tickets = count(1)
        self._seen: tuple[int, int] | None = None
        self._stepped_to_us: int | None = None

    # ---- Triggers come and go

    def set_workflow(
        self,
        name: str,
        triggers: tuple[Schedule, ...],
        since_us: int,
        cursors: Mapping[str, int] | None = None,
        anchors: Mapping[str, int] | None = None,
        catchup: Catchup | None = None,
    ) -> None:
        """Put the triggers of a workflow in force, in place of those it had. Raises ValueError, changing nothing.

        Slots begin strictly after `since_us`, for the triggers in `cursors` (trigger name to nominal time last
        accounted for, as the store knows it) after the cursor; intervals are counted from their entry in `anchors`,
        else from the second of `since_us`. A trigger whose times have not changed goes on where it was. Of one whose
        times have changed, `overdue` has told before what is still to be accounted for.
        """
        entries, boot = [], []
        for trigger in triggers:
            since = (cursors or {}).get(trigger.name, since_us)
            entry = self._entry(name, trigger, since, (anchors or {}).get(trigger.name, since_us // US * US), catchup)
            if entry is None:
                boot.append(trigger)
            else:
                entries.append(entry)
        self.remove_workflow(name)
        self._boot[name] = tuple(boot)
        self._names[name] = tuple(entry.trigger.name for entry in entries)
        for entry in entries:
            self._entries[name, entry.trigger.name] = entry
            self._place(entry)

    def _entry(
        self, workflow: str, trigger: Schedule, since_us: int, anchor_us: int, catchup: Catchup | None
    ) -> _Entry | None:
        old = self._entries.get((workflow, trigger.name))
        if old and old.trigger.every_s == trigger.every_s:
            anchor_us = old.anchor_us
        times = schedule.times_of(trigger, self._host, anchor_us)
        if times is None:
            return None
        same = old is not None and same_times(old.trigger, trigger)
        entry = _Entry(
            workflow=workflow, trigger=trigger, zone=schedule.zone_of(trigger, self._host), times=times,
            host_id=self._host_id, anchor_us=anchor_us, catchup=trigger.catchup or catchup,
            jitter_us=schedule.jitter_us(self._host_id, workflow, trigger.name, trigger.jitter_s),
            after_us=since_us if old is None else old.after_us if same else max(since_us, old.after_us),
        )  # fmt: skip
        entry.next = entry.first_after(entry.after_us)
        return entry

    def remove_workflow(self, name: str) -> None:
        """End the schedules of a workflow (rule D3); a name that is not there is fine."""
        self._boot.pop(name, None)
        for trigger in self._names.pop(name, ()):
            del self._entries[name, trigger]
        if len(self._heap) > 2 * len(self._entries) + 1000:
            self._heap = [place for place in self._heap if self._holder(place)]
            heapify(self._heap)

    def overdue(self, workflow: str, trigger: str, now_us: int) -> Iterator[Planned]:
        """The slots up to now that are not accounted for: those that wait for their jitter, or for the next turn."""
        entry = self._entries.get((workflow, trigger))
        if entry is not None and entry.next is not None and entry.next.at_us <= now_us:
            yield entry.next
            yield from map(entry.planned, from_slots(entry.times, entry.next.at_us, now_us))

    def boot_triggers(self) -> list[tuple[str, Schedule]]:
        """(workflow, trigger) of every `@reboot`, by name."""
        return [(name, trigger) for name, triggers in sorted(self._boot.items()) for trigger in triggers]

    def anchor_us(self, workflow: str, trigger: str) -> int | None:
        """From when on an interval is counted."""
        entry = self._entries.get((workflow, trigger))
        return entry.anchor_us if entry else None

    # ---- What is due

    def next_due_us(self) -> int | None:
        """When `due` will have something to say; not after now if it has more to say."""
        while self._heap and not self._holder(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, wall_us: int, mono_us: int, limit: int = 10_000) -> list[Due]:
        """The slots that have come due, in the order of their times, each given out once; call again if `limit` came.

        Of the due slots of one trigger the newest is to be fired, the others are `late`; a newest one that the catch-up
        rule has for too old, as after a long sleep of the machine, is past its `deadline`. If the wall clock went
        forward by over three hours more than `mono_us` since the last call, what it passed over is `clock_step`, but
        for one slot of each trigger: the newest, as the catch-up rule of the trigger wants it (rule T8).
        """
        self._notice_step(wall_us, mono_us)
        found: list[Due] = []
        while len(found) < limit:
            due_us = self.next_due_us()
            if due_us is None or due_us > wall_us:
                self._stepped_to_us = None
                break
            entry = self._holder(heappop(self._heap))
            assert entry is not None  # next_due_us removed void places
            assert entry.next is not None  # an entry without a next slot has no place
            found.append(self._take(entry, entry.next, wall_us))
        return found

    def _take(self, entry: _Entry, taken: Planned, wall_us: int) -> Due:
        """Account for the next slot of an entry."""
        entry.after_us = max(entry.after_us, taken.at_us)
        entry.next = entry.first_after(taken.at_us)
        self._place(entry)
        return Due(
            workflow=entry.workflow, trigger=entry.trigger, scheduled_us=taken.at_us, due_us=taken.due_us,
            reason=self._reason(entry, taken, wall_us),
        )  # fmt: skip

    def _reason(self, entry: _Entry, taken: Planned, wall_us: int) -> SlotReason | None:
        if taken.left_out:
            return SlotReason.DST
        is_newest = entry.next is None or entry.next.due_us > wall_us
        too_late = is_too_late(entry.catchup, taken.due_us, wall_us)
        if self._stepped_to_us is not None and taken.due_us <= self._stepped_to_us:
            none = entry.catchup is not None and entry.catchup.policy is CatchupPolicy.NONE
            return None if is_newest and not too_late and not none else SlotReason.CLOCK_STEP
        if not is_newest:
            return SlotReason.LATE
        return SlotReason.DEADLINE if too_late else None

    def _notice_step(self, wall_us: int, mono_us: int) -> None:
        if self._seen is not None:
            wall_before_us, mono_before_us = self._seen
            if wall_us - wall_before_us - (mono_us - mono_before_us) > STEP_US:
                self._stepped_to_us = wall_us
        self._seen = wall_us, mono_us

    def bar(self, trigger: Schedule, scheduled_us: int, start_us: int) -> Bar | None:
        """Why calendars and blackouts keep a slot from starting then, if they do."""
        return self.judge(trigger, schedule.zone_of(trigger, self._host), scheduled_us, start_us)

    # ---- What is coming

    def times(self, workflow: str, trigger: str) -> Times | None:
        """When the slots of a trigger in force are; None where no clock tells, or there is no such trigger."""
        entry = self._entries.get((workflow, trigger))
        return None if entry is None else entry.times

    def upcoming(self, now_us: int, n: int, workflow: str | None = None, paused: Container[str] = ()) -> list[Due]:
        """The next `n` slots of all workflows that are not `paused`, or of one, in the order of their nominal times.

        They come after `now_us`. Slots that wait for their jitter count as coming; triggers that are not enabled have
        none. What a calendar, a blackout or a change of the clock leaves out is not coming.
        """
        entries = [
            entry
            for entry in self._entries.values()
            if workflow in (None, entry.workflow) and entry.workflow not in paused
        ]
        coming = []
        for index, entry in enumerate(entries):
            first = self._coming(entry, now_us)
            if first is not None:
                coming.append((first.at_us, entry.workflow, entry.trigger.name, index, first.due_us))
        heapify(coming)
        found: list[Due] = []
        while coming and len(found) < n:
            nominal_us, name, trigger_name, index, due_us = heappop(coming)
            entry = entries[index]
            found.append(Due(workflow=name, trigger=entry.trigger, scheduled_us=nominal_us, due_us=due_us))
            following = self._starting(entry, entry.first_after(nominal_us), now_us)
            if following is not None:
                heappush(coming, (following.at_us, name, trigger_name, index, following.due_us))
        return found

    def next_of(self, workflow: str, now_us: int) -> int | None:
        """Nominal time of the next slot of one workflow, as `upcoming` has it."""
        coming = (self._coming(self._entries[workflow, name], now_us) for name in self._names.get(workflow, ()))
        return min((slot.at_us for slot in coming if slot is not None), default=None)

    def _coming(self, entry: _Entry, now_us: int) -> Planned | None:
        """The slot that is shown as its next: not one that is overdue, none if it is not enabled."""
        if not entry.trigger.enabled or entry.next is None:
            return None
        first = entry.next if entry.next.due_us > now_us else entry.first_after(now_us)
        return self._starting(entry, first, now_us)

    def _starting(self, entry: _Entry, slot: Planned | None, now_us: int) -> Planned | None:
        """The first slot from `slot` on that may start; None where none does for years."""
        for _ in range(_LOOK_AHEAD_SLOTS):
            if slot is None:
                return None
            bar = None if slot.left_out else self.judge(entry.trigger, entry.zone, slot.at_us, slot.due_us)
            if bar is None and not slot.left_out:
                return slot
            if slot.at_us > now_us + _LOOK_AHEAD_US or (bar is not None and bar.until_us is None):
                return None
            past_us = slot.at_us
            if bar is not None and bar.until_us is not None:
                past_us = max(past_us, bar.until_us - round(entry.trigger.jitter_s * US) - 1)
            slot = entry.first_after(past_us)
        return None

    # ---- After a down time

    def accounted_us(self, workflow: str, trigger: Schedule, anchor_us: int, cursor_us: int, now_us: int) -> int:
        """The nominal time up to which slots came due, or had come, by `now_us`; later ones wait for their jitter."""
        entry = self._entry(workflow, trigger, cursor_us, anchor_us, None)
        start_us = max(cursor_us, now_us - round(trigger.jitter_s * US))
        if entry is None:
            return start_us
        for slot in from_slots(entry.times, start_us, now_us):
            if entry.planned(slot).due_us > now_us:
                return start_us
            start_us = slot.at_us
        return start_us

    def missed(self, workflow: str, trigger: Schedule, anchor_us: int, cursor_us: int, until_us: int) -> Iterator[Slot]:
        """The slots after the stored cursor up to `until_us`, of `accounted_us`. Take them in batches: there can be
        many.
        """
        entry = self._entry(workflow, trigger, cursor_us, anchor_us, None)
        return iter(()) if entry is None else from_slots(entry.times, cursor_us, until_us)

    # ---- The heap

    def _place(self, entry: _Entry) -> None:
        if entry.next is not None:
            entry.ticket = next(self._tickets)
            heappush(self._heap, (entry.next.due_us, entry.workflow, entry.trigger.name, entry.ticket))

    def _holder(self, place: tuple[int, str, str, int]) -> _Entry | None:
        """The entry that a place in the heap belongs to; None if the place is void."""
        entry = self._entries.get(place[1:3])
        return entry if entry and entry.ticket == place[3] else None
