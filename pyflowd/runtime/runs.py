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

from pyflowd.base.timers import Timer, Timers
from pyflowd.base.zones import Zone
from pyflowd.clock import US, Clock
from pyflowd.engine import engine
from pyflowd.engine.holdings import RUN, Who
from pyflowd.engine.outcomes import Outcome
from pyflowd.engine.overlap import RunRef
from pyflowd.engine.state import Decide, Effect, IllegalEvent, Run, StopAttempt, TaskRun, WakeTask, WatchHandlers
from pyflowd.errors import Refused
from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    CancelRequested,
    Event,
    HandlersTimedOut,
    RetryDue,
    RunCreated,
    RunRefused,
    RunStarted,
    RunTimedOut,
    StoredEvent,
    TaskCancelRequested,
    TaskRefused,
)
from pyflowd.model.ends import End, Given
from pyflowd.model.kinds import ProcessKind, Reboot
from pyflowd.model.states import RUN_TERMINAL, AttemptState, Reason, RunState, Section, TaskState
from pyflowd.model.workflow import Workflow
from pyflowd.runtime import decisions
from pyflowd.runtime.aside import Aside
from pyflowd.runtime.cache import Recall
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.offers import Offers
from pyflowd.runtime.sharing import Named, Sharing
from pyflowd.store.batch import Batch, RunMeta
from pyflowd.store.store import Row, Store

STUCK_LOOK_US = US
"""How long those who hold something may wait before we look whether they wait for themselves."""

UNREADABLE = (IllegalEvent, msgspec.MsgspecError, AssertionError, LookupError, ValueError, TypeError, Refused)
"""What events raise that tell no run, or rows that make no sense."""
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


class Runs:
    """All live runs of the host. One thread; every method is one part of a turn."""

    def __init__(self, store: Store, clock: Clock, timers: Timers, max_tasks: int, zone: Zone) -> None:
        self.store = store
        self.clock = clock
        self.zone = zone
        self.timers = timers
        self.max_tasks = max_tasks
        self.boot_id = ""
        """Of the host's present boot, as the keeper tells it."""
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
        self.aside = Aside()
        self._delisted: dict[int, LiveRun] = {}
        """Ended runs whose end is not committed yet."""
        self._fresh_keys: dict[tuple[str, str], RunMeta] = {}
        """Keys of runs that are not committed yet."""
        self.artifact_path: Callable[[int, str, str], str] | None = None
        """(run, folder, name) to the path of a kept file, for expressions; None: they see none."""
        self.scratch_path: Callable[[int], str] | None = None
        """Run to its scratch folder, for expressions."""
        self.recall = Recall(store)
        """Earlier successes that are used again."""
        self.sharing = Sharing(self.live, clock)
        self.places = self.sharing.places
        self.let_in: Callable[[LiveRun], None] = self.start
        """Called when a run has got the places that it holds from its start on."""
        self._stuck_timer: Timer | None = None
        self._offers = Offers(self.live, clock)
        """Runs with something to start; served ones go to the back."""
        self.active = 0
        """Attempts that hold a place of the host."""
        self.drained = ""
        """Why no task of the host may start, in words; empty: they may."""
        self._random: Callable[[], float] = random.random

    def committed(self) -> None:
        """The batch is durable: begin another."""
        self.batch = self.store.batch()
        self._fresh_keys.clear()
        self._delisted.clear()

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
        live.admitted = True
        self.feed(live, RunStarted(self.clock.wall_us(), self.clock.mono_us()))
        self._watch_time(live)

    def refuse(self, live: LiveRun, reason: Reason, error: str) -> None:
        """None of a queued run's tasks may begin; its handlers do, without the places that it wanted."""
        live.admitted = True
        self.sharing.leave(live)
        self.feed(live, RunRefused(self.clock.wall_us(), self.clock.mono_us(), reason, error))

    def rebuild(self, workflow_of: Callable[[str], Workflow]) -> None:
        """Fold the stored events of every run that had not ended when the daemon last was there. One that cannot be
        read is set aside.
        """
        for row in list(self.store.rows("live_runs")):
            try:
                live = self._read(row, workflow_of)
            except UNREADABLE as error:
                self.aside.put(row[0], row[1], f"{type(error).__name__}: {error}")
                continue
            self._enlist(live)
            self._find_caller(live)
            self.sharing.take_up(live)
            self.active += live.run.held
            self._watch_time(live)
            self._watch_handlers(live)
            for task in live.by_index:
                if task.state is TaskState.RETRYING:
                    left_us = max(0, (task.retry_us or 0) - self.clock.wall_us())
                    repeat = task.definition.repeat
                    longest_s = max(task.definition.retry.max_delay_s, repeat.delay_s if repeat else 0.0)
                    self._wake_later(live, task, min(left_us, round(longest_s * US)))
            self._offers.add(live)

    def _read(self, row: Row, workflow_of: Callable[[str], Workflow]) -> LiveRun:
        """A run from its row, its definition and its events. Raises what is UNREADABLE."""
        run_id, workflow, digest, trigger, params, requested_by, rerun_of, scheduled_us, created_us = row[:9]
        run = fold(run_id, workflow_of(digest), self.stored_events(run_id))
        meta = RunMeta(
            run=run_id, workflow=workflow, digest=digest, trigger=trigger, params=_params.decode(params),
            requested_by=requested_by, rerun_of=rerun_of, scheduled_us=scheduled_us, created_us=created_us,
            parent=row[9], parent_task=row[10] or "", depth=row[11], backfill=row[12], event=self.event_of(run_id),
            of_slot_us=run.kept.of_slot_us, of_trigger=run.kept.of_trigger,
        )  # fmt: skip
        return LiveRun(meta, run, self.zone)

    def event_of(self, run: int) -> dict[str, object] | None:
        """What started a run of the store, where that was an event."""
        row = self.store.one_or_none("run_event", run)
        return None if row is None else _params.decode(row[0])

    def _find_caller(self, live: LiveRun) -> None:
        """The task that waits for a run, if one does; callers have lower numbers, so they are there already."""
        parent = self.live.get(live.meta.parent or 0)
        if parent is None:
            return
        for task in parent.by_index:
            if task.attempt and task.attempt.called == live.meta.run and task.state is TaskState.RUNNING:
                live.caller = parent, task

    def stored_events(self, run_id: int) -> list[StoredEvent]:
        return [_event.decode(row[0]) for row in self.store.rows("events_of_run", run_id)]

    def _enlist(self, live: LiveRun) -> None:
        self.live[live.meta.run] = live
        self.of_workflow.setdefault(live.meta.workflow, []).append(live)
        live.facts.artifact_path, live.facts.scratch_path = self.artifact_path, self.scratch_path
        live.admitted = live.run.state is RunState.RUNNING
        self.sharing.came_or_went(live)
        self.changed.add(live.meta.run)

    def references(self, workflow: str) -> list[RunRef]:
        """The live runs of a workflow, oldest first, for the overlap rule."""
        return [
            RunRef(
                id=live.meta.run,
                state=live.run.state,
                by_schedule=live.meta.scheduled_us is not None and not (live.meta.parent or live.meta.backfill),
                by_backfill=live.meta.backfill is not None,
            )
            for live in self.of_workflow.get(workflow, ())
        ]

    # ---- Events

    def feed(self, live: LiveRun, event: Event) -> None:
        """One event, and those that answer what the engine asks about it: all of them are of one transaction."""
        run = live.run
        held_before, active_before = run.held, run.active
        todo: deque[Event | Decide] = deque((event,))
        while todo:
            due = todo.popleft()
            if isinstance(due, Decide):
                if not engine.is_asked(run, due):
                    continue
                due = decisions.decide(live.facts, due, _at_us(event), self.recall)
            for effect in self._step(live, due):
                if isinstance(effect, Decide):
                    todo.append(effect)
                else:
                    self._follow(live, effect)
        self.active += run.held - held_before
        if run.active < active_before or run.held < held_before:
            self.places.stir()
        self.changed.add(run.run_id)
        if run.state in RUN_TERMINAL:
            self._delist(live)
        else:
            self._offers.add(live)

    def _step(self, live: LiveRun, event: Event) -> list[Effect]:
        """Step the engine, write the event and its fold."""
        run, batch = live.run, self.batch
        result = engine.step(run, event)
        batch.event(run.run_id, event, _outcome(run, event))
        for task in result.changed:
            batch.task_changed(run, task, _at_us(event))
            if task.shared:
                self.sharing.changed(live, task)
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

        The end of another store's attempt is not ours to take: that store may come back for it. Nor is that of a run
        that is set aside.
        """
        if not self.is_ours(attempt_id) or self.aside.ended(attempt_id):
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

    # ---- Places of the host: `max_tasks`

    def fill(self, epoch: str) -> None:
        """Start what is queued while there are places free, runs taking turns."""
        self._grant(epoch)
        while self.active < self.max_tasks and (live := self._offers.next()):
            task = live.run.next_ready(host_has_place=True)
            if task is not None:
                self._begin_attempt(live, task, epoch)  # it is offered again by that, behind the others
        for live in [live for live in self._offers.standing() if live.needs_no_host]:
            while (task := live.run.next_ready(host_has_place=False)) is not None:
                self._begin_attempt(live, task, epoch)

    # ---- Places that runs share

    def _grant(self, epoch: str) -> None:
        """Let those begin who have got their places; again as long as that changes who may."""
        again = True
        while again:
            again = False
            for who in self.places.grant(self._can_begin, self._has_place):
                live = self.live[who.run]
                again = True
                if who.node == RUN:
                    self.let_in(live)
                else:
                    self._begin_attempt(live, live.by_index[who.node], epoch)
        if self._stuck_timer is None and self.places.may_be_stuck:
            self._stuck_timer = self.timers.at(self.clock.mono_us() + STUCK_LOOK_US, self._look_for_circles)

    def why_queued(self, live: LiveRun, named: Named) -> str:
        """What a run waits for that its own workflow does not hold back; empty where it is about to start."""
        if self.drained:
            return f"the host to be undrained: {self.drained}"
        return self.sharing.waits_for(live.meta.run, named) or (f"its gate: {live.run.gate}" if live.run.gate else "")

    def waits_of(self, run: int, named: Named) -> Callable[[int], str]:
        """A function from the number of a queued node to what it waits for; one answer serves all items."""
        live = self.live.get(run)
        known: dict[str, str] = {}

        def why(node: int) -> str:
            if live is None or node >= len(live.by_index) or live.by_index[node].state is not TaskState.QUEUED:
                return ""
            task = live.by_index[node]
            name = task.definition.name
            if name not in known:
                known[name] = self._why_task_queued(live, task, named)
            return known[name]

        return why

    def _why_task_queued(self, live: LiveRun, task: TaskRun, named: Named) -> str:
        if self.drained:
            return f"the host to be undrained: {self.drained}"
        for_places = self.sharing.waits_for(live.meta.run, named, task.index)
        if for_places:
            return for_places
        if task.holds_run and live.run.active >= live.workflow.max_parallel:
            return f"another task of the run to end: max_parallel is {live.workflow.max_parallel}"
        if task.holds_host and self.active >= self.max_tasks:
            return f"another task of the host to end: max_tasks is {self.max_tasks}"
        return ""

    def _can_begin(self, who: Who) -> bool:
        """Whether its run has a place for it, too."""
        if who.node == RUN:
            return True
        live = self.live[who.run]
        return not live.by_index[who.node].holds_run or live.run.active < live.workflow.max_parallel

    def _has_place(self) -> bool:
        return self.active < self.max_tasks

    def _look_for_circles(self) -> None:
        """Called runs that wait for each other's places would do so for ever: the last that came is refused."""
        self._stuck_timer = None
        who = self.places.stuck()
        if who is not None:
            live = self.live[who.run]
            now_us, error = (
                self.clock.wall_us(),
                f"it waits for itself: {self.sharing.waits_for(who.run, str, who.node)}",
            )
            if who.node == RUN:
                self.refuse(live, Reason.DEADLOCK, error)
            else:
                self.feed(live, TaskRefused(live.by_index[who.node].name, now_us, Reason.DEADLOCK, error))
        if self.places.may_be_stuck:
            self._stuck_timer = self.timers.at(self.clock.mono_us() + STUCK_LOOK_US, self._look_for_circles)

    def _begin_attempt(self, live: LiveRun, task: TaskRun, epoch: str) -> None:
        now_us = self.clock.wall_us()
        boot_id = self.boot_id if isinstance(task.definition.kind, Reboot) else ""
        self.feed(live, AttemptStarting(task.name, task.attempts + 1, now_us, self.clock.mono_us(), epoch, boot_id))
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
        self.sharing.leave(live)
        self.sharing.came_or_went(live)
        self.ended.append(live)
        self._delisted[live.meta.run] = live

    def of_turn(self, run: int) -> LiveRun | None:
        """A run that lives, or that ended in this turn."""
        return self.live.get(run) or self._delisted.get(run)

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


def _outcome(run: Run, event: Event) -> Outcome | None:
    """How the attempt ended of whose end the engine has just been told."""
    attempt = run.tasks[event.task].attempt if isinstance(event, AttemptEnded) else None
    return attempt.outcome if attempt else None


def _at_us(event: Event) -> int:
    return event.started_us if isinstance(event, AttemptRunning) else event.at_us
