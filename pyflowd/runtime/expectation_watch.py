"""Watches what is expected of workflows, and tells when it did not happen in time: each once, over restarts.

After each commit `look` reads the ledger where something is due; what it finds is written into the batch of the next
turn, with the messages. Slots are looked at once, by a cursor of each workflow; what was missed is kept until it has
happened after all. It knows nothing of how runs come to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo
from heapq import heappop, heappush
from typing import NamedTuple

from msgspec.structs import replace

from pyflowd.base.timers import Timer
from pyflowd.clock import US
from pyflowd.events import ExpectationMet, ExpectationMissed
from pyflowd.model.states import Fate, RunState
from pyflowd.model.triggers import Expectation, Schedule
from pyflowd.model.workflow import Expected, Workflow
from pyflowd.notify import notify
from pyflowd.runtime import expectation
from pyflowd.runtime.expectation import LOOK_BACK_US, Missed, RunRow, SlotRow
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.notify_spool import Notifier
from pyflowd.runtime.workflows import Entry, Workflows
from pyflowd.schedules.schedule import zone_of


class _Key(NamedTuple):
    """Of what was missed."""

    workflow: str
    sort: Expected
    trigger: str
    subject: int


class Expectations:
    """`look` belongs after each commit, `runs_changed` and `run_ended` into each turn."""

    def __init__(self, workflows: Workflows, notifier: Notifier) -> None:
        self.workflows = workflows
        self.runs = workflows.runs
        self.store = workflows.store
        self.clock = workflows.clock
        self.notifier = notifier
        self._zone: tzinfo = workflows.zone.info
        self._cursors: dict[str, int] = {}
        self._due: dict[str, int] = {}
        """Workflow to the wall time of its next look."""
        self._heap: list[tuple[int, str]] = []
        self._open: dict[_Key, Missed] = {}
        """Missed, and has not happened yet."""
        self._timers: dict[int, Timer] = {}
        """Live run to the end of the time that it may take."""
        self._wrote = False
        workflows.on_definition = self._definition_changed

    def restore(self) -> None:
        """After the definitions and the live runs are there again."""
        self._cursors = dict(self.store.rows("expectation_cursors"))
        for workflow, sort, trigger, subject, _, run, text in self.store.rows("expectations_open"):
            try:
                key = _Key(workflow, Expected(sort), trigger, subject)
            except ValueError as error:
                why = f"what was missed is set aside, as the store cannot give it back ({error})"
                self.workflows.note(f"expectation of {workflow}", why, "error", workflows=(workflow,))
                continue
            self._open[key] = Missed(sort=key.sort, trigger=trigger, subject=subject, run=run, text=text)
        for name in self.workflows.entries:
            self._definition_changed(name)
        for live in self.runs.live.values():
            self._watch_duration(live)

    # ---- What people see

    def warnings(self, sees: Callable[[str], bool]) -> list[str]:
        """What was missed within the last days and has not happened yet, by the workflows that one `sees`."""
        found = sorted(self._open.items())
        return [f"{key.workflow}: {missed.text}" for key, missed in found if sees(key.workflow)]

    # ---- When to look

    def next_due_us(self) -> int | None:
        """The wall time of the next look."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def has_work(self) -> bool:
        """Whether something waits to be committed."""
        return self._wrote

    def _definition_changed(self, name: str) -> None:
        """A definition came into force, or went: look again when there is something to be seen."""
        entry = self.workflows.entries.get(name)
        wanted = entry.head.expect if entry else None
        for key in [key for key in self._open if key.workflow == name and not _asks(wanted, key.sort)]:
            self._forget(key)
        if entry is None or wanted is None:
            self._due.pop(name, None)
            if self._cursors.pop(name, None) is not None:
                self.runs.batch.add("expectation_forget", name)
            return
        if name not in self._cursors:
            self._move(name, self.clock.wall_us())
        self._plan(name)

    def _plan(self, name: str) -> None:
        """Set the time of the next look."""
        entry = self.workflows.entries[name]
        due_us = min(self._coming(entry, self._cursors[name]), default=None)
        if due_us is None:
            self._due.pop(name, None)
            return
        self._due[name] = due_us
        heappush(self._heap, (due_us, name))

    def _coming(self, entry: Entry, cursor_us: int) -> Iterator[int]:
        """When something of a workflow is to be looked at, of each trigger the first."""
        wanted, zone = entry.head.expect, self.workflows.zone
        assert wanted is not None
        for trigger in _timed(entry):
            times = self.workflows.timetable.times(entry.name, trigger.name)
            if times is None:
                continue
            if wanted.start_within_s is not None:
                lag_us = expectation.lag_us(trigger, wanted.start_within_s)
                slot = times.next_after(cursor_us - lag_us)
                if slot is not None:
                    yield slot.at_us + lag_us
            if wanted.finish_by:
                yield expectation.next_deadline_us(wanted.finish_by, zone_of(trigger, zone).info, cursor_us)

    # ---- Slots

    def look(self) -> None:
        """Everything before this is committed: what was due by now and has not happened?"""
        self._wrote = False
        now_us = self.clock.wall_us()
        if self.workflows.has_work():
            return  # the ledger has not caught up with a down time yet
        while (due_us := self.next_due_us()) is not None and due_us <= now_us:
            name = self._heap[0][1]
            self._look_at(self.workflows.entries[name], now_us)
            self._move(name, now_us)
            self._plan(name)

    def _look_at(self, entry: Entry, now_us: int) -> None:
        if self.workflows.is_paused(entry.name):
            return
        wanted = entry.head.expect
        assert wanted is not None
        after_us = max(self._cursors[entry.name], now_us - LOOK_BACK_US)
        for trigger in _timed(entry):
            for missed in (*self._starts(entry, trigger, wanted, after_us, now_us),
                           *self._finishes(entry, trigger, wanted, after_us, now_us)):  # fmt: skip
                self._tell_missed(entry, missed)

    def _starts(
        self, entry: Entry, trigger: Schedule, wanted: Expectation, after_us: int, now_us: int
    ) -> Iterator[Missed]:
        """Slots whose time to start ran out, told together."""
        if wanted.start_within_s is None:
            return
        within_s = wanted.start_within_s
        lag_us = expectation.lag_us(trigger, within_s)
        slots = self._slots(entry.name, trigger.name, after_us - lag_us, now_us - lag_us)
        if not slots:
            return
        since = self._runs_since(entry.name, slots[0])  # of a long down time there are many slots, and no runs
        found = []
        for slot in slots:
            runs = self._runs_since(entry.name, slot) if slot.fate == Fate.FIRED else since
            missed = expectation.missed_start(trigger, slot, runs, within_s)
            if missed is not None:
                found.append((slot, missed))
        if found:
            text = expectation.start_text(trigger.name, [slot for slot, _ in found], within_s, self._zone)
            yield replace(found[-1][1], text=text)

    def _finishes(
        self, entry: Entry, trigger: Schedule, wanted: Expectation, after_us: int, now_us: int
    ) -> Iterator[Missed]:
        """The newest time of day by which nothing had succeeded."""
        if not wanted.finish_by:
            return
        zone = zone_of(trigger, self.workflows.zone).info
        newest: Missed | None = None
        for deadline_us, before_us in expectation.deadlines(wanted.finish_by, zone, after_us, now_us):
            row = self.store.one_or_none("slot_before", entry.name, trigger.name, before_us, deadline_us)
            slot = SlotRow(*row) if row else None
            runs = self._runs_since(entry.name, slot) if slot else []
            missed = expectation.missed_finish(trigger, slot, runs, deadline_us)
            if missed is not None and slot is not None:
                text = expectation.finish_text(trigger.name, slot, wanted.finish_by, deadline_us, zone)
                newest = replace(missed, text=text)
        if newest is not None:
            yield newest

    def _slots(self, workflow: str, trigger: str, after_us: int, until_us: int) -> list[SlotRow]:
        rows = self.store.rows("slots_between", workflow, trigger, after_us, until_us)
        return [SlotRow(*row) for row in rows]

    def _runs_since(self, workflow: str, slot: SlotRow) -> list[RunRow]:
        own = slot.run if slot.fate == Fate.FIRED else None
        return [RunRow(*row) for row in self.store.rows("runs_since", workflow, own or 0, slot.scheduled_us)]

    # ---- Runs

    def runs_changed(self, changed: Iterable[int]) -> None:
        """In a turn: runs may have started."""
        for run in changed:
            live = self.runs.live.get(run)
            if live is None or live.run.state is not RunState.RUNNING:
                continue
            if run not in self._timers:
                self._watch_duration(live)
            if self._open:
                self._happened(live, Expected.START_WITHIN, live.run.started_us)

    def run_ended(self, live: LiveRun) -> None:
        """In a turn; after it nothing of the run changes."""
        run, number = live.run, live.meta.run
        now_us = run.ended_us or self.clock.wall_us()
        key = _Key(live.meta.workflow, Expected.MAX_DURATION, "", number)
        timer = self._timers.pop(number, None)
        if timer is not None:
            timer.cancel()
            if timer.due_us <= self.clock.mono_us() and key not in self._open:  # it ended while we were not there
                self._too_long(live)
        if self._open:
            self._happened(live, Expected.START_WITHIN, run.started_us)
            if run.state is RunState.SUCCEEDED:
                self._happened(live, Expected.FINISH_BY, now_us)
            if key in self._open:
                self._tell_met(key, replace(self._open[key], met_us=now_us))

    def _happened(self, live: LiveRun, sort: Expected, at_us: int | None) -> None:
        """What was missed of the slots before this run, or of its own, has happened now."""
        meta = live.meta
        since_us = meta.created_us if meta.backfill is None else meta.scheduled_us
        if at_us is None or since_us is None:
            return
        for key in [key for key in self._open if key.workflow == meta.workflow and key.sort is sort]:
            if since_us >= key.subject:
                self._tell_met(key, replace(self._open[key], run=meta.run, met_us=at_us))

    def _watch_duration(self, live: LiveRun) -> None:
        """On the boot-time clock (rule R11); after a reboot it counts from the rebuild."""
        wanted, run = live.workflow.expect, live.meta.run
        if wanted is None or wanted.max_duration_s is None or live.run.state is not RunState.RUNNING:
            return
        if self.store.one_or_none("expectation_known", live.meta.workflow, Expected.MAX_DURATION, "", run):
            return

        now_us = self.clock.mono_us()
        due_us = min(live.run.started_mono_us, now_us) + round(wanted.max_duration_s * US)
        self._timers[run] = self.runs.timers.at(due_us, lambda: self._too_long(live))

    def _too_long(self, live: LiveRun) -> None:
        wanted, run = live.workflow.expect, live.meta.run
        assert wanted is not None
        text = expectation.duration_words(run, wanted.max_duration_s or 0.0)
        self._record(live.workflow, Missed(sort=Expected.MAX_DURATION, subject=run, run=run, text=text))

    # ---- Telling

    def _tell_missed(self, entry: Entry, missed: Missed) -> None:
        if self.store.one_or_none("expectation_known", entry.name, missed.sort, missed.trigger, missed.subject):
            return  # of a cursor that was forgotten with its definition
        self._record(entry.definition, missed)

    def _record(self, definition: Workflow, missed: Missed) -> None:
        """Keep it, and tell those who hear of failed runs; what has happened by now is told as late."""
        now_us, name, batch = self.clock.wall_us(), definition.name, self.runs.batch
        key = _Key(name, missed.sort, missed.trigger, missed.subject)
        batch.add("expectation", *key, now_us, missed.run, missed.text, missed.met_us)
        batch.host_event(ExpectationMissed(now_us, *key, missed.text))
        if missed.met_us is None:
            self._open[key] = missed
            self._send(definition, name, expectation.missed_title(missed), missed.text, missed.run)
            return
        late = expectation.met_text(missed, self._zone)
        batch.host_event(ExpectationMet(now_us, *key, late))
        self._send(definition, name, expectation.missed_title(missed), f"{missed.text}; {late}", missed.run)

    def _tell_met(self, key: _Key, missed: Missed) -> None:
        """Take it back."""
        del self._open[key]
        text = expectation.met_text(missed, self._zone)
        self.runs.batch.add("expectation_met", missed.met_us, missed.run, *key)
        self.runs.batch.host_event(ExpectationMet(self.clock.wall_us(), *key, text))
        entry = self.workflows.entries.get(key.workflow)
        self._send(entry.definition if entry else None, key.workflow, "it has happened now", text, missed.run)

    def _forget(self, key: _Key) -> None:
        """Nobody expects it any more."""
        del self._open[key]
        self.runs.batch.add("expectation_met", self.clock.wall_us(), None, *key)

    def _send(self, definition: Workflow | None, workflow: str, title: str, text: str, run: int | None) -> None:
        own, labels = (definition.notify, definition.labels) if definition else ((), {})
        for channel in notify.told(own, self.notifier.rules, workflow, labels, RunState.FAILED):
            message = notify.Message(
                channel=channel, subject=f"{workflow}: {title}, on {self.notifier.host}",
                text=f"{workflow} on {self.notifier.host}: {text}\n\npyflowctl status {run or workflow}",
                workflow=workflow, run=run, at_us=self.clock.wall_us(), host=self.notifier.host,
            )  # fmt: skip
            self.notifier.enqueue(self.runs.batch, message)

    def _move(self, name: str, now_us: int) -> None:
        self._cursors[name] = now_us
        self.runs.batch.add("expectation_cursor", name, now_us)
        self._wrote = True


def _timed(entry: Entry) -> list[Schedule]:
    """The triggers whose slots are expected to start something."""
    return [trigger for trigger in entry.head.triggers if trigger.enabled and trigger.cron != "@reboot"]


def _asks(wanted: Expectation | None, sort: Expected) -> bool:
    if wanted is None:
        return sort is Expected.MAX_DURATION
    match sort:
        case Expected.START_WITHIN:
            return wanted.start_within_s is not None
        case Expected.FINISH_BY:
            return bool(wanted.finish_by)
        case Expected.MAX_DURATION:
            return True  # of a run, whose own text says so
