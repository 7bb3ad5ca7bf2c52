"""Unit triggers: fires when a unit of systemd has come into a state. Who tells of that is in `event_unit_source`.

A state counts from the trigger's first load on; of several changes while the daemon was away the newest is seen. One
thread, part of a turn.
"""

from __future__ import annotations

from collections.abc import Callable

from pyflowd.model.triggers import UnitTrigger
from pyflowd.runtime import context
from pyflowd.runtime.event_starts import KEPT_US, EventStarts
from pyflowd.triggers.event_unit_source import UnitSource
from pyflowd.triggers.event_unit_state import UnitState


class UnitEvents:
    """All unit triggers of the host."""

    def __init__(self, starts: EventStarts, note: Callable[[str, str], None], source: UnitSource | None = None) -> None:
        """`note`: tells what is wrong with a subject, and with an empty text that nothing is."""
        self.starts = starts
        self.workflows = starts.workflows
        self._note = note
        self._source = source or UnitSource()
        self._seen_changes = -1
        self._triggers: dict[str, list[tuple[str, UnitTrigger]]] = {}
        """By unit."""

    def fileno(self) -> int:
        return self._source.fileno()

    def stop(self) -> None:
        self._source.stop()

    def tick(self) -> None:
        if self._seen_changes == self.workflows.event_changes:
            return
        self._seen_changes = self.workflows.event_changes
        self._triggers = {}
        for name, trigger in self.starts.triggers(UnitTrigger):
            if trigger.enabled:
                self._triggers.setdefault(trigger.unit, []).append((name, trigger))
        self._source.want(self._triggers)
        if not self._triggers:
            self._note("units", "")

    def ready(self, _: int = 0) -> None:
        """The source has something to tell."""
        states, problem = self._source.receive()
        if self._triggers or not problem:
            self._note("units", f"{problem}; unit triggers start nothing" if problem else "")
        for state in states:
            for workflow, trigger in self._triggers.get(state.unit, ()):
                self._came(workflow, trigger, state)

    def _came(self, workflow: str, trigger: UnitTrigger, state: UnitState) -> None:
        """A change that lasts over restarts is told again and again: the ledger knows the newest."""
        since = self.starts.ledger.since.get((workflow, trigger.name))
        if since is None or state.state not in trigger.states or state.since_us <= since.since_us:
            return
        event = {
            "unit": state.unit,
            "state": state.state,
            "since": context.time_text(state.since_us, self.workflows.zone.info),
        }
        self.starts.fire(
            workflow, trigger, event, state.key,
            summary=f"{state.unit} {state.state}", by=f"unit {state.unit}",
            expires_us=self.workflows.clock.wall_us() + KEPT_US,
        )  # fmt: skip
        self.starts.ledger.move_on(workflow, trigger.name, self.workflows.clock.wall_us())
