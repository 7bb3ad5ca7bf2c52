"""All that looks for events, as one part of the turn: files, units; and what goes away with time.

Deliveries to hooks come as requests, ends of runs from the turn itself.
"""

from __future__ import annotations

import selectors
from typing import Any

from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.clock import US
from pyflowd.runtime.event_file_watch import KEPT_US, PRUNED_AT_ONCE, FileEvents
from pyflowd.runtime.event_starts import EventStarts
from pyflowd.runtime.event_units import UnitEvents
from pyflowd.runtime.health import Note
from pyflowd.runtime.workflows import Workflows

PRUNE_US = 600 * US


class EventSources:
    """Made before the loop begins; the loop calls it."""

    def __init__(
        self, workflows: Workflows, pool: Pool, timers: Timers, selector: selectors.BaseSelector,
        note: Note,
    ) -> None:  # fmt: skip
        self.workflows = workflows
        self.starts = EventStarts(workflows)
        self.files = FileEvents(self.starts, pool, timers, note)
        self.units = UnitEvents(self.starts, note)
        self._timers = timers
        self._selector = selector

    def start(self) -> None:
        self.files.start()
        self._selector.register(self.files.hints, selectors.EVENT_READ, self.files.hinted)
        self._selector.register(self.units, selectors.EVENT_READ, self.units.ready)
        self._prune()

    def stop(self) -> None:
        """Nothing new is looked for; what was found is recorded still. Safe twice."""
        self.files.stop()
        self.units.stop()

    def has_work(self) -> bool:
        return self.files.has_work()

    def tick(self) -> None:
        """Part of each turn, before its commit."""
        self.files.tick()
        self.units.tick()

    def taken(self, token: str, result: Any) -> None:
        """The pool is done with something; `token` without `TOKEN`."""
        self.files.taken(token, result)

    def _prune(self) -> None:
        """Rows that nobody asks for any more, a few at a time; those of files that are watched are pruned there."""
        batch, now_us = self.starts.ledger.batch, self.workflows.clock.wall_us()
        batch.add("prune_firings_expired", now_us)
        watched = set(self.starts.ledger.since)
        for workflow, trigger in list(self.workflows.store.rows("firing_triggers")):
            if (workflow, trigger) not in watched:
                rows = self.workflows.store.rows(
                    "firing_keys_before", workflow, trigger, "", now_us - KEPT_US, PRUNED_AT_ONCE
                )
                for (key,) in list(rows):
                    batch.add("prune_firing", workflow, trigger, key)
        self._timers.at(self.workflows.clock.mono_us() + PRUNE_US, self._prune)
