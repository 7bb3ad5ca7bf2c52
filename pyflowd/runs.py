"""The live runs: feeds the engine, writes what events change into the turn's batch, collects what is to be done.

Everything here happens in memory; the dispatcher commits the batch and only then carries out what was collected. The
same code serves a run that has just been made and one that was rebuilt from its events after a crash.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pyflowd import engine, launch
from pyflowd.clock import US, Clock
from pyflowd.engine import Run, StopAttempt, TaskRun, WakeTask
from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    CancelRequested,
    Event,
    RetryDue,
    RunCreated,
    RunStarted,
    RunTimedOut,
    StoredEvent,
)
from pyflowd.model import RUN_TERMINAL, AttemptState, End, Reason, RunState, TaskState, Workflow
from pyflowd.overlap import RunRef
from pyflowd.store.batch import Batch, RunMeta
from pyflowd.store.store import Store
from pyflowd.timers import Timer, Timers

_event = msgspec.msgpack.Decoder(StoredEvent)
_params = msgspec.msgpack.Decoder(dict[str, object])


class Launch(NamedTuple):
    """Ask the keeper to start the attempt that is under way."""

    live: LiveRun
    task: TaskRun


class Stop(NamedTuple):
    attempt_id: str
    grace_s: float


class Acknowledge(NamedTuple):
    """The end is durable: the keeper may forget."""

    attempt_id: str


Action = Launch | Stop | Acknowledge


class LiveRun:
    """A run that has not ended, with what its launches have in common."""

    __slots__ = ("by_index", "common_env", "log_bytes", "meta", "offered", "run", "timer", "workflow")

    def __init__(self, meta: RunMeta, run: Run) -> None:
        self.meta = meta
        self.run = run
        self.workflow: Workflow = run.workflow
        self.by_index = list(run.tasks.values())
        self.common_env = launch.run_environment(
            run.workflow,
            launch.Binding(run=meta.run, workflow=meta.workflow, values=meta.params, scheduled_us=meta.scheduled_us),
        )
        self.log_bytes = 0
        self.offered = False
        """Whether it stands in the queue for places."""
        self.timer: Timer | None = None


class Runs:
    """All live runs of the host. One thread; every method is one part of a turn."""

    def __init__(self, store: Store, clock: Clock, timers: Timers, max_tasks: int) -> None:
        self.store = store
        self.clock = clock
        self.timers = timers
        self.max_tasks = max_tasks
        self.live: dict[int, LiveRun] = {}
        self.of_workflow: dict[str, list[LiveRun]] = {}
        self.batch: Batch = store.batch()
        self.actions: list[Action] = []
        self.changed: set[int] = set()
        """Runs that something happened to in this turn."""
        self.ended: list[LiveRun] = []
        """Runs that ended in this turn; their workflows may have a place free."""
        self._fresh_keys: dict[tuple[str, str], RunMeta] = {}
        """Keys of runs that are not committed yet."""
        self._places: deque[LiveRun] = deque()
        self.active = 0
        """Attempts that hold a place of the host."""
        self._random: Callable[[], float] = random.random

    def committed(self) -> None:
        """The batch is durable: begin another."""
        self.batch = self.store.batch()
        self._fresh_keys.clear()

    # ---- Beginnings

    def create(self, meta: RunMeta, workflow: Workflow, kept: dict[str, TaskState]) -> LiveRun:
        """Record a new run, queued."""
        created = RunCreated(meta.created_us, kept)
        live = LiveRun(meta, engine.begin(meta.run, workflow, created))
        self.batch.run_created(meta, created, RunState.QUEUED, len(workflow.tasks))
        if meta.key:
            self._fresh_keys[meta.workflow, meta.key] = meta
        self._enlist(live)
        return live

    def next_run(self) -> int:
        number: int = self.store.next_run
        self.store.next_run += 1
        return number

    def with_key(self, workflow: str, key: str) -> tuple[int, dict[str, object]] | None:
        """Rule I2: the run that the same key has recorded before, perhaps in this very turn, and its params."""
        if not key:
            return None
        fresh = self._fresh_keys.get((workflow, key))
        if fresh:
            return fresh.run, fresh.params
        found = self.store.one_or_none("run_of_key", workflow, key)
        return None if found is None else (int(found[0]), _params.decode(found[1]))

    def start(self, live: LiveRun) -> None:
        """Let a queued run go."""
        self.feed(live, RunStarted(self.clock.wall_us(), self.clock.mono_us()))
        self._watch_time(live)

    def rebuild(self, workflow_of: Callable[[str], Workflow]) -> None:
        """Fold the stored events of every run that had not ended when the daemon last was there."""
        for row in list(self.store.rows("live_runs")):
            run_id, workflow, digest, trigger, params, requested_by, rerun_of, scheduled_us, created_us = row
            meta = RunMeta(
                run=run_id, workflow=workflow, digest=digest, trigger=trigger, params=_params.decode(params),
                requested_by=requested_by, rerun_of=rerun_of, scheduled_us=scheduled_us, created_us=created_us,
            )  # fmt: skip
            live = LiveRun(meta, fold(run_id, workflow_of(digest), self.stored_events(run_id)))
            self._enlist(live)
            self.active += live.run.active
            self._watch_time(live)
            for task in live.by_index:
                if task.state is TaskState.RETRYING:
                    left_us = max(0, (task.retry_us or 0) - self.clock.wall_us())
                    longest_us = round(task.definition.retry.max_delay_s * US)
                    self._wake_later(live, task, min(left_us, longest_us))
            self._offer(live)

    def stored_events(self, run_id: int) -> list[StoredEvent]:
        return [_event.decode(row[0]) for row in self.store.rows("events_of_run", run_id)]

    def _enlist(self, live: LiveRun) -> None:
        self.live[live.meta.run] = live
        self.of_workflow.setdefault(live.meta.workflow, []).append(live)
        self.changed.add(live.meta.run)

    def references(self, workflow: str) -> list[RunRef]:
        """The live runs of a workflow, oldest first, for the overlap rule."""
        return [
            RunRef(id=live.meta.run, state=live.run.state, by_schedule=live.meta.scheduled_us is not None)
            for live in self.of_workflow.get(workflow, ())
        ]

    # ---- Events

    def feed(self, live: LiveRun, event: Event) -> None:
        """One event: step the engine, write the fold and the event, collect the effects."""
        run, batch = live.run, self.batch
        active_before = run.active
        result = engine.step(run, event)
        self.active += run.active - active_before
        batch.event(run.run_id, event)
        for task in result.changed:
            batch.task_changed(run, task, _at_us(event))
        for effect in result.effects:
            match effect:
                case WakeTask():
                    self._wake_later(live, run.tasks[effect.task], round(effect.delay_s * US))
                case StopAttempt():
                    task = run.tasks[effect.task]
                    self.actions.append(Stop(self.attempt_id(run, task), effect.grace_s))
        if result.run_changed:
            batch.run_state(run)
        self.changed.add(run.run_id)
        if run.state in RUN_TERMINAL:
            self._delist(live)
        else:
            self._offer(live)

    def attempt_running(self, attempt_id: str, pid: int, started_us: int) -> None:
        """The keeper says that an attempt runs. One that is not under way, or known to run, is passed over."""
        found = self.under_way(attempt_id)
        if found and found[1].attempt and found[1].attempt.state is AttemptState.STARTING:
            live, task = found
            self.feed(live, AttemptRunning(task.name, task.attempts, pid, started_us))
            self.batch.attempt_running(live.run, task, pid, started_us)

    def attempt_ended(self, attempt_id: str, end: End) -> None:
        """The keeper, or recovery, says how an attempt ended; acknowledged once it is committed.

        The end of another store's attempt is not ours to take: that store may come back for it.
        """
        if not self.is_ours(attempt_id):
            return
        found = self.under_way(attempt_id)
        if found:
            live, task = found
            now_us = self.clock.wall_us()
            self.feed(live, AttemptEnded(task.name, task.attempts, now_us, self.clock.mono_us(), end, self._random()))
            self.batch.attempt_ended(live.run, task, now_us)
        self.actions.append(Acknowledge(attempt_id))

    def cancel(self, live: LiveRun, by: str, reason: Reason = Reason.CANCELLED) -> None:
        self.feed(live, CancelRequested(self.clock.wall_us(), by, reason))

    # ---- Places

    def _offer(self, live: LiveRun) -> None:
        if not live.offered and live.run.ready:
            live.offered = True
            self._places.append(live)

    def fill(self, epoch: str) -> None:
        """Start queued tasks while the host has places free, runs taking turns."""
        while self._places and self.active < self.max_tasks:
            live = self._places[0]
            task = live.run.next_ready()
            if task is None:
                self._places.popleft()
                live.offered = False
            else:
                self._begin_attempt(live, task, epoch)
                self._places.rotate(-1)

    def _begin_attempt(self, live: LiveRun, task: TaskRun, epoch: str) -> None:
        now_us = self.clock.wall_us()
        self.feed(live, AttemptStarting(task.name, task.attempts + 1, now_us, self.clock.mono_us(), epoch))
        self.batch.attempt_started(live.run, task, epoch, now_us)
        self.actions.append(Launch(live, task))

    # ---- Time

    def _wake_later(self, live: LiveRun, task: TaskRun, delay_us: int) -> None:
        def wake() -> None:
            if task.state is TaskState.RETRYING and live.run.state is RunState.RUNNING:
                self.feed(live, RetryDue(task.name, self.clock.wall_us()))

        self.timers.at(self.clock.mono_us() + delay_us, wake)

    def _watch_time(self, live: LiveRun) -> None:
        """Rule R1: the run's own time-out, on the boot-time clock; after a reboot it counts from the rebuild."""
        timeout_s = live.workflow.timeout_s
        if timeout_s is None or live.run.state is not RunState.RUNNING:
            return

        def run_out() -> None:
            if live.run.state is RunState.RUNNING and not live.run.stopping:
                self.feed(live, RunTimedOut(self.clock.wall_us()))

        now_us = self.clock.mono_us()
        due_us = min(live.run.started_mono_us, now_us) + round(timeout_s * US)
        live.timer = self.timers.at(due_us, run_out)

    # ---- Ends

    def _delist(self, live: LiveRun) -> None:
        if self.live.pop(live.meta.run, None) is None:
            return
        others = self.of_workflow[live.meta.workflow]
        others.remove(live)
        if not others:
            del self.of_workflow[live.meta.workflow]
        if live.timer:
            live.timer.cancel()
        self.ended.append(live)

    # ---- Names of attempts

    def attempt_id(self, run: Run, task: TaskRun) -> str:
        """The name of a task's newest attempt between us and the keeper: unique over stores, runs, tasks, tries."""
        return f"{self.store.instance}-{run.run_id}-{task.index}-{task.attempts}"

    def is_ours(self, attempt_id: str) -> bool:
        return attempt_id.startswith(f"{self.store.instance}-")

    def under_way(self, attempt_id: str) -> tuple[LiveRun, TaskRun] | None:
        """The live run and task of an attempt that has not ended; None where it has, or is not ours."""
        if not self.is_ours(attempt_id):
            return None
        _, run_id, index, number = attempt_id.split("-")
        live = self.live.get(int(run_id))
        if live is None:
            return None
        task = live.by_index[int(index)]
        return (live, task) if task.attempts == int(number) and task.state is TaskState.RUNNING else None


def fold(run_id: int, workflow: Workflow, stored: list[StoredEvent]) -> Run:
    """A run from its events (rule I6); facts that the engine said itself are passed over."""
    created = stored[0]
    assert isinstance(created, RunCreated)
    run = engine.begin(run_id, workflow, created)
    for event in stored[1:]:
        if isinstance(event, Event):
            engine.step(run, event)
    return run


def _at_us(event: Event) -> int:
    return event.started_us if isinstance(event, AttemptRunning) else event.at_us
