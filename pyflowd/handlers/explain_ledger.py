"""What the ledger has of the slots of a workflow, and what was around them: who had paused it, when the daemon was
away, when the clock was set. It looks, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from pyflowd.clock import US
from pyflowd.events import (
    ClockStepped,
    DaemonStarted,
    DaemonStopped,
    StoredEvent,
    WorkflowPaused,
    WorkflowResumed,
)
from pyflowd.handlers import views
from pyflowd.handlers.explain import Code
from pyflowd.handlers.explain_slot import SlotQuestion, SlotStanding, slot_reason
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.model.states import SlotReason
from pyflowd.protocol.views_runs import FactView
from pyflowd.protocol.views_workflows import NextView, SlotView
from pyflowd.render.sentences import sentence

MINUTE_US = 60 * US
SLOTS_TOLD = 20
LOOKED_BACK = 200
"""Events of a sort that are looked through for those around a slot."""
_LATEST_US = (1 << 63) - 1
E = TypeVar("E")
_event = msgspec.msgpack.Decoder(StoredEvent)


class Ledger:
    """Slots of one instance."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.store = of_runs.store
        self.workflows = of_runs.workflows
        self.clock = of_runs.clock

    # ---- Rows

    def triggers(self, workflow: str) -> list[str]:
        """All that have had slots, or will."""
        entry = self.workflows.entries.get(workflow)
        known = {row[0] for row in self.store.rows("slot_triggers", workflow)}
        return sorted(known | {trigger.name for trigger in (entry.head.triggers if entry else ())})

    def newest(self, workflow: str) -> tuple[SlotView | None, SlotView | None]:
        """The newest slot, and the newest that was skipped."""
        skipped = self.store.one_or_none("newest_skipped_slot", workflow)
        newest = self._before(workflow, self.triggers(workflow), _LATEST_US)
        return newest, views.slot_view(skipped) if skipped else None

    def _before(self, workflow: str, triggers: list[str], at_us: int) -> SlotView | None:
        rows = (self.store.one_or_none("last_slot_before", workflow, each, at_us) for each in triggers)
        found = [views.slot_view(row) for row in rows if row]
        return max(found, key=lambda view: view.scheduled_us, default=None)

    def _after(self, workflow: str, triggers: list[str], at_us: int) -> SlotView | None:
        rows = (self.store.one_or_none("first_slot_after", workflow, each, at_us) for each in triggers)
        found = [views.slot_view(row) for row in rows if row]
        return min(found, key=lambda view: view.scheduled_us, default=None)

    # ---- A time

    def question(self, workflow: str, at_us: int) -> SlotQuestion:
        """The slots at a time; of a whole minute those within it. Raises NotFound, Refused."""
        until_us = at_us + (MINUTE_US if at_us % MINUTE_US == 0 else 1)
        rows = self.store.rows("slots_at", workflow, at_us, until_us, SLOTS_TOLD)
        slots = tuple(SlotStanding(view=views.slot_view(row)) for row in rows)
        entry = self.workflows.entries.get(workflow)
        triggers = [] if slots else self.triggers(workflow)
        if entry is None and not slots and not triggers:
            self.workflows.find(workflow)
        now_us = self.clock.wall_us()
        coming = () if slots or at_us < now_us - MINUTE_US else tuple(self._coming(workflow, at_us, until_us))
        question = SlotQuestion(
            workflow=workflow, at_us=at_us, now_us=now_us, slots=slots, coming=coming,
            triggers=len(entry.head.triggers) if entry else 0, loaded_us=entry.loaded_us if entry else None,
        )  # fmt: skip
        if slots:
            return question
        if coming:
            return replace(question, hindrances=tuple(self._hindrances(workflow, coming)))
        following = self._after(workflow, triggers, at_us) or next(
            iter(self._next(workflow, max(at_us, now_us), 1)), None
        )
        return replace(question, before=self._before(workflow, triggers, at_us), after=following)

    def _next(self, workflow: str, after_us: int, most: int) -> list[NextView]:
        host = self.workflows.zone.name
        coming = self.workflows.timetable.upcoming(after_us, most, workflow, ())
        return [
            NextView(
                workflow=workflow, trigger=due.trigger.name, scheduled_us=due.scheduled_us,
                timezone=due.trigger.timezone or host,
            )
            for due in coming
        ]  # fmt: skip

    def _coming(self, workflow: str, at_us: int, until_us: int) -> Iterator[NextView]:
        """Slots of a time to come, also those that something will keep from firing."""
        entry = self.workflows.entries.get(workflow)
        for trigger in entry.head.triggers if entry else ():
            times = self.workflows.timetable.times(workflow, trigger.name)
            slot = times.next_after(at_us - 1) if times else None
            if slot is not None and slot.at_us < until_us:
                yield NextView(
                    workflow=workflow, trigger=trigger.name, scheduled_us=slot.at_us,
                    timezone=trigger.timezone or self.workflows.zone.name,
                )  # fmt: skip

    def _hindrances(self, workflow: str, coming: tuple[NextView, ...]) -> Iterator[FactView]:
        """What would keep coming slots from firing, as things stand."""
        paused = self.workflows.pause_of(workflow)
        if paused is not None:
            text = f"the workflow is paused by {paused[1]}"
            yield FactView(code=Code.PAUSED, text=text, at_us=paused[0], by=paused[1], workflow=workflow)
        triggers = {trigger.name: trigger for trigger in self.workflows.entries[workflow].head.triggers}
        for slot in coming:
            trigger = triggers[slot.trigger]
            if not trigger.enabled:
                text = f"its trigger {trigger.name} is disabled in the file"
                yield FactView(code=Code.DISABLED, text=text, workflow=workflow, trigger=trigger.name)
            bar = self.workflows.timetable.bar(trigger, slot.scheduled_us, slot.scheduled_us)
            if bar is not None:
                text = f"its trigger {trigger.name} will not fire then: {slot_reason(bar.reason).why} ({bar.detail})"
                yield FactView(code=Code.BARRED, text=text, at_us=bar.until_us, workflow=workflow, trigger=trigger.name)

    # ---- Around a slot

    def around(self, slot: SlotView) -> Iterator[FactView]:
        """Facts of the host that say more about why it was skipped."""
        match slot.reason:
            case SlotReason.PAUSED:
                yield from self._pause(slot)
            case SlotReason.DOWN:
                yield from self._down(slot)
            case SlotReason.CLOCK_STEP:
                yield from self._step(slot)
            case _:
                pass

    def _pause(self, slot: SlotView) -> Iterator[FactView]:
        """By whom, and by whom it was resumed since."""
        name, workflow = slot.workflow.encode(), slot.workflow
        pauses = self._of_host(WorkflowPaused, name, slot.scheduled_us + MINUTE_US)
        pause = next((event for event in pauses if event.workflow == workflow), None)
        if pause is None:
            return
        text = f"it was paused by {pause.by}"
        yield FactView(code=Code.PAUSED, text=text, at_us=pause.at_us, by=pause.by, workflow=workflow)
        later = [each for each in self._of_host(WorkflowResumed, name) if each.at_us >= pause.at_us]
        resumed = next((event for event in reversed(later) if event.workflow == workflow), None)
        if resumed is not None:
            text = f"it was resumed by {resumed.by}" if resumed.by else "it was resumed"
            yield FactView(code=Code.RESUMED, text=text, at_us=resumed.at_us, workflow=workflow, by=resumed.by)

    def _down(self, slot: SlotView) -> Iterator[FactView]:
        """When the daemon ended before it, and when it was back."""
        starts = [event.at_us for event in self._of_host(DaemonStarted, b"daemon_started")]
        stops = [event.at_us for event in self._of_host(DaemonStopped, b"daemon_stopped")]
        before_us = max((at_us for at_us in starts if at_us <= slot.scheduled_us), default=0)
        stopped_us = max((at_us for at_us in stops if before_us <= at_us <= slot.scheduled_us), default=None)
        if stopped_us is not None:
            yield FactView(code=Code.DAEMON_STOPPED, text="pyflowd was stopped", at_us=stopped_us)
        elif before_us:
            text = "pyflowd, or the host, went down without an orderly stop; the start before that"
            yield FactView(code=Code.DAEMON_STOPPED, text=text, at_us=before_us)
        back_us = min((at_us for at_us in starts if at_us > slot.scheduled_us), default=None)
        if back_us is not None:
            yield FactView(code=Code.DAEMON_STARTED, text="pyflowd was started again", at_us=back_us)

    def _step(self, slot: SlotView) -> Iterator[FactView]:
        steps = [event for event in self._of_host(ClockStepped, b"clock_stepped") if event.at_us >= slot.scheduled_us]
        for event in steps[-1:]:
            yield FactView(code=Code.CLOCK_SET, text=sentence(event, None), at_us=event.at_us)

    def _of_host(self, sort: type[E], part: bytes, until_us: int = _LATEST_US) -> list[E]:
        """Events of the host of a sort, whose bytes hold `part`, the newest first."""
        rows = self.store.rows("host_events_with", until_us, part, LOOKED_BACK)
        return [event for row in rows if isinstance(event := _event.decode(row[3]), sort)]
