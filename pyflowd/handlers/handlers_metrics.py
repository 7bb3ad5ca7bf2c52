"""The request for metrics: what was counted, and how things stand, by the names that Prometheus' conventions give.

Whoever asks is told of the workflows that he may see, and counts over all are sums over these. Names, units and help
are settled here; what is counted is settled in `runtime.metrics`.
"""

from __future__ import annotations

import os
from collections import Counter as Tallied
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pyflowd.base.peer import Peer
from pyflowd.clock import US
from pyflowd.control.control import NEXT_TURN
from pyflowd.control.replies import Replies
from pyflowd.handlers.access import Sight
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.model.states import Fate, RunState
from pyflowd.protocol.figures import Counter, GetMetrics, Histogram, MetricsView
from pyflowd.runtime.metrics import DELAYS_S, OTHERS, Counts, Metrics, Tally
from pyflowd.version import VERSION

WORKFLOWS_A_TURN = 20
"""Of which a turn tells: 0.3 ms, at the first time after a start up to 17 ms, for their newest success."""
LABEL_OF_OTHERS = "(others)"
"""No workflow can have this name."""

HELP = {
    "pyflow_runs": "Runs that have ended, by workflow and outcome.",
    "pyflow_run_duration_seconds": "What runs took from their start to their end.",
    "pyflow_run_queue_seconds": "How long runs waited from their record to their start.",
    "pyflow_live_runs": "Runs that have not ended, by state.",
    "pyflow_tasks": "Tasks that have ended, by workflow and outcome; of a fan-out its items.",
    "pyflow_task_duration_seconds": "What the attempts took with which tasks ended.",
    "pyflow_task_retries": "Attempts that went wrong and are followed by another one.",
    "pyflow_running_tasks": "Tasks that have a place of their run.",
    "pyflow_running_attempts": "Attempts that have a place of the host (max_tasks).",
    "pyflow_max_tasks": "Places of the host.",
    "pyflow_slots": "Slots of schedules, by workflow and fate.",
    "pyflow_slot_lateness_seconds": "From the nominal time of slots that fired to the record of their runs.",
    "pyflow_hook_deliveries": "Deliveries to hooks, by what became of them.",
    "pyflow_workflows": "Workflows, by state.",
    "pyflow_workflow_last_success_timestamp_seconds": "When the newest run that succeeded ended.",
    "pyflow_workflow_next_slot_timestamp_seconds": "Nominal time of the next slot of a workflow that is not paused.",
    "pyflow_events": "Events of the store, ever.",
    "pyflow_store_size_bytes": "Size of the database with its log.",
    "pyflow_disk_free_bytes": "Space that the daemon's account may still use, by folder.",
    "pyflow_keeper_up": "1 while the keeper is connected: without it no task starts.",
    "pyflow_drained": "1 while no task may start (pyflowctl drain).",
    "pyflow_connections": "Clients that are connected.",
    "pyflow_loop_turn_seconds": "What turns of the daemon's loop took, without waiting.",
    "pyflow_start_timestamp_seconds": "When the daemon began, and all counters with it.",
    "pyflow_build_info": "1; the version stands in the label.",
}


class Surroundings(NamedTuple):
    """What only others know, looked at when somebody asks."""

    keeper_is_up: Callable[[], bool]
    connections: Callable[[], int]
    folders: dict[str, str]
    """Whose free space is told: label to path."""


class MetricsHandlers:
    """As `Handlers`: answers when pulled."""

    def __init__(self, of_runs: RunHandlers, metrics: Metrics, surroundings: Surroundings) -> None:
        self.store = of_runs.store
        self.runs = of_runs.runs
        self.workflows = of_runs.workflows
        self.definitions = of_runs.definitions
        self.health = of_runs.health
        self.access = of_runs.access
        self.clock = of_runs.clock
        self.metrics = metrics
        self.surroundings = surroundings

    def get(self, _: GetMetrics, peer: Peer) -> Replies:
        counters: list[Counter] = []
        gauges: list[Counter] = []
        histograms: list[Histogram] = []
        queue, lateness = Tally(DELAYS_S), Tally(DELAYS_S)
        names = sorted({*self.workflows.entries, *self.metrics.of})
        for at in range(0, len(names), WORKFLOWS_A_TURN):
            sight = self.access.sight(peer)  # in each turn anew: what somebody may see may change
            for name in names[at : at + WORKFLOWS_A_TURN]:
                if sight.sees_all if name == OTHERS else sight.sees(name):
                    counts = self.metrics.of.get(name) or Counts()
                    counters += _counters(name, counts)
                    histograms += _histograms(name, counts)
                    gauges += self._times(name)
                    queue.take(counts.queue)
                    lateness.take(counts.lateness)
            yield NEXT_TURN
        sight = self.access.sight(peer)
        histograms += [
            _histogram("pyflow_run_queue_seconds", {}, queue),
            _histogram("pyflow_slot_lateness_seconds", {}, lateness),
        ]
        gauges += self._seen(sight)
        if sight.sees_host(""):
            counters += self._host_counters()
            gauges += self._host_gauges()
            histograms.append(_histogram("pyflow_loop_turn_seconds", {}, self.metrics.turns))
        yield MetricsView(counters=counters, gauges=gauges, histograms=histograms, help=HELP)

    # ---- Of one workflow

    def _times(self, name: str) -> Iterator[Counter]:
        """When it succeeded last, and when it comes next."""
        if name not in self.workflows.entries:
            return
        labels = {"workflow": name}
        if success_us := self._last_success_us(name):
            yield Counter(
                name="pyflow_workflow_last_success_timestamp_seconds", labels=labels, value=success_us / US
            )  # fmt: skip
        next_us = self.workflows.timetable.next_of(name, self.clock.wall_us())
        if next_us is not None and not self.workflows.is_paused(name):
            yield Counter(name="pyflow_workflow_next_slot_timestamp_seconds", labels=labels, value=next_us / US)

    def _last_success_us(self, name: str) -> int:
        """0: not among its newest thousand runs."""
        known = self.metrics.last_success_us.get(name)
        if known is None:
            row = self.store.one_or_none("newest_success", name)
            known = self.metrics.last_success_us[name] = row[0] if row else 0
        return known

    # ---- Over all that are seen

    def _seen(self, sight: Sight) -> Iterator[Counter]:
        live = [each for each in self.runs.live.values() if sight.sees(each.meta.workflow)]
        states = Tallied(each.run.state for each in live)
        for state in (RunState.QUEUED, RunState.RUNNING):
            yield Counter(name="pyflow_live_runs", labels={"state": state}, value=states[state])
        yield Counter(name="pyflow_running_tasks", value=sum(each.run.active for each in live))
        yield Counter(name="pyflow_running_attempts", value=sum(each.run.held for each in live))
        found = self.definitions.states(sight.sees)
        for word in ("active", "paused", "stale", "broken"):
            yield Counter(name="pyflow_workflows", labels={"state": word}, value=found[word])

    # ---- Of the host

    def _host_counters(self) -> Iterator[Counter]:
        yield Counter(name="pyflow_events", value=self.store.next_event - 1)
        for result, count in sorted(self.metrics.deliveries.items()):
            yield Counter(name="pyflow_hook_deliveries", labels={"result": result}, value=count)

    def _host_gauges(self) -> Iterator[Counter]:
        yield Counter(name="pyflow_build_info", labels={"version": VERSION}, value=1)
        yield Counter(name="pyflow_start_timestamp_seconds", value=self.health.started_us / US)
        yield Counter(name="pyflow_max_tasks", value=self.runs.max_tasks)
        yield Counter(name="pyflow_keeper_up", value=int(self.surroundings.keeper_is_up()))
        yield Counter(name="pyflow_drained", value=int(bool(self.runs.drained)))
        yield Counter(name="pyflow_connections", value=self.surroundings.connections())
        yield Counter(name="pyflow_store_size_bytes", value=_size_bytes(self.store.path))
        for label, path in self.surroundings.folders.items():
            free = os.statvfs(path)
            yield Counter(
                name="pyflow_disk_free_bytes", labels={"folder": label}, value=free.f_bavail * free.f_frsize
            )  # fmt: skip


def _size_bytes(path: str) -> int:
    """Of the database with its log, which may not be there."""
    found = 0
    for each in (path, f"{path}-wal"):
        try:
            found += os.stat(each).st_size
        except FileNotFoundError:
            continue
    return found


def _counters(name: str, counts: Counts) -> Iterator[Counter]:
    workflow = name or LABEL_OF_OTHERS
    for state in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED):  # with 0: the first failure is a change
        labels = {"workflow": workflow, "outcome": state.value}
        yield Counter(name="pyflow_runs", labels=labels, value=counts.runs[state])
    for task_state, count in sorted(counts.tasks.items()):
        labels = {"workflow": workflow, "outcome": str(task_state)}
        yield Counter(name="pyflow_tasks", labels=labels, value=count)
    for fate in Fate:
        if counts.slots[fate]:
            labels = {"workflow": workflow, "fate": fate.value}
            yield Counter(name="pyflow_slots", labels=labels, value=counts.slots[fate])
    if counts.retries:
        yield Counter(name="pyflow_task_retries", labels={"workflow": workflow}, value=counts.retries)


def _histograms(name: str, counts: Counts) -> Iterator[Histogram]:
    labels = {"workflow": name or LABEL_OF_OTHERS}
    for what, tally in (
        ("pyflow_run_duration_seconds", counts.run_duration),
        ("pyflow_task_duration_seconds", counts.task_duration),
    ):
        if any(tally.counts):
            yield _histogram(what, labels, tally)


def _histogram(name: str, labels: dict[str, str], tally: Tally) -> Histogram:
    return Histogram(
        name=name, labels=labels, bounds=list(tally.bounds_s), counts=list(tally.counts), sum=tally.sum_us / US
    )
