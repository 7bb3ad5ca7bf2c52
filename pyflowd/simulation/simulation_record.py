"""What happens in a simulation, as it happens: slots, runs, what they wait for, how full the host is.

It is told by the parts that would write it into the store. It decides nothing.
"""

from __future__ import annotations

from msgspec.structs import replace

from pyflowd.clock import Clock
from pyflowd.engine.holdings import RUN, Place, Sort, Who
from pyflowd.engine.state import Run, TaskRun
from pyflowd.model.states import RUN_TERMINAL, Fate, Reason, RunState, SlotReason, TaskState
from pyflowd.runtime.runs import Runs
from pyflowd.simulation.simulation_model import Peak, Ref, SimulatedRun, SimulatedSlot, Waiting
from pyflowd.store.batch import RunMeta

BEHIND_MAX = 3
"""Of those in somebody's way; a pool may have hundreds."""


class _Kept:
    """A run, as far as it has come."""

    __slots__ = ("ended_us", "error", "meta", "reason", "started_us", "state", "waits")

    def __init__(self, meta: RunMeta) -> None:
        self.meta = meta
        self.state = RunState.QUEUED
        self.reason: Reason | None = None
        self.error = ""
        self.started_us: int | None = None
        self.ended_us: int | None = None
        self.waits: list[Waiting] = []


class Record:
    """Everything that a simulation tells. `runs` is given once there is one; `real`: the runs that exist."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.runs: Runs | None = None
        self.real: frozenset[int] = frozenset()
        self.slots: list[SimulatedSlot] = []
        self.tasks = Peak()
        self.live = Peak()
        self.pools: dict[str, Peak] = {}
        self.begun: list[tuple[Run, TaskRun]] = []
        """Attempts without a process that have begun since this was last emptied."""
        self._kept: dict[int, _Kept] = {}
        self._under_way = 0
        self._fresh: list[Who] = []
        """Runs and tasks that were queued since the last look."""
        self._waiting: dict[Who, Waiting] = {}

    # ---- Told by the batch

    def slot(
        self,
        workflow: str,
        trigger: str,
        scheduled_us: int,
        fate: Fate,
        reason: str | None,
        run: int | None,
        detail: str,
    ) -> None:
        fired = fate is Fate.FIRED
        self.slots.append(
            SimulatedSlot(
                workflow=workflow,
                trigger=trigger,
                scheduled_us=scheduled_us,
                fate=fate,
                reason=None if reason is None else SlotReason(reason),
                because=None if fired or run is None else self._ref(run),
                run=run if fired else None,
                detail=detail,
            )
        )

    def run_created(self, meta: RunMeta) -> None:
        self._kept[meta.run] = _Kept(meta)
        self._fresh.append(Who(meta.run, RUN))

    def run_changed(self, run: Run) -> None:
        kept = self._kept[run.run_id]
        kept.state, kept.reason, kept.error = run.state, run.reason, run.error
        if run.state is RunState.RUNNING and kept.started_us is None:
            kept.started_us = run.started_us
            self._close(Who(run.run_id, RUN))
            self._under_way += 1
            self.live = self._higher(self.live, self._under_way, 0)
        elif run.state in RUN_TERMINAL and kept.ended_us is None:
            kept.ended_us = run.ended_us
            self._close(Who(run.run_id, RUN))
            self._under_way -= kept.started_us is not None

    def task_changed(self, run: Run, task: TaskRun) -> None:
        if task.state is TaskState.QUEUED:
            self._fresh.append(Who(run.run_id, task.index))
        elif self._waiting:
            self._close(Who(run.run_id, task.index))

    def attempt_started(self, run: Run, task: TaskRun) -> None:
        runs = self._runs()
        self.tasks = self._higher(self.tasks, runs.active, runs.max_tasks)
        for name in task.definition.pools:
            used = runs.places.used(Place(Sort.POOL, name))
            self.pools[name] = self._higher(self.pools.get(name, Peak()), used, runs.sharing.pool_size(name))

    def attempt_running(self, run: Run, task: TaskRun) -> None:
        self.begun.append((run, task))

    # ---- Told by the simulation

    def take_up(self, meta: RunMeta, run: Run) -> None:
        """A run that exists."""
        kept = self._kept[meta.run] = _Kept(meta)
        kept.state, kept.started_us = run.state, run.started_us
        self._under_way += run.started_us is not None
        if run.state is RunState.QUEUED:
            self._fresh.append(Who(meta.run, RUN))

    def forget_peaks(self) -> None:
        """What was before does not count; what is live goes on."""
        runs, now_us = self._runs(), self.clock.wall_us()
        self.tasks = Peak(used=runs.active, size=runs.max_tasks, at_us=now_us)
        self.live = Peak(used=self._under_way, at_us=now_us)
        self.pools = {}

    def look(self) -> None:
        """Everything that could go has gone: who of those that were queued waits, and for what?"""
        now_us = self.clock.wall_us()
        fresh, self._fresh = self._fresh, []
        for who in fresh:
            if who not in self._waiting:
                found = self._obstacle(who)
                if found is not None:
                    place, behind = found
                    task = "" if who.node == RUN else self._runs().live[who.run].by_index[who.node].name
                    self._waiting[who] = Waiting(
                        since_us=now_us, until_us=now_us, over=False, place=place, task=task, behind=behind
                    )

    def result(self, from_us: int) -> tuple[SimulatedRun, ...]:
        """The runs that were live at some time after `from_us`."""
        for who, waiting in self._waiting.items():
            self._kept[who.run].waits.append(replace(waiting, until_us=self.clock.wall_us()))
        self._waiting.clear()
        return tuple(
            self._run(kept) for kept in self._kept.values() if kept.ended_us is None or kept.ended_us >= from_us
        )

    # ---- Inside

    def _runs(self) -> Runs:
        assert self.runs is not None
        return self.runs

    def _higher(self, peak: Peak, used: int, size: int) -> Peak:
        return Peak(used=used, size=size, at_us=self.clock.wall_us()) if used > peak.used else peak

    def _close(self, who: Who) -> None:
        waiting = self._waiting.pop(who, None)
        now_us = self.clock.wall_us()
        if waiting is not None and now_us > waiting.since_us:
            closed = replace(waiting, until_us=now_us, over=True)
            self._kept[who.run].waits.append(closed)

    def _obstacle(self, who: Who) -> tuple[str, tuple[Ref, ...]] | None:
        """What somebody who is queued waits for; None: nothing of others, or it has gone on."""
        runs = self._runs()
        live = runs.live.get(who.run)
        if live is None:
            return None
        if who.node == RUN:
            if live.run.state is not RunState.QUEUED:
                return None
            return self._place_of(who) or self._overlap(who.run)
        task = live.by_index[who.node]
        if task.state is not TaskState.QUEUED:
            return None
        if task.shared:
            return self._place_of(who)
        if task.holds_host and runs.active >= runs.max_tasks and live.run.active < live.workflow.max_parallel:
            return f"max_tasks ({runs.max_tasks})", ()
        return None

    def _overlap(self, run: int) -> tuple[str, tuple[Ref, ...]]:
        runs = self._runs()
        others = [live.meta.run for live in runs.of_workflow[runs.live[run].meta.workflow] if live.meta.run < run]
        return "overlap", tuple(map(self._ref, others[:BEHIND_MAX]))

    def _place_of(self, who: Who) -> tuple[str, tuple[Ref, ...]] | None:
        places = self._runs().places
        for obstacle in places.obstacles(who):
            others = dict.fromkeys(each.run for each in (*obstacle.holders, *obstacle.before) if each.run != who.run)
            place = f"{obstacle.place.sort.value} {obstacle.place.name}"
            return place, tuple(self._ref(run) for run in list(others)[:BEHIND_MAX])
        return None

    def _ref(self, run: int) -> Ref:
        meta = self._kept[run].meta
        at_us = meta.created_us if meta.scheduled_us is None else meta.scheduled_us
        return Ref(workflow=meta.workflow, at_us=at_us, run=run if run in self.real else None)

    def _run(self, kept: _Kept) -> SimulatedRun:
        meta = kept.meta
        return SimulatedRun(
            number=meta.run, ref=self._ref(meta.run), trigger=meta.trigger,
            by_slot=meta.scheduled_us is not None and meta.parent is None,
            created_us=meta.created_us, started_us=kept.started_us, ended_us=kept.ended_us,
            state=kept.state, reason=kept.reason, error=kept.error, waits=tuple(kept.waits), called_by=meta.parent,
        )  # fmt: skip
