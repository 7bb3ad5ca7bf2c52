"""The engine: decides what a run does next. Pure: no I/O, no clock, no randomness of its own, no threads.

`step(run, event)` advances a `Run` in place and says what follows; the same events always lead to the same run, so a
run is rebuilt after a crash by folding its stored events (rule I6). An event that is not legal in the run's present
state raises `IllegalEvent` and changes nothing. The cost of a finished task grows with its children, not with the
graph. Times are wall-clock microseconds (`at_us`, for people) and boot-time microseconds (`mono_us`, for durations,
rule R11), both carried by the events.

A task moves by named moves only, and the table below has all of them:

    waiting ── ready ──► queued ── start ──► running ── succeed | fail | cancel | skip ──► (terminal)
       │                   ▲  ▲                │  │
       │                   │  └──── again ─────┘  └── retry ──► retrying
       │                   └────────────────────────── ready ──────┘
       └── skip | block | keep ──► (terminal)       cancel ends whatever is not running
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, assert_never

from pyflowd import retry
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
)
from pyflowd.model import (
    ATTEMPT_TERMINAL,
    RUN_TERMINAL,
    TASK_TERMINAL,
    AttemptState,
    End,
    Exit,
    OnLost,
    Reason,
    RunState,
    Task,
    TaskState,
    TriggerRule,
    Workflow,
)
from pyflowd.outcomes import Outcome, Stopping, judge

S = TaskState

MOVES: dict[str, dict[TaskState, TaskState]] = {
    "ready": {S.WAITING: S.QUEUED, S.RETRYING: S.QUEUED},
    "start": {S.QUEUED: S.RUNNING},
    "succeed": {S.RUNNING: S.SUCCEEDED},
    "fail": {S.RUNNING: S.FAILED},
    "retry": {S.RUNNING: S.RETRYING},
    "again": {S.RUNNING: S.QUEUED},
    "skip": {S.WAITING: S.SKIPPED, S.RUNNING: S.SKIPPED},
    "block": {S.WAITING: S.UPSTREAM_FAILED},
    "cancel": {
        S.WAITING: S.CANCELLED,
        S.QUEUED: S.CANCELLED,
        S.RETRYING: S.CANCELLED,
        S.RUNNING: S.CANCELLED,
    },
    "keep_succeeded": {S.WAITING: S.SUCCEEDED},
    "keep_skipped": {S.WAITING: S.SKIPPED},
}


class IllegalEvent(Exception):
    """The event cannot happen in the run's present state: a fault of the caller. Nothing was changed."""


# ---- Effects: what must be done, after the commit -------------------------------------------------------------------


class StopAttempt(NamedTuple):
    """Run the stop sequence of rule R5; a grace of 0 kills at once."""

    task: str
    attempt: int
    grace_s: float


class WakeTask(NamedTuple):
    """Feed RetryDue after `delay_s`."""

    task: str
    delay_s: float


Effect = StopAttempt | WakeTask


class Step(NamedTuple):
    """What one event led to: tasks whose state changed (in order), effects, whether the run's state changed."""

    changed: list[TaskRun]
    effects: list[Effect]
    run_changed: bool


# ---- State ----------------------------------------------------------------------------------------------------------


class Attempt:
    """One try. `outcome` is None until it ends."""

    __slots__ = ("end", "number", "outcome", "pid", "started_us", "state")

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = AttemptState.STARTING
        self.pid = 0
        self.started_us = 0
        self.end: End | None = None
        self.outcome: Outcome | None = None


class TaskRun:
    """A task in a run, with what its join needs: how many direct parents are open, and how the others ended."""

    __slots__ = (
        "attempt", "attempts", "bad", "children", "definition", "error", "first_mono_us", "index", "ok", "open_parents",
        "reason", "retry_us", "skipped", "state", "tried",
    )  # fmt: skip

    def __init__(self, index: int, definition: Task) -> None:
        self.index = index
        self.definition = definition
        self.state = S.WAITING
        self.reason: Reason | None = None
        self.error = ""
        self.children: list[TaskRun] = []
        self.open_parents = len(definition.needs)
        self.ok = 0
        self.skipped = 0
        self.bad = 0
        self.attempt: Attempt | None = None
        self.attempts = 0
        self.tried = 0
        """Attempts that count against `retry.attempts`: lost ones do not (rule R6)."""
        self.first_mono_us = 0
        self.retry_us: int | None = None

    @property
    def name(self) -> str:
        return self.definition.name


class Run:
    """The state of one run: made by `begin`, changed by `step` only."""

    __slots__ = (
        "active", "cancel_reason", "cancels", "created_us", "ended_us", "error", "first_bad", "kept", "open", "ready",
        "reason", "run_id", "started_mono_us", "started_us", "state", "stopping", "tasks", "workflow",
    )  # fmt: skip

    def __init__(self, run_id: int, workflow: Workflow) -> None:
        self.run_id = run_id
        self.workflow = workflow
        self.state = RunState.QUEUED
        self.reason: Reason | None = None
        self.error = ""
        self.created_us = 0
        self.started_us: int | None = None
        self.started_mono_us = 0
        self.ended_us: int | None = None
        self.kept: dict[str, TaskState] = {}
        self.stopping = Stopping.NO
        self.cancels = 0
        self.cancel_reason = Reason.CANCELLED
        self.tasks = {task.name: TaskRun(index, task) for index, task in enumerate(workflow.tasks)}
        for task in self.tasks.values():
            for need in task.definition.needs:
                self.tasks[need].children.append(task)
        self.ready: deque[TaskRun] = deque()
        """Queued tasks in the order in which they became eligible; others may stand in it (see `next_ready`)."""
        self.active = 0
        """Tasks that hold a place: `running` ones."""
        self.open = len(self.tasks)
        """Tasks that are not terminal."""
        self.first_bad: TaskRun | None = None

    def next_ready(self) -> TaskRun | None:
        """The task to start next, if the run has a place free (`max_parallel`); it stays in the queue."""
        while self.ready and self.ready[0].state is not S.QUEUED:
            self.ready.popleft()
        if self.ready and self.active < self.workflow.max_parallel:
            return self.ready[0]
        return None


def begin(run_id: int, workflow: Workflow, created: RunCreated) -> Run:
    """The run as it is right after its creation: queued, nothing decided."""
    run = Run(run_id, workflow)
    run.created_us = created.at_us
    run.kept = created.kept
    return run


def step(run: Run, event: Event) -> Step:
    """Advance `run` by `event`. Raises IllegalEvent, with nothing changed, where the event is not legal now."""
    turn = _Turn(run)
    match event:
        case AttemptEnded():
            _attempt_ended(turn, event)
        case AttemptStarting():
            _attempt_starting(turn, event)
        case AttemptRunning():
            _attempt_running(turn, event)
        case RetryDue():
            _retry_due(turn, event)
        case RunStarted():
            _run_started(turn, event)
        case CancelRequested():
            _cancel(turn, event)
        case RunTimedOut():
            _time_out(turn, event)
        case RunCreated():
            raise IllegalEvent(f"run {run.run_id} exists already")
        case _:
            assert_never(event)
    return Step(turn.changed, turn.effects, turn.run_changed)


class _Turn:
    """One step under way: what it has changed so far, and which ends have still to reach the children."""

    __slots__ = ("changed", "effects", "run", "run_changed", "settled")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.changed: list[TaskRun] = []
        self.effects: list[Effect] = []
        self.run_changed = False
        self.settled: deque[TaskRun] = deque()

    def move(self, task: TaskRun, name: str, reason: Reason | None = None, error: str = "") -> None:
        """Apply one named move of the table, with what follows from it for the run's counts."""
        run = self.run
        before = task.state
        after = MOVES[name].get(before)
        if after is None:
            raise IllegalEvent(f'run {run.run_id}, task "{task.name}": cannot {name} while {before}')
        task.state, task.reason, task.error = after, reason, error
        if before is S.RUNNING:
            run.active -= 1
        if after is S.RUNNING:
            run.active += 1
        elif after is S.QUEUED:
            run.ready.append(task)
        elif after in TASK_TERMINAL:
            run.open -= 1
            self.settled.append(task)
            if run.first_bad is None and not counts_as_ok(task) and after is not S.SKIPPED:
                run.first_bad = task
        self.changed.append(task)


def counts_as_ok(task: TaskRun) -> bool:
    """Whether a terminal task's effective state is `succeeded` (rules S6, J3)."""
    return task.state is S.SUCCEEDED or (task.state is S.FAILED and task.definition.continue_on_error)


# ---- One function per event -----------------------------------------------------------------------------------------


def _legal(run: Run, task: str, state: TaskState, event: str) -> TaskRun:
    found = run.tasks.get(task)
    if found is None or run.state is not RunState.RUNNING or found.state is not state:
        now = "not there" if found is None else found.state
        raise IllegalEvent(f'run {run.run_id} ({run.state}), task "{task}": {event} while {now}')
    return found


def _run_started(turn: _Turn, event: RunStarted) -> None:
    run = turn.run
    if run.state is not RunState.QUEUED:
        raise IllegalEvent(f"run {run.run_id}: run_started while {run.state}")
    run.state, run.started_us, run.started_mono_us = RunState.RUNNING, event.at_us, event.mono_us
    turn.run_changed = True
    for name, state in run.kept.items():
        turn.move(run.tasks[name], f"keep_{state}", Reason.KEPT)
    for task in run.tasks.values():
        if not task.open_parents and task.state is S.WAITING:
            turn.move(task, "ready")
    _spread(turn, event.at_us)


def _attempt_starting(turn: _Turn, event: AttemptStarting) -> None:
    task = _legal(turn.run, event.task, S.QUEUED, "attempt_starting")
    if event.attempt != task.attempts + 1:
        raise IllegalEvent(f'run {turn.run.run_id}, task "{task.name}": attempt {event.attempt} after {task.attempts}')
    if not task.attempts:
        task.first_mono_us = event.mono_us
    task.attempts = event.attempt
    task.attempt = Attempt(event.attempt)
    task.attempt.started_us = event.at_us
    task.retry_us = None
    turn.move(task, "start")


def _attempt_running(turn: _Turn, event: AttemptRunning) -> None:
    task = _legal(turn.run, event.task, S.RUNNING, "attempt_running")
    attempt = _current(turn.run, task, event.attempt)
    if attempt.state is not AttemptState.STARTING:
        raise IllegalEvent(f'run {turn.run.run_id}, task "{task.name}": attempt {event.attempt} is running already')
    attempt.state, attempt.pid, attempt.started_us = AttemptState.RUNNING, event.pid, event.started_us


def _attempt_ended(turn: _Turn, event: AttemptEnded) -> None:
    run = turn.run
    task = _legal(run, event.task, S.RUNNING, "attempt_ended")
    attempt = _current(run, task, event.attempt)
    outcome = judge(task.definition, event.end, run.stopping)
    attempt.state, attempt.end, attempt.outcome = outcome.state, event.end, outcome
    if isinstance(event.end, Exit):
        attempt.started_us = event.end.started_us
    if outcome.state is not AttemptState.UNKNOWN:
        task.tried += 1
    _follow(turn, task, outcome, event)
    _spread(turn, event.at_us)


def _follow(turn: _Turn, task: TaskRun, outcome: Outcome, event: AttemptEnded) -> None:
    """What an attempt's outcome means for its task: terminal, retried, or started again."""
    stopping = turn.run.stopping
    policy = task.definition.retry
    if outcome.state is AttemptState.SUCCEEDED:
        turn.move(task, "skip" if outcome.reason else "succeed", outcome.reason)
    elif outcome.state is AttemptState.CANCELLED:
        turn.move(task, "cancel", outcome.reason)
    elif outcome.state is AttemptState.UNKNOWN and policy.on_lost is OnLost.RETRY and not stopping:
        turn.move(task, "again")
    else:
        delay = None if stopping else _retry_delay_s(task, outcome, event)
        if delay is None:
            turn.move(task, "fail", outcome.reason, outcome.error)
        else:
            task.retry_us = event.at_us + round(delay * 1_000_000)
            turn.move(task, "retry", outcome.reason, outcome.error)
            turn.effects.append(WakeTask(task.name, delay))


def _retry_delay_s(task: TaskRun, outcome: Outcome, event: AttemptEnded) -> float | None:
    """Seconds until the next attempt, or None where there is none (rules R1, R2, R4)."""
    policy = task.definition.retry
    if task.tried >= policy.attempts or not retry.is_retried(policy, outcome.state, outcome.reason, outcome.exit_code):
        return None
    delay = retry.delay_s(policy, task.tried, event.random)
    elapsed = max(0, event.mono_us - task.first_mono_us) / 1_000_000
    if policy.max_elapsed_s is not None and elapsed + delay >= policy.max_elapsed_s:
        return None
    return delay


def _retry_due(turn: _Turn, event: RetryDue) -> None:
    turn.move(_legal(turn.run, event.task, S.RETRYING, "retry_due"), "ready")


def _cancel(turn: _Turn, event: CancelRequested) -> None:
    run = turn.run
    if run.state in RUN_TERMINAL:
        raise IllegalEvent(f"run {run.run_id}: cancel_requested while {run.state}")
    run.cancels += 1
    if run.cancels == 1:
        run.cancel_reason = event.reason
    _stop(turn, Stopping.CANCEL, Reason.CANCELLED, event.at_us, at_once=run.cancels > 1)


def _time_out(turn: _Turn, event: RunTimedOut) -> None:
    run = turn.run
    if run.state is not RunState.RUNNING or run.stopping:
        raise IllegalEvent(f"run {run.run_id}: run_timed_out while {run.state} {run.stopping}")
    _stop(turn, Stopping.TIMEOUT, Reason.TIMEOUT, event.at_us, at_once=False)


def _stop(turn: _Turn, why: Stopping, reason: Reason, at_us: int, *, at_once: bool) -> None:
    """Rule R3: back-off ends, what is queued or waiting is cancelled, what runs is stopped."""
    run = turn.run
    run.stopping = why
    for task in run.tasks.values():
        if task.state is S.RUNNING:
            grace_s = 0.0 if at_once else task.definition.kill_grace_s
            turn.effects.append(StopAttempt(task.name, task.attempts, grace_s))
        elif task.state not in TASK_TERMINAL:
            turn.move(task, "cancel", reason)
    _spread(turn, at_us)


# ---- Joins (rules J1 to J3) and the end (rule S7) -------------------------------------------------------------------


def _spread(turn: _Turn, at_us: int) -> None:
    """Tell the children of every settled task, then theirs; settle the run when nothing is open."""
    while turn.settled:
        task = turn.settled.popleft()
        ok = counts_as_ok(task)
        for child in task.children:
            child.open_parents -= 1
            if ok:
                child.ok += 1
            elif task.state is S.SKIPPED:
                child.skipped += 1
            else:
                child.bad += 1
            if not child.open_parents and child.state is S.WAITING:
                turn.move(child, *join(child))
    run = turn.run
    if not run.open and run.state not in RUN_TERMINAL:
        run.state, run.reason, run.error = verdict(run)
        run.ended_us = at_us
        turn.run_changed = True


def join(task: TaskRun) -> tuple[str, Reason | None]:
    """The move of a task whose direct parents are all terminal, and its reason (rules J1 to J3, on effective states).

    A rule that cannot hold because something went wrong blocks; one that cannot hold though nothing went wrong skips.
    """
    rule, ok, skipped, bad = task.definition.trigger_rule, task.ok, task.skipped, task.bad
    match rule:
        case TriggerRule.ALL_OK:
            holds = not bad and ok > 0
        case TriggerRule.ALL_SUCCESS:
            holds = not bad and not skipped
        case TriggerRule.NONE_FAILED:
            holds = not bad
        case TriggerRule.ANY_SUCCESS:
            holds = ok > 0
        case TriggerRule.ANY_FAILED:
            if not bad:
                return "skip", Reason.NO_UPSTREAM_FAILED
            holds = True
        case TriggerRule.ALL_DONE:
            holds = True
        case _:
            assert_never(rule)
    if holds:
        return "ready", None
    return ("block", Reason.UPSTREAM_FAILED) if bad else ("skip", Reason.UPSTREAM_SKIPPED)


def verdict(run: Run) -> tuple[RunState, Reason | None, str]:
    """State, reason and facts of a run whose tasks are all terminal (rule S7)."""
    if run.stopping is Stopping.CANCEL:
        return RunState.CANCELLED, run.cancel_reason, ""
    if run.stopping is Stopping.TIMEOUT:
        return RunState.FAILED, Reason.TIMEOUT, "the time of the run ran out"
    bad = run.first_bad
    if bad is not None:
        return RunState.FAILED, Reason.TASK_FAILED, f"{bad.name}: {bad.error or bad.reason or bad.state}"
    return RunState.SUCCEEDED, None, ""


# ---- Attempts -------------------------------------------------------------------------------------------------------


def _current(run: Run, task: TaskRun, number: int) -> Attempt:
    attempt = task.attempt
    if attempt is None or attempt.number != number or attempt.state in ATTEMPT_TERMINAL:
        raise IllegalEvent(f'run {run.run_id}, task "{task.name}": attempt {number} is not the one under way')
    return attempt


def attempt_timeout_s(task: TaskRun, mono_us: int) -> float | None:
    """Seconds that the attempt about to start may take: its own time-out, and what is left of `max_elapsed` (R1)."""
    own, whole = task.definition.timeout_s, task.definition.retry.max_elapsed_s
    if whole is None:
        return own
    used = max(0, mono_us - task.first_mono_us) / 1_000_000 if task.attempts else 0.0
    left = max(0.001, whole - used)
    return left if own is None else min(own, left)
