"""What happened since the daemon began, counted where it is committed: runs, tasks, slots, deliveries, turns.

All counters are kept by workflow, so that each who asks can be told of those that he may see. Nothing is kept over a
restart: whoever collects metrics knows that counters begin anew. It knows nothing of how metrics are called.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

from pyflowd.clock import US
from pyflowd.events import RunCreated, RunEnded, RunStarted
from pyflowd.model.states import Fate, RunState, TaskState
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.slots import SCHEDULER
from pyflowd.store.batch import Batch, Fact, SlotSkipped

DURATIONS_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""Upper bounds of what runs and tasks take: from a shell command to a day's work."""
DELAYS_S = (0.05, 0.2, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 86_400.0)
"""Upper bounds of waiting and lateness."""
TURNS_S = (0.000_5, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
WORKFLOWS_MAX = 5_000
"""Workflows that are counted by name; any further ones count together: a file that somebody runs may have any name."""
OTHERS = ""


class Tally:
    """A histogram: how many observations were in each bucket, and their sum."""

    __slots__ = ("bounds_s", "counts", "sum_us")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_us = 0

    def add(self, us: int) -> None:
        """A time in microseconds; a clock that was set back makes it 0."""
        us = max(0, us)
        self.counts[bisect_left(self.bounds_s, us / US)] += 1
        self.sum_us += us

    def take(self, other: Tally) -> None:
        """Add all that the other has."""
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.sum_us += other.sum_us


class Counts:
    """Of one workflow."""

    __slots__ = ("lateness", "queue", "retries", "run_duration", "runs", "slots", "task_duration", "tasks")

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        """That ended, by state."""
        self.tasks: Counter[str] = Counter()
        """That ended, by state; of a fan-out its items."""
        self.retries = 0
        self.slots: Counter[str] = Counter()
        """By fate."""
        self.run_duration = Tally(DURATIONS_S)
        self.task_duration = Tally(DURATIONS_S)
        """Of the attempt with which a task ended."""
        self.queue = Tally(DELAYS_S)
        """From the record of a run to its start."""
        self.lateness = Tally(DELAYS_S)
        """From the nominal time of a slot that fired to the record of its run."""


class Metrics:
    """One for the daemon. `find`: a run that lives or ended in this turn, by its number."""

    def __init__(self, find: Callable[[int], LiveRun | None]) -> None:
        self._find = find
        self.of: dict[str, Counts] = {}
        """By workflow; `OTHERS` for those beyond so many."""
        self.last_success_us: dict[str, int] = {}
        """By workflow, of those that have succeeded since the daemon began, and those that were looked up."""
        self.deliveries: Counter[str] = Counter()
        """To hooks, by what became of them."""
        self.turns = Tally(TURNS_S)
        """Of the loop, without its waiting."""

    def committed(self, batch: Batch) -> None:
        """Count what a commit has made true; before its runs are forgotten."""
        for fact in batch.facts:
            kind = type(fact.event)
            if kind is RunEnded or kind is RunStarted or kind is RunCreated:
                self._count_run(fact)
            elif isinstance(fact.event, SlotSkipped):
                self._counts(fact.event.workflow).slots[Fate.SKIPPED] += 1
        for moved in batch.moved:
            counts = self._counts(moved.workflow)
            if moved.state is TaskState.RETRYING:
                counts.retries += 1
                continue
            counts.tasks[moved.state] += 1
            if moved.took_us is not None:
                counts.task_duration.add(moved.took_us)

    def delivered(self, result: str) -> None:
        """A delivery to a hook was answered."""
        self.deliveries[result] += 1

    def _counts(self, workflow: str) -> Counts:
        found = self.of.get(workflow)
        if found is None:
            name = workflow if len(self.of) < WORKFLOWS_MAX else OTHERS
            found = self.of.setdefault(name, Counts())
        return found

    def _count_run(self, fact: Fact) -> None:
        live = None if fact.run is None else self._find(fact.run)
        if live is None:
            return
        meta, event = live.meta, fact.event
        counts = self._counts(meta.workflow)
        match event:
            case RunCreated():
                if meta.scheduled_us is not None and meta.requested_by == SCHEDULER and meta.parent is None:
                    counts.slots[Fate.FIRED] += 1
                    counts.lateness.add(meta.created_us - meta.scheduled_us)
            case RunStarted():
                counts.queue.add(event.at_us - meta.created_us)
            case RunEnded():
                counts.runs[event.state] += 1
                if live.run.started_us is not None:
                    counts.run_duration.add(event.at_us - live.run.started_us)
                if event.state is RunState.SUCCEEDED:
                    self.last_success_us[meta.workflow] = event.at_us
            case _:
                pass
