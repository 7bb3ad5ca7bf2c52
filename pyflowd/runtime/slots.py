"""The ledger of slots: each planned firing of a schedule becomes exactly one row (rules T1, T6, T8).

Asks the timetable what is due and `fates` what becomes of it, and writes rows into the turn's batch; what is to start
it hands on. It knows nothing of files, and of definitions only their triggers.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.base.zones import Zone
from pyflowd.clock import US, from_us
from pyflowd.engine.overlap import Decision, Skip
from pyflowd.model.states import Fate, Reason, RunState, SlotReason
from pyflowd.model.triggers import Catchup, CatchupPolicy, Schedule
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Runs
from pyflowd.schedules import fates
from pyflowd.schedules.calendars import Almanac
from pyflowd.schedules.fates import Bar, Due
from pyflowd.schedules.schedule import Slot, same_times
from pyflowd.schedules.timetable import STEP_US, Timetable
from pyflowd.store.store import Store

KEPT_US = 90 * 86_400 * US
"""Of a longer down time, or a clock that was decades off, only the newest slots are written;"""
KEPT_SLOTS = 130_000
"""of a trigger that comes more often than once a minute, so many."""
MISSED_PER_TURN = 500
"""Slots of a down time that are written in one turn, so that a long one delays nothing."""
SCHEDULER = "schedule"
"""Who asks for the runs of slots."""


class Book(NamedTuple):
    """What the store knows of a trigger."""

    cursor_us: int
    """Nominal time up to which its slots are accounted for."""
    anchor_us: int | None
    """From when on its interval is counted."""


class Planned(Struct, frozen=True, kw_only=True):
    """The schedules of one workflow in force."""

    triggers: tuple[Schedule, ...] = ()
    catchup: Catchup | None = None


class Starter(NamedTuple):
    """Whoever makes runs of slots."""

    decide: Callable[[str, bool], Decision]
    """What becomes of a start of a workflow beside its live runs; True: one of several that are made up for."""
    fire: Callable[[Due, Decision], None]
    """Record the run, or say with `Slots.skip` why there is none."""
    is_paused: Callable[[str], bool]


class _Missed(Struct):
    """What is still to be written of a trigger's down time."""

    workflow: str
    trigger: Schedule
    slots: Iterator[Slot]
    caught_up: frozenset[int]
    """Those that are to be fired after all."""
    in_turn: bool
    """Several of them are: they queue, unless the file says otherwise."""


class Slots:
    """Owns the timetable and every write to the ledger. One thread; part of a turn."""

    def __init__(self, store: Store, runs: Runs, host_id: str, zone: Zone, starter: Starter) -> None:
        self._store = store
        self._runs = runs
        self._starter = starter
        self.almanac = Almanac()
        """The calendars and blackouts of the settings."""
        self.timetable = Timetable(host_id, zone, self._judge)
        self.held = False
        """Down times wait: what is in force may be another text than the one that is in the folder now."""
        self._missed: deque[_Missed] = deque()
        self._restored_us = int(store.meta("restored_us") or 0)
        """When the store was put back from a backup: what came of slots before is not known; none is made up for."""
        self._newest_us: int = store.one("newest_slot_of_all")[0] or 0
        """Of the whole ledger, those of this turn among them."""
        self._ahead: dict[str, int] = {}
        """Workflows whose slots are recorded up to a time that has not come: the clock was ahead once."""
        self._deadlines: list[tuple[int, int]] = []
        """(wall clock, run) of runs that are cancelled if they have not started by then."""

    def put_almanac(self, almanac: Almanac) -> None:
        """Calendars and blackouts have been read; they hold from now on."""
        self.almanac = almanac

    def _judge(self, trigger: Schedule, where: Zone, scheduled_us: int, start_us: int) -> Bar | None:
        return self.almanac.judge(trigger, where, scheduled_us, start_us)

    # ---- Triggers come and go

    def restore(self, name: str, planned: Planned, books: Mapping[str, Book], now_us: int) -> None:
        """Go on where a workflow's triggers were when the daemon last was there (rule T6)."""
        cursors, anchors = {}, {}
        for trigger in planned.triggers:
            book = books.get(trigger.name, Book(now_us, now_us))
            anchor_us = book.cursor_us if book.anchor_us is None else book.anchor_us
            span_us = min(KEPT_US, round(trigger.every_s * KEPT_SLOTS * US)) if trigger.every_s else KEPT_US
            since_us = max(book.cursor_us, now_us - span_us)
            if since_us > now_us + STEP_US:
                self._ahead[name] = since_us
            until_us = self.timetable.accounted_us(name, trigger, anchor_us, since_us, now_us)
            self._miss(name, trigger, trigger.catchup or planned.catchup, (anchor_us, since_us, until_us), now_us)
            cursors[trigger.name], anchors[trigger.name] = until_us, anchor_us
        self.timetable.set_workflow(name, planned.triggers, now_us, cursors, anchors, planned.catchup)

    def _miss(
        self, name: str, trigger: Schedule, rule: Catchup | None, span: tuple[int, int, int], now_us: int
    ) -> None:
        """The slots of a span (anchor, after, until) passed while the daemon was down."""
        anchor_us, since_us, until_us = span
        near_us = max(since_us, now_us - fates.within_us(rule) - 1, self._restored_us)
        near = self.timetable.missed(name, trigger, anchor_us, near_us, until_us)
        startable = (
            slot.at_us
            for slot in near
            if not (slot.left_out or fates.is_past_deadline(trigger, slot.at_us, now_us))
            and self.timetable.bar(trigger, slot.at_us, now_us) is None
        )
        wanted = fates.caught_up(rule, startable) if trigger.enabled else frozenset[int]()
        slots = self.timetable.missed(name, trigger, anchor_us, since_us, until_us)
        in_turn = rule is not None and rule.policy is CatchupPolicy.ALL
        self._missed.append(_Missed(name, trigger, slots, wanted, in_turn))

    def put(self, name: str, old: Planned, new: Planned, now_us: int) -> None:
        """Put schedules in force in place of others. An edit has no past (rule T6), and loses nothing that waits."""
        batch, gone = self._runs.batch, {trigger.name: trigger for trigger in old.triggers}
        cursors: dict[str, int] = {}
        waiting: list[Due] = []
        begun = []
        for trigger in new.triggers:
            before = gone.pop(trigger.name, None)
            if before is not None and same_times(before, trigger):
                self._renew_missed(name, trigger)
                continue
            if before is None:  # it may have been here before, and the clock been set back since (rule T8)
                cursors[trigger.name] = max(now_us, self._newest_slot(name, trigger.name, now_us))
            else:
                self._finish_missed(name, trigger.name, catch_up=False)
                waiting += self._overdue(name, trigger, now_us)
            batch.add("trigger", name, trigger.name, cursors.get(trigger.name, now_us))
            begun.append(trigger)
        self._end(name, tuple(gone.values()), now_us)
        self.timetable.set_workflow(name, new.triggers, now_us, cursors, None, new.catchup)
        for trigger in begun:
            batch.add("trigger_anchor", self.timetable.anchor_us(name, trigger.name), name, trigger.name)
        for due in waiting:
            self._settle(due)

    def remove(self, name: str, old: Planned, now_us: int) -> None:
        """Rule D3: the schedules of a workflow end."""
        self._end(name, old.triggers, now_us)
        self.timetable.remove_workflow(name)

    def _end(self, name: str, triggers: tuple[Schedule, ...], now_us: int) -> None:
        """Of what still waits of triggers that are taken away, say so."""
        for trigger in triggers:
            self._finish_missed(name, trigger.name, catch_up=False)
            for due in self._overdue(name, trigger, now_us):
                self.skip(due, SlotReason.DST if due.reason is SlotReason.DST else SlotReason.REMOVED)
            self._runs.batch.add("trigger_remove", name, trigger.name)

    def _overdue(self, name: str, trigger: Schedule, now_us: int) -> list[Due]:
        """What a trigger that is no more as it was has not accounted for: its newest slot need not wait any longer."""
        found = [
            Due(
                workflow=name, trigger=trigger, scheduled_us=slot.at_us, due_us=min(slot.due_us, now_us),
                reason=SlotReason.DST if slot.left_out else None,
            )
            for slot in self.timetable.overdue(name, trigger.name, now_us)
        ]  # fmt: skip
        startable = [due.scheduled_us for due in found if due.reason is None]
        return [replace(due, reason=SlotReason.LATE) if due.scheduled_us in startable[:-1] else due for due in found]

    def _newest_slot(self, name: str, trigger: str, now_us: int) -> int:
        """Where some slot of the host is after `now_us`: the newest of this trigger."""
        if self._newest_us <= now_us:
            return now_us  # as nearly always: thousands of files may come at once, and need not ask the store each
        return self._store.one("newest_slot", name, trigger)[0] or now_us

    # ---- Slots come

    def next_due_us(self) -> int | None:
        """When the wall clock must be looked at again."""
        known = [self.timetable.next_due_us(), self._deadlines[0][0] if self._deadlines else None]
        return min((due_us for due_us in known if due_us is not None), default=None)

    def release(self) -> None:
        """What is in force is what the folder has: down times are accounted for by it."""
        self.held = False

    def has_work(self) -> bool:
        """Whether `tick` has something to write already."""
        return bool(self._missed) and not self.held

    def tick(self) -> None:
        """Give every slot that has come due its row, and those that fire their run (rule T1)."""
        if not self.held:
            self._write_missed(MISSED_PER_TURN)
        now_us = self._runs.clock.wall_us()
        for due in self.timetable.due(now_us, self._runs.clock.mono_us()):
            self._finish_missed(due.workflow)
            self._settle(due)
        self._end_overdue(now_us)

    def fire_boot(self) -> None:
        """The host has been started: every `@reboot` trigger fires, its slot is the moment that we noticed."""
        now_us = self._runs.clock.wall_us()
        for name, trigger in self.timetable.boot_triggers():
            self._settle(Due(workflow=name, trigger=trigger, scheduled_us=now_us, due_us=now_us))

    def _settle(self, due: Due, *, in_turn: bool = False) -> None:
        """The one row of a slot, and its run."""
        now_us = self._runs.clock.wall_us()
        bar = self.timetable.bar(due.trigger, due.scheduled_us, max(now_us, due.due_us))
        decision = fates.fate(
            due, self._starter.is_paused(due.workflow), due.trigger.enabled,
            self._starter.decide(due.workflow, in_turn), bar=bar, now_us=now_us,
        )  # fmt: skip
        if not isinstance(decision, Skip):
            self._starter.fire(due, decision)
            return
        detail = bar.detail if bar is not None and decision.reason is bar.reason else ""
        self.skip(due, decision.reason, decision.because_of_run, detail)

    def fired(self, due: Due, live: LiveRun) -> None:
        """The row of a slot that has become a run, in one commit with it."""
        self._row(due, Fate.FIRED, None, live.meta.run, "")
        self.watch(live)

    def skip(self, due: Due, reason: SlotReason, run: int | None = None, detail: str = "") -> None:
        """The row of one that starts nothing."""
        self._row(due, Fate.SKIPPED, reason, run, detail)

    def _row(self, due: Due, fate: Fate, reason: SlotReason | None, run: int | None, detail: str) -> None:
        self._newest_us = max(self._newest_us, due.scheduled_us)
        self._runs.batch.slot(due.workflow, due.trigger.name, due.scheduled_us, fate, reason, run, detail)

    # ---- Deadlines of runs that wait

    def watch(self, live: LiveRun) -> None:
        """A run of a slot that waits behind others, for a place or a gate, has the deadline of its schedule."""
        meta = live.meta
        if meta.requested_by != SCHEDULER or meta.scheduled_us is None or live.run.state is not RunState.QUEUED:
            return
        for trigger in live.workflow.triggers:
            if trigger.name == meta.trigger and trigger.deadline_s is not None:
                heapq.heappush(self._deadlines, (meta.scheduled_us + round(trigger.deadline_s * US) + 1, meta.run))

    def _end_overdue(self, now_us: int) -> None:
        """Its row stays `fired`, with the run: that ends `cancelled`, for the reason `deadline`."""
        while self._deadlines and self._deadlines[0][0] <= now_us:
            _, run = heapq.heappop(self._deadlines)
            live = self._runs.live.get(run)
            if live is not None and live.run.state is RunState.QUEUED and not live.run.stopping:
                self._runs.cancel(live, SCHEDULER, Reason.DEADLINE)

    # ---- What was missed

    def _write_missed(self, most: int) -> None:
        """Some of the slots that passed while the daemon was down."""
        while self._missed and most > 0:
            missed = self._missed[0]
            for slot in missed.slots:
                self._write(missed, slot, catch_up=True)
                most -= 1
                if most <= 0:
                    return
            self._missed.popleft()

    def _finish_missed(self, name: str, trigger: str | None = None, *, catch_up: bool = True) -> None:
        """All of them, of one workflow or trigger: its cursors are about to move on."""
        if not self._missed:
            return
        for missed in [each for each in self._missed if each.workflow == name and trigger in (None, each.trigger.name)]:
            self._missed.remove(missed)
            for slot in missed.slots:
                self._write(missed, slot, catch_up=catch_up)

    def _renew_missed(self, name: str, trigger: Schedule) -> None:
        """A text with the same times: what is made up for starts as it says."""
        for missed in self._missed:
            if (missed.workflow, missed.trigger.name) == (name, trigger.name):
                missed.trigger = trigger

    def _write(self, missed: _Missed, slot: Slot, *, catch_up: bool) -> None:
        trigger = missed.trigger
        reason = SlotReason.DST if slot.left_out else None
        due = Due(workflow=missed.workflow, trigger=trigger, scheduled_us=slot.at_us, due_us=slot.at_us, reason=reason)
        if catch_up and slot.at_us in missed.caught_up:
            self._settle(due, in_turn=missed.in_turn)
            return
        bar = None if slot.left_out else self.timetable.bar(trigger, slot.at_us, slot.at_us)
        why = fates.missed_reason(
            left_out=slot.left_out, paused=self._starter.is_paused(missed.workflow), enabled=trigger.enabled, bar=bar
        )
        detail = bar.detail if bar is not None and why is bar.reason else ""
        if why is SlotReason.DOWN and slot.at_us <= self._restored_us:
            detail = "before the store was restored from a backup"
        self.skip(due, why, None, detail)

    # ---- What is told

    def warnings(self, now_us: int, sees: Callable[[str], bool]) -> list[str]:
        """What of the schedules an administrator would not expect; of the workflows that one `sees`."""
        return [
            f"{name}: nothing fires before {from_us(until_us):%Y-%m-%d %H:%M} UTC: the clock was ahead once, its slots "
            "up to then are in the ledger"
            for name, until_us in sorted(self._ahead.items())
            if until_us > now_us and sees(name)
        ]
