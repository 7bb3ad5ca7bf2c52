"""The backfills that have not ended: makes a run of one remaining slot after the other, and counts what comes of them.

Each slot is a row until the transaction that records its run takes it away, so a restart goes on where it was and no
slot becomes two runs. Runs are of the definition in force when they are recorded, as those of a schedule are. One
thread; every method is part of a turn.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from msgspec.structs import replace

from pyflowd.errors import NoBackfill, Refused
from pyflowd.events import BackfillCancelled, BackfillEnded, BackfillRecorded, BackfillSlotRefused
from pyflowd.language import params as parameters
from pyflowd.model.states import RunState
from pyflowd.runtime import backfill
from pyflowd.runtime.backfill import Backfill
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.workflows import Entry, Workflows
from pyflowd.store.store import Row

RECORDED_PER_TURN = 100
"""Runs that are recorded in one turn, so that a wide backfill delays nothing."""
_NEVER_US = (1 << 63) - 1

log = logging.getLogger("pyflowd.runtime.backfill_runs")
_encode = msgspec.msgpack.Encoder().encode
_params = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Backfills:
    """`advance` belongs into each turn, `run_ended` to the end of every run."""

    def __init__(self, workflows: Workflows) -> None:
        self.workflows = workflows
        self.runs = workflows.runs
        self.store = workflows.store
        self.clock = workflows.clock
        self._open: dict[int, Backfill] = {}
        self._live: dict[int, list[int]] = {}
        """Backfill to its runs that have not ended."""
        self._taken_us: dict[int, int] = {}
        """Backfill to the slot that was taken last: the store may not know yet that it is."""
        self._more = False
        self._next: int = self.store.one("last_backfill")[0] + 1

    def restore(self) -> None:
        """Take up what had not ended when the daemon last was there; after the live runs were rebuilt."""
        for (number,) in list(self.store.rows("backfills_open")):
            try:
                self._open[number] = _of_row(self.store.one("backfill", number))
            except (msgspec.MsgspecError, TypeError, ValueError) as error:
                why = f"it is set aside, as the store cannot give it back ({error}); no more runs come of it"
                log.error("backfill %d: %s", number, why, extra={"action": "backfill_set_aside"})
                self.workflows.note(f"backfill {number}", why, "error")
                continue
            self._live[number] = []
        for run, live in self.runs.live.items():
            if live.meta.backfill in self._open:
                self._live[live.meta.backfill].append(run)

    # ---- What people ask

    @property
    def open(self) -> list[Backfill]:
        """Those that have not ended, the oldest first."""
        return list(self._open.values())

    def find(self, number: int) -> Backfill:
        """Raises NotFound."""
        if number in self._open:
            return self._open[number]
        row = self.store.one_or_none("backfill", number)
        if row is None:
            raise NoBackfill(number)
        return _shown(row)

    def workflow_of(self, number: int) -> str:
        """Of which workflow it is; empty: there is no such backfill."""
        try:
            return self.find(number).workflow
        except NoBackfill:
            return ""

    def as_it_is(self, row: Row) -> Backfill:
        """Of a row of the store: of one that has not ended we may know more than is committed."""
        found = _shown(row)
        return self._open.get(found.backfill, found)

    def live_runs(self, number: int) -> list[int]:
        return list(self._live.get(number, ()))

    def why_waiting(self, asked: Backfill) -> str:
        """Why no further run of it is recorded now; empty: one may be, or none is left."""
        if not asked.waiting:
            return ""
        if asked.backfill not in self._open:
            return "it is set aside, as the store cannot give it back; see: pyflowctl doctor"
        entry = self.workflows.entries.get(asked.workflow)
        if entry is None:
            return f"{asked.workflow} is not in force"
        head, live = entry.head, self.runs.references(asked.workflow)
        limit = head.concurrency.limit if head.concurrency else 1
        own = len(self._live[asked.backfill])
        paused = self.workflows.is_paused(asked.workflow)
        return backfill.why_waiting(asked, own, live, head.overlap, limit, paused=paused)

    def record(self, asked: Backfill, slots: list[int]) -> Backfill:
        """Write a new one with its slots; runs come from the next turn on."""
        number, self._next = self._next, self._next + 1
        found = replace(asked, backfill=number, total=len(slots), created_us=self.clock.wall_us())
        batch = self.runs.batch
        batch.add(
            "backfill", number, found.workflow, found.trigger, found.from_us, found.until_us, _encode(found.params),
            found.parallel, found.newest_first, found.only_missing, found.requested_by, found.created_us, found.total,
        )  # fmt: skip
        batch.add("backfill_slots", number, msgspec.json.encode(slots).decode())
        batch.host_event(
            BackfillRecorded(found.created_us, number, found.workflow, found.trigger, found.total, found.requested_by)
        )
        self._open[number], self._live[number] = found, []
        return found

    def cancel(self, number: int, by: str) -> Backfill:
        """No further runs; those that are live are cancelled, the second time killed. Raises NotFound, Refused."""
        found = self.find(number)
        if number not in self._open:
            raise Refused(
                f"backfill {number} of {found.workflow} {'has ended already' if found.ended_us else 'is set aside'}"
            )
        if not found.cancelled_by:
            left = found.waiting
            found = self._open[number] = replace(found, cancelled_by=by)
            self.runs.batch.add("backfill_cancelled", by, number)
            self.runs.batch.add("backfill_slots_dropped", number)
            self.runs.batch.host_event(BackfillCancelled(self.clock.wall_us(), number, found.workflow, left, by))
        for run in self.live_runs(number):
            self.runs.cancel(self.runs.live[run], by)
        self._end_if_done(number)
        return found

    # ---- The turn

    def has_work(self) -> bool:
        """Whether `advance` has more to do when this turn is committed."""
        return self._more

    def advance(self) -> None:
        """Record runs for as many slots as there are places for."""
        self._more = False
        for number in list(self._open):
            left = RECORDED_PER_TURN
            while left and self._open[number].waiting and not self.why_waiting(self._open[number]):
                if not self._take_next(number):
                    break
                left -= 1
            self._more = self._more or not left
            self._end_if_done(number)

    def run_ended(self, live: LiveRun) -> None:
        number = live.meta.backfill
        if number is None or number not in self._open:
            return
        self._live[number].remove(live.meta.run)
        found, state = self._open[number], live.run.state
        succeeded, failed, cancelled = (
            int(state is each) for each in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)
        )
        self._open[number] = replace(
            found, succeeded=found.succeeded + succeeded, failed=found.failed + failed,
            cancelled=found.cancelled + cancelled,
        )  # fmt: skip
        self.runs.batch.add("backfill_run_ended", succeeded, failed, cancelled, number)

    def _take_next(self, number: int) -> bool:
        """Make the next slot a run; False: the slots are not committed yet."""
        found = self._open[number]
        at_us = self._next_slot(found)
        if at_us is None:
            self._more = True
            return False
        self._taken_us[number] = at_us
        batch = self.runs.batch
        try:
            run = self._start(found, self.workflows.entries[found.workflow], at_us)
        except Refused as error:
            log.error("backfill %d: slot refused: %s", number, error, extra={"action": "bad_params"})
            batch.add("backfill_refused", str(error), number)
            batch.host_event(BackfillSlotRefused(self.clock.wall_us(), number, found.workflow, at_us, str(error)))
            self._open[number] = replace(found, refused=found.refused + 1, error=str(error))
        else:
            batch.add("backfill_recorded", number)
            self._open[number] = replace(found, recorded=found.recorded + 1)
            self._live[number].append(run)
        batch.add("backfill_slot_taken", number, at_us)
        return True

    def _next_slot(self, found: Backfill) -> int | None:
        number = found.backfill
        if found.newest_first:
            row = self.store.one_or_none("backfill_next_newest", number, self._taken_us.get(number, _NEVER_US))
        else:
            row = self.store.one_or_none("backfill_next", number, self._taken_us.get(number, -_NEVER_US))
        return None if row is None else int(row[0])

    def _start(self, found: Backfill, entry: Entry, at_us: int) -> int:
        """Record the run of one slot; its number. Raises Refused."""
        definition = entry.definition
        given = next((each.params for each in definition.triggers if each.name == found.trigger), {})
        values = parameters.bind(definition.params, {**given, **found.params}, from_text=False)
        live = self.workflows.start(
            entry.name, entry.digest, definition, values, trigger=found.trigger, by=found.requested_by,
            scheduled_us=at_us, backfill=found.backfill,
        )  # fmt: skip
        return live.meta.run

    def _end_if_done(self, number: int) -> None:
        found = self._open[number]
        if found.waiting or self._live[number]:
            return
        now_us = self.clock.wall_us()
        self.runs.batch.add("backfill_ended", now_us, number)
        self.runs.batch.host_event(
            BackfillEnded(now_us, number, found.workflow, found.succeeded, found.failed, found.cancelled, found.refused)
        )
        del self._open[number], self._live[number]
        self._taken_us.pop(number, None)


def _shown(row: Row) -> Backfill:
    """As it is told: without its params where they cannot be read."""
    try:
        return _of_row(row)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _of_row((*row[:5], _encode({}), *row[6:]))


def _of_row(row: Row) -> Backfill:
    """From the columns of `backfill` in reads.sql."""
    return Backfill(
        backfill=row[0], workflow=row[1], trigger=row[2], from_us=row[3], until_us=row[4], params=_params(row[5]),
        parallel=row[6], newest_first=bool(row[7]), only_missing=bool(row[8]), requested_by=row[9], created_us=row[10],
        total=row[11], recorded=row[12], succeeded=row[13], failed=row[14], cancelled=row[15], refused=row[16],
        error=row[17], cancelled_by=row[18], ended_us=row[19],
    )  # fmt: skip
