"""The one way from an event to a run: its trigger is asked, the ledger is written, the run is recorded with it.

Files, units and deliveries come here from those who look for them; ends of runs from the turn itself. One thread,
part of a turn.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pyflowd.clock import US
from pyflowd.engine.overlap import RefuseFull
from pyflowd.errors import Refused
from pyflowd.model.states import Fate, SlotReason
from pyflowd.model.triggers import EventTrigger, FileTrigger, UnitTrigger, WebhookTrigger, WorkflowTrigger
from pyflowd.runtime import context
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.workflows import Workflows
from pyflowd.triggers import event_values
from pyflowd.triggers.event_ledger import Firing, Place

DEPTH_MAX = 32
"""Runs that start each other, one after the other: more is taken for a loop without an end."""
KEPT_US = 30 * 86_400 * US
"""Of what happens only once the row is there for people."""
E = TypeVar("E", FileTrigger, WorkflowTrigger, UnitTrigger, WebhookTrigger)


class EventStarts:
    """Starts runs by events; it also follows ends of runs."""

    def __init__(self, workflows: Workflows) -> None:
        self.workflows = workflows
        self.ledger = workflows.ledger
        self._followers: dict[str, list[tuple[str, WorkflowTrigger]]] = {}
        self._seen_changes = -1
        workflows.on_end = self._run_ended

    def fire(
        self,
        workflow: str,
        trigger: EventTrigger,
        event: dict[str, Any],
        key: str,
        *,
        summary: str,
        by: str,
        depth: int = 0,
        expires_us: int | None = None,
        ask_again: bool = False,
    ) -> Firing:
        """Record the run that an event starts, or why it starts none: one row, in one transaction with the run. The
        same key again gives the first answer (rule I2).

        `summary`: the event in a few words; `by`: who is said to have asked; `expires_us`: when the row may go, None:
        whoever looks for such events says. `ask_again`: whoever tells of the event can do so later, so a full queue
        raises Refused and leaves no row.
        """
        place = Place(workflow, trigger.name, key)
        known = self.ledger.find(place)
        if known is not None:
            return known
        found = self._start(workflow, trigger, event, by, depth)
        if isinstance(found, RefuseFull):
            if ask_again:
                raise Refused(f"{workflow}: {found.queued} runs wait already (queue_max)")
            found = Firing(Fate.SKIPPED, SlotReason.QUEUE_FULL)
        return self.ledger.add(place, found, self.workflows.clock.wall_us(), summary, expires_us)

    def would_start(self, workflow: str, trigger: EventTrigger, event: dict[str, Any]) -> bool:
        """Whether `fire` would record a run, if the queue has room."""
        if self.workflows.is_paused(workflow) or not trigger.enabled:
            return False
        declared = self.workflows.find(workflow).definition.params
        return event_values.evaluate(trigger, declared, event).reason is None

    def skip(self, place: Place, reason: SlotReason, summary: str) -> Firing:
        """An event that starts no run, whatever its trigger says."""
        known = self.ledger.find(place)
        if known is not None:
            return known
        return self.ledger.add(place, Firing(Fate.SKIPPED, reason), self.workflows.clock.wall_us(), summary)

    def _start(
        self, workflow: str, trigger: EventTrigger, event: dict[str, Any], by: str, depth: int
    ) -> Firing | RefuseFull:
        if self.workflows.is_paused(workflow) or not trigger.enabled:
            return Firing(Fate.SKIPPED, SlotReason.PAUSED if trigger.enabled else SlotReason.DISABLED)
        if depth > DEPTH_MAX:
            return Firing(Fate.SKIPPED, SlotReason.DEPTH, None, f"{DEPTH_MAX} runs have started each other")
        entry = self.workflows.find(workflow)
        outcome = event_values.evaluate(trigger, entry.definition.params, event)
        if outcome.reason is not None:
            return Firing(Fate.SKIPPED, outcome.reason, None, outcome.error)
        try:
            live = self.workflows.start_by_event(entry, trigger.name, outcome.values, event, by, depth)
        except Refused as error:
            return Firing(Fate.SKIPPED, SlotReason.BAD_PARAMS, None, str(error))
        return live if isinstance(live, RefuseFull) else Firing(Fate.FIRED, None, live.meta.run)

    def triggers(self, sort: type[E]) -> list[tuple[str, E]]:
        """Those of one sort, with their workflows."""
        return [
            (name, trigger)
            for name, entry in self.workflows.entries.items()
            for trigger in entry.head.events
            if isinstance(trigger, sort)
        ]

    # ---- Ends of runs

    def _run_ended(self, ended: LiveRun) -> None:
        """Each run starts one of each that follows it, in the transaction of its end."""
        if self._seen_changes != self.workflows.event_changes:
            self._seen_changes = self.workflows.event_changes
            self._followers = {}
            for name, trigger in self.triggers(WorkflowTrigger):
                self._followers.setdefault(trigger.workflow, []).append((name, trigger))
        for name, trigger in self._followers.get(ended.meta.workflow, ()):
            if ended.run.state in trigger.outcomes:
                self._follow(ended, name, trigger)

    def _follow(self, ended: LiveRun, name: str, trigger: WorkflowTrigger) -> None:
        meta, run, zone = ended.meta, ended.run, ended.facts.zone
        now_us = self.workflows.clock.wall_us()
        event = {
            "run": meta.run,
            "workflow": meta.workflow,
            "outcome": run.state.value,
            "reason": run.reason.value if run.reason else None,
            "params": meta.params,
            "outputs": run.outputs or {},
            "scheduled_at": None if meta.slot_us is None else context.time_text(meta.slot_us, zone),
            "ended_at": context.time_text(run.ended_us or now_us, zone),
        }
        self.fire(
            name, trigger, event, str(meta.run), summary=f"run {meta.run} of {meta.workflow} {run.state}",
            by=f"run {meta.run}", depth=meta.depth + 1, expires_us=now_us + KEPT_US,
        )  # fmt: skip
