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

from pyflowd import context, decisions, engine, launch, zones
from pyflowd.clock import US, Clock
from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    CancelRequested,
    Event,
    HandlersTimedOut,
    RetryDue,
    RunCreated,
    RunStarted,
    RunTimedOut,
    StoredEvent,
    TaskCancelRequested,
)
from pyflowd.model import (
    RUN_TERMINAL,
    AttemptState,
    End,
    Given,
    ProcessKind,
    Reason,
    RunState,
    Section,
    TaskState,
    Workflow,
)
from pyflowd.overlap import RunRef
from pyflowd.state import Decide, Effect, Run, StopAttempt, TaskRun, WakeTask, WatchHandlers
from pyflowd.store.batch import Batch, RunMeta
from pyflowd.store.store import Store
from pyflowd.timers import Timer, Timers
from pyflowd.zones import Zone

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


class Inside(NamedTuple):
    """An attempt that is no process has begun, or is to be stopped (`grace_s`)."""

    live: LiveRun
    task: TaskRun
    grace_s: float | None = None


class LiveRun:
    """A run that has not ended, with what its launches have in common."""

    __slots__ = (
        "common_env", "facts", "handlers_timer", "log_bytes", "meta", "offered", "run", "timer", "users", "workflow",
    )  # fmt: skip

    def __init__(self, meta: RunMeta, run: Run, zone: Zone) -> None:
        self.meta = meta
        self.run = run
        self.workflow: Workflow = run.workflow
        self.facts = context.Facts(meta, run, context.zone_of(run.workflow, meta.trigger, zone.info, zones.zone))
        self.common_env = launch.run_environment(
            run.workflow,
            launch.Binding(run=meta.run, workflow=meta.workflow, values=meta.params, scheduled_us=meta.scheduled_us),
        )
        self.users = frozenset(task.user or run.workflow.user or "" for task in run.workflow.tasks)
        """Of its tasks; empty text: the daemon's own."""
        self.log_bytes = 0
        self.offered = False
        """Whether it stands in the queue for places."""
        self.timer: Timer | None = None
        self.handlers_timer: Timer | None = None

    @property
    def by_index(self) -> list[TaskRun]:
        return self.run.by_index


class Runs:
    """All live runs of the host. One thread; every method is one part of a turn."""

    def __init__(self, store: Store, clock: Clock, timers: Timers, max_tasks: int, zone: Zone) -> None:
        self.store = store
        self.clock = clock
        self.zone = zone
        self.timers = timers
        self.max_tasks = max_tasks
        self.live: dict[int, LiveRun] = {}
        self.of_workflow: dict[str, list[LiveRun]] = {}
        self.batch: Batch = store.batch()
        self.actions: list[Action] = []
        self.inside: list[Inside] = []
        """What is to be done about attempts that are no processes, still in this turn."""
        self.changed: set[int] = set()
        """Runs that something happened to in this turn."""
        self.ended: list[LiveRun] = []
        """Runs that ended in this turn; their workflows may have a place free."""
        self.ended_with_scratch: list[int] = []
        """Ended runs whose scratch folder is to be removed after the commit."""
        self._fresh_keys: dict[tuple[str, str], RunMeta] = {}
        """Keys of runs that are not committed yet."""
        self.artifact_path: Callable[[int, str, str], str] | None = None
        """(run, folder, name) to the path of a kept file, for expressions; None: they see none."""
        self.scratch_path: Callable[[int], str] | None = None
        """Run to its scratch folder, for expressions."""
        self._places: deque[LiveRun] = deque()
        self.active = 0
        """Attempts that hold a place of the host."""
        self._random: Callable[[], float] = random.random

    def committed(self) -> None:
        """The batch is durable: begin another."""
        self.batch = self.store.batch()
        self._fresh_keys.clear()

    # ---- Beginnings

    def create(self, meta: RunMeta, workflow: Workflow, created: RunCreated) -> LiveRun:
        """Record a new run, queued."""
        live = LiveRun(meta, engine.begin(meta.run, workflow, created), self.zone)
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
            run_id, workflow, digest, trigger, params, requested_by, rerun_of, scheduled_us, created_us = row[:9]
            meta = RunMeta(
                run=run_id, workflow=workflow, digest=digest, trigger=trigger, params=_params.decode(params),
                requested_by=requested_by, rerun_of=rerun_of, scheduled_us=scheduled_us, created_us=created_us,
                parent=row[9], parent_task=row[10] or "", depth=row[11],
            )  # fmt: skip
            live = LiveRun(meta, fold(run_id, workflow_of(digest), self.stored_events(run_id)), self.zone)
            self._enlist(live)
            self.active += live.run.held
            self._watch_time(live)
            self._watch_handlers(live)
            for task in live.by_index:
                if task.state is TaskState.RETRYING:
                    left_us = max(0, (task.retry_us or 0) - self.clock.wall_us())
                    repeat = task.definition.repeat
                    longest_s = max(task.definition.retry.max_delay_s, repeat.delay_s if repeat else 0.0)
                    self._wake_later(live, task, min(left_us, round(longest_s * US)))
            self._offer(live)

    def stored_events(self, run_id: int) -> list[StoredEvent]:
        return [_event.decode(row[0]) for row in self.store.rows("events_of_run", run_id)]

    def _enlist(self, live: LiveRun) -> None:
        self.live[live.meta.run] = live
        self.of_workflow.setdefault(live.meta.workflow, []).append(live)
        live.facts.artifact_path, live.facts.scratch_path = self.artifact_path, self.scratch_path
        self.changed.add(live.meta.run)

    def references(self, workflow: str) -> list[RunRef]:
        """The live runs of a workflow, oldest first, for the overlap rule."""
        return [
            RunRef(
                id=live.meta.run,
                state=live.run.state,
                by_schedule=live.meta.scheduled_us is not None and live.meta.parent is None,
            )
            for live in self.of_workflow.get(workflow, ())
        ]

    # ---- Events

    def feed(self, live: LiveRun, event: Event) -> None:
        """One event, and those that answer what the engine asks about it: all of them are of one transaction."""
        run = live.run
        held_before = run.held
        todo: deque[Event] = deque((event,))
        while todo:
            for effect in self._step(live, todo.popleft()):
                if isinstance(effect, Decide):
                    todo.append(decisions.decide(live.facts, effect, _at_us(event)))
                else:
                    self._follow(live, effect)
        self.active += run.held - held_before
        self.changed.add(run.run_id)
        if run.state in RUN_TERMINAL:
            self._delist(live)
        else:
            self._offer(live)

    def _step(self, live: LiveRun, event: Event) -> list[Effect]:
        """Step the engine, write the event and its fold."""
        run, batch = live.run, self.batch
        result = engine.step(run, event)
        batch.event(run.run_id, event)
        for task in result.changed:
            batch.task_changed(run, task, _at_us(event))
        if result.run_changed:
            batch.run_state(run)
        return result.effects

    def _follow(self, live: LiveRun, effect: Effect) -> None:
        match effect:
            case WakeTask():
                self._wake_later(live, live.run.tasks[effect.task], round(effect.delay_s * US))
            case StopAttempt():
                task = live.run.tasks[effect.task]
                if isinstance(task.definition.kind, ProcessKind):
                    self.actions.append(Stop(self.attempt_id(live.run, task), effect.grace_s))
                else:
                    self.inside.append(Inside(live, task, effect.grace_s))
            case WatchHandlers():
                self._watch_handlers(live)

    def attempt_running(self, attempt_id: str, pid: int, started_us: int) -> None:
        """The keeper says that an attempt runs. One that is not under way, or known to run, is passed over."""
        found = self.under_way(attempt_id)
        if found and found[1].attempt and found[1].attempt.state is AttemptState.STARTING:
            live, task = found
            self.feed(live, AttemptRunning(task.name, task.attempts, pid, started_us))
            self.batch.attempt_running(live.run, task, pid, started_us)

    def inside_running(
        self, live: LiveRun, task: TaskRun, called: int = 0, facts: dict[str, object] | None = None
    ) -> None:
        """An attempt that is no process is under way; `called`: the run that it waits for."""
        now_us = self.clock.wall_us()
        self.feed(live, AttemptRunning(task.name, task.attempts, 0, now_us, called, facts or {}))
        self.batch.attempt_running(live.run, task, 0, now_us)

    def attempt_ended(self, attempt_id: str, end: End, given: Given | None = None) -> None:
        """The keeper, recovery, or whoever ran it says how an attempt ended; acknowledged once it is committed.

        The end of another store's attempt is not ours to take: that store may come back for it.
        """
        if not self.is_ours(attempt_id):
            return
        found = self.under_way(attempt_id)
        if found:
            live, task = found
            now_us = self.clock.wall_us()
            number, mono_us = task.attempts, self.clock.mono_us()
            self.feed(live, AttemptEnded(task.name, number, now_us, mono_us, end, self._random(), given))
            self.batch.attempt_ended(live.run, task, now_us)
            if not isinstance(task.definition.kind, ProcessKind):
                return
        self.actions.append(Acknowledge(attempt_id))

    def cancel(self, live: LiveRun, by: str, reason: Reason = Reason.CANCELLED) -> None:
        self.feed(live, CancelRequested(self.clock.wall_us(), by, reason))

    def cancel_task(self, live: LiveRun, task: str, by: str) -> None:
        self.feed(live, TaskCancelRequested(task, self.clock.wall_us(), by))

    # ---- Places

    def _offer(self, live: LiveRun) -> None:
        if not live.offered and (live.run.ready or live.run.free):
            live.offered = True
            self._places.append(live)

    def fill(self, epoch: str) -> None:
        """Start queued tasks while the host has places free, runs taking turns."""
        passed_over = 0
        while passed_over < len(self._places):
            live = self._places[0]
            has_place = self.active < self.max_tasks
            task = live.run.next_ready(host_has_place=has_place)
            if task is not None:
                self._begin_attempt(live, task, epoch)
                self._places.rotate(-1)
                passed_over = 0
            elif has_place or not live.run.ready:
                self._places.popleft()
                live.offered = False
            else:
                self._places.rotate(-1)
                passed_over += 1

    def _begin_attempt(self, live: LiveRun, task: TaskRun, epoch: str) -> None:
        now_us = self.clock.wall_us()
        self.feed(live, AttemptStarting(task.name, task.attempts + 1, now_us, self.clock.mono_us(), epoch))
        self.batch.attempt_started(live.run, task, epoch, now_us)
        if isinstance(task.definition.kind, ProcessKind):
            self.actions.append(Launch(live, task))
        else:
            self.inside.append(Inside(live, task))

    # ---- Time

    def _wake_later(self, live: LiveRun, task: TaskRun, delay_us: int) -> None:
        def wake() -> None:
            if task.state is TaskState.RETRYING and live.run.state is RunState.RUNNING:
                self.feed(live, RetryDue(task.name, self.clock.wall_us()))

        self.timers.at(self.clock.mono_us() + delay_us, wake)

    def _watch_time(self, live: LiveRun) -> None:
        """Rule R1: the run's own time-out, on the boot-time clock; after a reboot it counts from the rebuild."""
        timeout_s = live.workflow.timeout_s
        if timeout_s is None or live.run.state is not RunState.RUNNING or live.run.section is not Section.TASKS:
            return

        def run_out() -> None:
            run = live.run
            if run.state is RunState.RUNNING and run.section is Section.TASKS and not run.stopping:
                self.feed(live, RunTimedOut(self.clock.wall_us()))

        now_us = self.clock.mono_us()
        due_us = min(live.run.started_mono_us, now_us) + round(timeout_s * US)
        live.timer = self.timers.at(due_us, run_out)

    def _watch_handlers(self, live: LiveRun) -> None:
        """Rule H2: each section of handlers has a budget of its own; over a restart it is counted by the wall clock."""
        section = live.run.section
        if section is Section.TASKS or live.run.state is not RunState.RUNNING:
            return

        def run_out() -> None:
            run = live.run
            if run.state is RunState.RUNNING and run.section is section and not run.stopping:
                self.feed(live, HandlersTimedOut(self.clock.wall_us()))

        if live.handlers_timer:
            live.handlers_timer.cancel()
        budget_us = round(live.workflow.handler_timeout_s * US)
        used_us = min(budget_us, max(0, self.clock.wall_us() - live.run.section_us))
        live.handlers_timer = self.timers.at(self.clock.mono_us() + budget_us - used_us, run_out)

    # ---- Ends

    def _delist(self, live: LiveRun) -> None:
        if self.live.pop(live.meta.run, None) is None:
            return
        others = self.of_workflow[live.meta.workflow]
        others.remove(live)
        if not others:
            del self.of_workflow[live.meta.workflow]
        for timer in (live.timer, live.handlers_timer):
            if timer:
                timer.cancel()
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
