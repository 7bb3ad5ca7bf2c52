"""Requests about backfills: runs for slots of the past. Slots are computed a piece a turn, as there can be many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from pyflowd.base.peer import Peer
from pyflowd.control.replies import Replies
from pyflowd.errors import Refused
from pyflowd.handlers.access import Sight
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.language import params as parameters
from pyflowd.model.states import SlotReason
from pyflowd.model.triggers import Schedule
from pyflowd.protocol.requests import CancelBackfill, ListBackfills, StartBackfill
from pyflowd.protocol.views_runs import BackfillPage, BackfillView
from pyflowd.runtime import backfill
from pyflowd.runtime.backfill import SLOTS_MAX, Backfill
from pyflowd.runtime.backfill_runs import Backfills

PAGE = 200
SLOTS_PER_TURN = 2_000
"""Some 20 us each."""
SLOTS_SHOWN = 1_000


class BackfillHandlers:
    """As `Handlers`: acts when called, answers when pulled."""

    def __init__(self, of_runs: RunHandlers, backfills: Backfills) -> None:
        self.of_runs = of_runs
        self.backfills = backfills
        self.workflows = of_runs.workflows
        self.store = of_runs.store
        self.clock = of_runs.clock

    def start(self, request: StartBackfill, peer: Peer) -> Replies:
        """With the definition as it is in the folder now, as a run is."""
        definitions, known = self.of_runs.definitions, request.workflow in self.workflows.entries
        if known and not definitions.busy:
            return self._start(request, peer)
        if not known:
            definitions.rescan()
        return self.of_runs.deferred(definitions.when_settled, lambda: self._start(request, peer))

    def _start(self, request: StartBackfill, peer: Peer) -> Replies:
        entry = self.workflows.find(request.workflow)
        definition, head = entry.definition, entry.head
        trigger = backfill.pick_trigger(entry.name, definition.triggers, request.trigger)
        limit = head.concurrency.limit if head.concurrency else 1
        backfill.check_parallel(entry.name, request.parallel, head.overlap, limit)
        given = backfill.given_params(definition.params, request.params, from_text=request.params_are_text)
        parameters.bind(definition.params, {**trigger.params, **given}, from_text=False)
        if request.from_us > request.until_us:
            raise Refused("--for: the span ends before it begins; write FROM..TO")
        asked = Backfill(
            backfill=0, workflow=entry.name, trigger=trigger.name, from_us=request.from_us,
            until_us=min(request.until_us, self.clock.wall_us()), params=given, parallel=request.parallel,
            newest_first=request.newest_first, only_missing=request.only_missing, requested_by=peer.name,
        )  # fmt: skip
        held = self.workflows.timetable.bar(trigger, asked.from_us, asked.from_us)
        if held is not None and held.reason is SlotReason.HELD:
            raise Refused(f"{entry.name}: {held.detail}")
        slots: list[int] = []
        coming = self._slots(asked, trigger)
        return self.of_runs.deferred(
            lambda then: self._compute(coming, slots, then), lambda: self._begin(asked, slots, request.dry_run)
        )

    def _slots(self, asked: Backfill, trigger: Schedule) -> Iterator[int]:
        """One by one, without days that a calendar of the trigger leaves out."""
        timetable = self.workflows.timetable
        times = timetable.times(asked.workflow, trigger.name)
        if times is None:
            return
        for at_us in backfill.slots_between(times, asked.from_us, asked.until_us):
            bar = timetable.bar(trigger, at_us, at_us) if trigger.calendars else None
            if bar is None or bar.reason is not SlotReason.CALENDAR:
                yield at_us

    def _compute(self, coming: Iterator[int], slots: list[int], then: Callable[[], None]) -> None:
        """Take some more slots, now and in the turns to come; `then` when all are there, or more than may be."""
        for _ in range(SLOTS_PER_TURN):
            at_us = next(coming, None)
            if at_us is None or len(slots) > SLOTS_MAX:
                then()
                return
            slots.append(at_us)
        self.of_runs.runs.timers.at(self.clock.mono_us(), lambda: self._compute(coming, slots, then))

    def _begin(self, asked: Backfill, slots: Sequence[int], dry_run: bool) -> Replies:
        if len(slots) > SLOTS_MAX:
            raise Refused(f"there are more than {SLOTS_MAX} slots in that span; take a shorter one")
        if not slots:
            raise Refused(
                f"{asked.workflow} had no slot of {asked.trigger} in that span; see: pyflowctl next {asked.workflow}"
            )
        wanted = self._missing(asked, slots) if asked.only_missing else list(slots)
        left_out = len(slots) - len(wanted)
        if not wanted:
            raise Refused(
                f"none of {left_out} slots of {asked.workflow} is missing: each has a run that has succeeded, "
                "or may yet; leave out --only-missing to do them again"
            )
        if asked.newest_first:
            wanted.reverse()
        if not dry_run:
            return self._said(self.backfills.record(asked, wanted).backfill, left_out)
        planned = self._view(replace(asked, total=len(wanted), created_us=self.clock.wall_us()))
        return iter([replace(planned, slots=wanted[:SLOTS_SHOWN], left_out=left_out)])

    def _missing(self, asked: Backfill, slots: Sequence[int]) -> list[int]:
        of = (asked.workflow, asked.trigger, asked.from_us, asked.until_us)
        done = {row[0] for row in self.store.rows("slots_done", *of)}
        return [at_us for at_us in slots if at_us not in done]

    def _said(self, number: int, left_out: int = 0) -> Replies:
        yield replace(self._view(self.backfills.find(number)), left_out=left_out)

    def cancel(self, request: CancelBackfill, peer: Peer) -> Replies:
        found = self.backfills.cancel(request.backfill, peer.name)
        self.of_runs.audit.about(found.workflow)
        return self._said(found.backfill)

    def list_backfills(self, request: ListBackfills, peer: Peer) -> Replies:
        suffix, of = self.of_runs.access.sight(peer).selected()
        rows = list(self.store.rows(f"backfills{suffix}", *of, request.limit))
        for at in range(0, max(1, len(rows)), PAGE):
            yield BackfillPage(backfills=[self._view(self.backfills.as_it_is(row)) for row in rows[at : at + PAGE]])

    def open_views(self, sight: Sight) -> list[BackfillView]:
        """Those that have not ended, of the workflows that are seen."""
        return [self._view(each) for each in self.backfills.open if sight.sees(each.workflow)]

    def _view(self, found: Backfill) -> BackfillView:
        return BackfillView(
            backfill=found.backfill, workflow=found.workflow, trigger=found.trigger, state=_state(found),
            from_us=found.from_us, until_us=found.until_us, created_us=found.created_us, total=found.total,
            waiting=found.waiting, live=self.backfills.live_runs(found.backfill), succeeded=found.succeeded,
            failed=found.failed, cancelled=found.cancelled, refused=found.refused, error=found.error,
            why_waiting=self.backfills.why_waiting(found) if found.backfill and not found.ended_us else "",
            parallel=found.parallel, newest_first=found.newest_first, only_missing=found.only_missing,
            params=found.params, requested_by=found.requested_by, cancelled_by=found.cancelled_by,
            ended_us=found.ended_us,
        )  # fmt: skip


def _state(found: Backfill) -> str:
    if not found.backfill:
        return "planned"
    if found.cancelled_by:
        return "cancelled"
    return "running" if found.ended_us is None else "ended"
