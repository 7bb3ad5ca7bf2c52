"""Which slot comes next, and which slots are due: cron laid on time zones (rules T1, T3, T7, T8).

Everything here is given `now`. It knows nothing of runs, of the store, or of who is told; `fate` only joins what was
decided elsewhere. A slot is (workflow, trigger, nominal instant); instants are microseconds since the epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import count

from msgspec import Struct

from pyflowd.cron import Cron, parse
from pyflowd.model import Dst, Schedule, SlotReason
from pyflowd.overlap import Decision, RefuseFull, Skip
from pyflowd.zones import EARLIEST_S, LATEST_S, Stretch, Zone, host_zone, zone

US = 1_000_000
STEP_US = 3 * 3600 * US
"""Rule T8: the clock set forward by more than this is a correction, as in Debian's cron."""
_HORIZON_S = 41 * 366 * 86_400
"""29 February on a given weekday can be 40 years away; later than that is never."""


# ---- The next slot --------------------------------------------------------------------------------------------------


def next_slot(cron: Cron, zone: Zone, dst: Dst, after_us: int) -> int | None:
    """The first instant strictly after `after_us` at which `cron` is due in `zone`; None if none comes in 41 years.

    Rule T3. The walk goes from one change of the offset to the next, and all of daylight saving lies in the naive
    time at which it enters a stretch (`_entry`). A schedule whose hour field begins with a star follows elapsed time:
    both passes of a fold, nothing in a gap. Any other hour is a time on the wall: what falls into a gap runs at its
    end, what falls into a fold runs in the first pass. Times of one expression that fall into one gap run once
    together, as they are one slot, also with a time that the gap ends on. A skipped day (Pacific/Apia, 30 December
    2011) is a gap like others.
    """
    at_s = max(after_us // US + 1, EARLIEST_S)
    end_s = min(at_s + _HORIZON_S, LATEST_S)
    searched_s, found_s = 0, -1  # nothing searched yet: an empty range
    while at_s < end_s:
        stretch = zone.stretch(at_s)
        entry_s = _entry(cron, dst, stretch, at_s)
        if not searched_s <= entry_s <= found_s:  # else the search would find the same again
            minute = cron.next_from(-(-entry_s // 60))
            if minute is None:
                return None
            searched_s, found_s = entry_s, minute * 60
        slot_s = max(stretch.start_s, found_s - stretch.offset_s)
        if slot_s < stretch.end_s:
            return slot_s * US
        at_s = stretch.end_s
    return None


def _entry(cron: Cron, dst: Dst, stretch: Stretch, at_s: int) -> int:
    """The naive time, in seconds, from which a walk that comes to `stretch` at `at_s` looks for a match.

    The clock on the wall went from `before` to `after`; the gap or the fold lies between them. From `before` on
    nothing of a gap is passed over and nothing of a fold is seen twice.
    """
    here = at_s + stretch.offset_s
    after = stretch.start_s + stretch.offset_s
    before = stretch.start_s + stretch.before_s
    if cron.any_hour:
        return here
    if dst is Dst.SKIP:
        first = max(before, after)
    elif dst is Dst.BOTH:
        first = min(before, after)
    else:
        first = before
    return first if at_s == stretch.start_s else max(first, here)


def slots(cron: Cron, zone: Zone, dst: Dst, after_us: int, until_us: int) -> Iterator[int]:
    """The slots after `after_us` up to and with `until_us`, one by one."""
    at_us = next_slot(cron, zone, dst, after_us)
    while at_us is not None and at_us <= until_us:
        yield at_us
        at_us = next_slot(cron, zone, dst, at_us)


def upcoming_cron(expr: str, zone_name: str | None, from_us: int, n: int, dst: Dst = Dst.DEBIAN) -> list[int]:
    """The next `n` slots of a bare expression after `from_us`; fewer where no more come. Raises ValueError."""
    cron, where = parse(expr), zone(zone_name) if zone_name else host_zone()
    found: list[int] = []
    at_us = next_slot(cron, where, dst, from_us)
    while at_us is not None and len(found) < n:
        found.append(at_us)
        at_us = next_slot(cron, where, dst, at_us)
    return found


def jitter_us(host_id: str, workflow: str, trigger: str, jitter_s: float) -> int:
    """Rule T7: the delay after the nominal time, 0 <= delay < `jitter_s`, the same for every slot of the trigger."""
    digest = hashlib.sha256(f"{host_id}\0{workflow}\0{trigger}".encode()).digest()
    return int.from_bytes(digest[:8]) * int(jitter_s * US) >> 64


# ---- The timetable --------------------------------------------------------------------------------------------------


class Due(Struct, frozen=True, kw_only=True):
    """A slot whose time has come; the caller records it as exactly one row (rule T1)."""

    workflow: str
    trigger: Schedule
    scheduled_us: int
    """Its nominal time, which is its identity."""
    due_us: int
    """With the jitter: when it should start."""
    reason: SlotReason | None = None
    """`late` or `clock_step`: not to be fired; None: to be fired, unless `fate` finds a reason not to."""


class _Entry(Struct):
    """A trigger in force."""

    workflow: str
    trigger: Schedule
    cron: Cron
    zone: Zone
    jitter_us: int
    after_us: int
    """Its cursor: slots up to this nominal time are accounted for. It never goes back."""
    next_us: int | None = None
    """Nominal time of the next slot: the first after the cursor, or one that waits for its jitter over an edit."""
    ticket: int = 0
    """Number of its newest place in the heap; places with older numbers are void."""

    def first_after(self, after_us: int) -> int | None:
        return next_slot(self.cron, self.zone, self.trigger.dst, max(after_us, self.after_us))

    def coming(self, now_us: int) -> int | None:
        """The nominal time that is shown as its next: not one that is overdue, none if it is not enabled."""
        if not self.trigger.enabled or self.next_us is None:
            return None
        return self.next_us if self.next_us + self.jitter_us > now_us else self.first_after(now_us)


class Timetable:
    """The triggers of all workflows and the order in which their slots come.

    Each trigger has a cursor, the nominal time last accounted for, that never goes back: a clock set back fires
    nothing twice, and its schedules are silent until the clock has come to the cursor again (rule T8).
    """

    def __init__(self, host_id: str, host: Zone) -> None:
        self._host_id = host_id
        self._host = host
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._reboot: dict[str, tuple[Schedule, ...]] = {}
        self._heap: list[tuple[int, str, str, int]] = []
        self._tickets = count(1)
        self._seen: tuple[int, int] | None = None
        self._stepped_to_us: int | None = None

    def set_workflow(
        self,
        name: str,
        triggers: tuple[Schedule, ...],
        since_us: int,
        cursors: Mapping[str, int] | None = None,
    ) -> None:
        """Put the triggers of a workflow in force, in place of those it had. Raises ValueError, changing nothing.

        Slots begin strictly after `since_us`, for the triggers in `cursors` (trigger name to nominal time last
        accounted for, as the store knows it) after the cursor. A trigger whose times have not changed goes on where
        it was. Of one whose times have changed, a slot that only waited for its jitter stays.
        """
        entries, reboot = [], []
        for trigger in triggers:
            cron = parse(trigger.cron)
            if cron.reboot:
                reboot.append(trigger)
            else:
                since = (cursors or {}).get(trigger.name, since_us)
                entries.append(self._entry(name, trigger, cron, since))
        self.remove_workflow(name)
        self._reboot[name] = tuple(reboot)
        self._names[name] = tuple(entry.trigger.name for entry in entries)
        for entry in entries:
            self._entries[name, entry.trigger.name] = entry
            self._place(entry)

    def remove_workflow(self, name: str) -> None:
        """End the schedules of a workflow (rule D3); a name that is not there is fine."""
        self._reboot.pop(name, None)
        for trigger in self._names.pop(name, ()):
            del self._entries[name, trigger]
        if len(self._heap) > 2 * len(self._entries) + 1000:
            self._heap = [place for place in self._heap if self._holder(place)]
            heapify(self._heap)

    def reboot_triggers(self) -> list[tuple[str, Schedule]]:
        """(workflow, trigger) of every `@reboot`, by name."""
        return [(name, trigger) for name, triggers in sorted(self._reboot.items()) for trigger in triggers]

    def next_due_us(self) -> int | None:
        """When `due` will have something to say; not after now if it has more to say."""
        while self._heap and not self._holder(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, wall_us: int, mono_us: int, limit: int = 10_000) -> list[Due]:
        """The slots that have come due, in the order of their times, each given out once; call again if `limit` came.

        Of the due slots of one trigger the newest is to be fired, the others are `late`. If the wall clock went
        forward by over three hours more than `mono_us` since the last call, all are `clock_step`.
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
            assert entry.next_us is not None  # an entry without a next slot has no place
            found.append(self._take(entry, entry.next_us, wall_us))
        return found

    def missed(self, workflow: str, trigger: Schedule, cursor_us: int, until_us: int) -> Iterator[int]:
        """Nominal times after the stored cursor that came due while the daemon was down; to be recorded as `down`.

        A slot whose jitter lets it come due after `until_us` is none of them: given the last of them as its cursor,
        `set_workflow` keeps it. Take them in batches: there can be many.
        """
        cron = parse(trigger.cron)
        late_us = jitter_us(self._host_id, workflow, trigger.name, trigger.jitter_s)
        return slots(cron, self._zone(trigger), trigger.dst, cursor_us, until_us - late_us)

    def upcoming(self, now_us: int, n: int, workflow: str | None = None, paused: Container[str] = ()) -> list[Due]:
        """The next `n` slots of all workflows that are not `paused`, or of one, in the order of their nominal times.

        They come after `now_us`. Slots that wait for their jitter count as coming; triggers that are not enabled have
        none.
        """
        entries = [
            entry
            for entry in self._entries.values()
            if workflow in (None, entry.workflow) and entry.workflow not in paused
        ]
        coming = []
        for index, entry in enumerate(entries):
            first_us = entry.coming(now_us)
            if first_us is not None:
                coming.append((first_us, entry.workflow, entry.trigger.name, index))
        heapify(coming)
        found: list[Due] = []
        while coming and len(found) < n:
            nominal_us, name, trigger_name, index = heappop(coming)
            entry = entries[index]
            due_us = nominal_us + entry.jitter_us
            found.append(Due(workflow=name, trigger=entry.trigger, scheduled_us=nominal_us, due_us=due_us))
            next_us = entry.first_after(nominal_us)
            if next_us is not None:
                heappush(coming, (next_us, name, trigger_name, index))
        return found

    def next_of(self, workflow: str, now_us: int) -> int | None:
        """Nominal time of the next slot of one workflow, as `upcoming` has it."""
        coming = (self._entries[workflow, name].coming(now_us) for name in self._names.get(workflow, ()))
        return min((at_us for at_us in coming if at_us is not None), default=None)

    def _entry(self, workflow: str, trigger: Schedule, cron: Cron, since_us: int) -> _Entry:
        entry = _Entry(
            workflow=workflow,
            trigger=trigger,
            cron=cron,
            zone=self._zone(trigger),
            jitter_us=jitter_us(self._host_id, workflow, trigger.name, trigger.jitter_s),
            after_us=since_us,
        )
        old = self._entries.get((workflow, trigger.name))
        if old and _times(old.trigger) == _times(trigger):
            entry.after_us, entry.next_us = old.after_us, old.next_us
            return entry
        if old:
            entry.after_us = max(since_us, old.after_us)
        waits = old and old.next_us is not None and old.next_us <= since_us
        entry.next_us = old.next_us if old and waits else entry.first_after(since_us)
        return entry

    def _take(self, entry: _Entry, nominal_us: int, wall_us: int) -> Due:
        """Account for the next slot of an entry."""
        entry.after_us = max(entry.after_us, nominal_us)
        entry.next_us = entry.first_after(nominal_us)
        self._place(entry)
        late = entry.next_us is not None and entry.next_us + entry.jitter_us <= wall_us
        reason = SlotReason.LATE if late else None
        due_us = nominal_us + entry.jitter_us
        if self._stepped_to_us is not None and due_us <= self._stepped_to_us:
            reason = SlotReason.CLOCK_STEP
        return Due(
            workflow=entry.workflow, trigger=entry.trigger, scheduled_us=nominal_us, due_us=due_us, reason=reason
        )

    def _zone(self, trigger: Schedule) -> Zone:
        return zone(trigger.timezone) if trigger.timezone else self._host

    def _place(self, entry: _Entry) -> None:
        if entry.next_us is not None:
            entry.ticket = next(self._tickets)
            place = (entry.next_us + entry.jitter_us, entry.workflow, entry.trigger.name, entry.ticket)
            heappush(self._heap, place)

    def _holder(self, place: tuple[int, str, str, int]) -> _Entry | None:
        """The entry that a place in the heap belongs to; None if the place is void."""
        entry = self._entries.get(place[1:3])
        return entry if entry and entry.ticket == place[3] else None

    def _notice_step(self, wall_us: int, mono_us: int) -> None:
        if self._seen is not None:
            wall_before_us, mono_before_us = self._seen
            if wall_us - wall_before_us - (mono_us - mono_before_us) > STEP_US:
                self._stepped_to_us = wall_us
        self._seen = wall_us, mono_us


def _times(trigger: Schedule) -> tuple[str, str | None, Dst]:
    return trigger.cron, trigger.timezone, trigger.dst


def fate(due: Due, paused: bool, enabled: bool, decision: Decision) -> Decision:
    """What becomes of a due slot, in one place: `decision` (of `overlap.decide`), unless a reason stands before it.

    The order: disabled, paused, late or clock step, overlap. A `Skip` is a row `skipped`, all else a row `fired`.
    """
    if not enabled:
        return Skip(reason=SlotReason.DISABLED)
    if paused:
        return Skip(reason=SlotReason.PAUSED)
    if due.reason is not None:
        return Skip(reason=due.reason)
    if isinstance(decision, RefuseFull):
        return Skip(reason=SlotReason.QUEUE_FULL)
    return decision
