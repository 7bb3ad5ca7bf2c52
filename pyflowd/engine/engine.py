"""The engine: decides what a run does next. Pure: no I/O, no clock, no randomness of its own, no threads.

`step(run, event)` advances a `Run` in place and says what follows; the same events always lead to the same run, so a
run is rebuilt after a crash by folding its stored events (rule I6). An event that is not legal in the run's present
state raises `IllegalEvent` and changes nothing. The cost of a finished task grows with its children, not with the
graph. Times are wall-clock microseconds (`at_us`, for people) and boot-time microseconds (`mono_us`, for durations,
rule R11), both carried by the events.

Expressions are not evaluated here: the engine says `Decide`, and what they came to is an event (`ConditionDecided`,
`Expanded`, `CacheDecided`, `RepeatDecided`, `OutputsDecided`), stored like any other, so that a newer version folds it
to the same run. Who is to answer asks `is_asked` first: an answer that came before may have settled the task.

The state and its moves are in `state`, joins in `joins`, items in `fanout`, the order of the sections in `sections`.
"""

from __future__ import annotations

from typing import assert_never

from pyflowd.clock import from_us
from pyflowd.engine import fanout, retry
from pyflowd.engine.joins import ask, conditions_met, eligible
from pyflowd.engine.outcomes import Outcome, Stopping, judge
from pyflowd.engine.sections import in_progress, settle
from pyflowd.engine.state import (
    Attempt,
    Decide,
    IllegalEvent,
    Keep,
    Question,
    Run,
    S,
    Step,
    StopAttempt,
    TaskRun,
    Turn,
    WakeTask,
)
from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    CacheDecided,
    CancelRequested,
    ConditionDecided,
    Event,
    Expanded,
    GateClosed,
    HandlersTimedOut,
    OutputsDecided,
    RepeatDecided,
    RetryDue,
    RunCreated,
    RunRefused,
    RunStarted,
    RunTimedOut,
    TaskCancelRequested,
    TaskRefused,
)
from pyflowd.model.ends import CallEnd, Exit, HostRestarted, LostAttempt, StartFailure
from pyflowd.model.states import (
    ATTEMPT_TERMINAL,
    RUN_TERMINAL,
    TASK_TERMINAL,
    AttemptState,
    Reason,
    RunState,
    Section,
    TaskState,
)
from pyflowd.model.workflow import OnLost, Workflow


def begin(run_id: int, workflow: Workflow, created: RunCreated) -> Run:
    """The run as it is right after its creation: queued, nothing decided."""
    return Run(run_id, workflow, created)


def step(run: Run, event: Event) -> Step:
    """Advance `run` by `event`. Raises IllegalEvent, with nothing changed, where the event is not legal now."""
    turn = Turn(run)
    match event:
        case AttemptEnded():
            _attempt_ended(turn, event)
        case AttemptStarting():
            _attempt_starting(turn, event)
        case AttemptRunning():
            _attempt_running(turn, event)
        case RetryDue():
            _retry_due(turn, event)
        case ConditionDecided():
            _condition_decided(turn, event)
        case Expanded():
            _expanded(turn, event)
        case CacheDecided():
            _cache_decided(turn, event)
        case RepeatDecided():
            _repeat_decided(turn, event)
        case OutputsDecided():
            _outputs_decided(turn, event)
        case RunStarted():
            _run_started(turn, event)
        case CancelRequested():
            _cancel(turn, event)
        case TaskCancelRequested():
            _cancel_task(turn, event)
        case RunTimedOut():
            _time_out(turn, event)
        case HandlersTimedOut():
            _handlers_time_out(turn, event)
        case GateClosed():
            _gate_closed(turn, event)
        case RunRefused():
            _run_refused(turn, event)
        case TaskRefused():
            turn.move(_legal(turn.run, event.task, S.QUEUED, "task_refused"), "fail", event.reason, event.error)
        case RunCreated():
            raise IllegalEvent(f"run {run.run_id} exists already")
        case _:
            assert_never(event)
    settle(turn, event.started_us if isinstance(event, AttemptRunning) else event.at_us)
    return Step(turn.changed, turn.effects, turn.run_changed)


def _legal(run: Run, task: str, state: TaskState, event: str) -> TaskRun:
    found = run.tasks.get(task)
    if found is None or run.state is not RunState.RUNNING or found.state is not state:
        now = "not there" if found is None else found.state
        raise IllegalEvent(f'run {run.run_id} ({run.state}), task "{task}": {event} while {now}')
    return found


# ---- Runs -----------------------------------------------------------------------------------------------------------


def _queued(run: Run, event: str) -> None:
    if run.state is not RunState.QUEUED:
        raise IllegalEvent(f"run {run.run_id}: {event} while {run.state}")


def _gate_closed(turn: Turn, event: GateClosed) -> None:
    run = turn.run
    _queued(run, "gate_closed")
    run.gate, run.gate_us = event.why, run.gate_us or event.at_us


def _leave_queue(turn: Turn, event: RunStarted | RunRefused) -> list[TaskRun]:
    """The run is under way from now on; its tasks."""
    run = turn.run
    run.state, run.started_us, run.started_mono_us, run.gate = RunState.RUNNING, event.at_us, event.mono_us, ""
    turn.run_changed = True
    return run.by_index[: len(run.workflow.tasks)]


def _run_refused(turn: Turn, event: RunRefused) -> None:
    _queued(turn.run, "run_refused")
    turn.run.refused = event.reason, event.error
    for task in _leave_queue(turn, event):
        turn.move(task, "cancel", event.reason)


def _run_started(turn: Turn, event: RunStarted) -> None:
    run = turn.run
    _queued(run, "run_started")
    tasks = _leave_queue(turn, event)
    for task in tasks:
        state = run.kept.kept.get(task.name)
        if task.name in run.kept.not_asked:
            turn.move(task, "skip", Reason.NOT_ASKED)
        elif state is not None:
            if state is TaskState.SUCCEEDED:
                task.outputs = run.kept.outputs.get(task.name, {})
                task.artifacts = run.kept.artifacts.get(task.name, {})
            fanout.keep(turn, task)
            turn.move(task, f"keep_{state}", Reason.KEPT)
    for task in tasks:
        if not task.open_parents and task.state is S.WAITING:
            eligible(turn, task)


def _cancel(turn: Turn, event: CancelRequested) -> None:
    run = turn.run
    if run.state in RUN_TERMINAL:
        raise IllegalEvent(f"run {run.run_id}: cancel_requested while {run.state}")
    run.cancels += 1
    if not run.cancelled:
        run.cancelled, run.cancel_reason = True, event.reason
    if run.cancels == 1 and run.section in (Section.UNDO, Section.FINALLY):
        turn.run_changed = True
        return  # they are what has to happen after a cancel; who wants to stop them, too, asks again
    _stop(turn, Stopping.CANCEL, Reason.CANCELLED, at_once=run.cancels > 1)


def _time_out(turn: Turn, event: RunTimedOut) -> None:
    run = turn.run
    if run.state is not RunState.RUNNING or run.stopping or run.section is not Section.TASKS:
        raise IllegalEvent(f"run {run.run_id}: run_timed_out while {run.state} {run.section} {run.stopping}")
    run.timed_out = True
    _stop(turn, Stopping.TIMEOUT, Reason.TIMEOUT, at_once=False)


def _handlers_time_out(turn: Turn, event: HandlersTimedOut) -> None:
    run = turn.run
    if run.state is not RunState.RUNNING or run.stopping or run.section is Section.TASKS:
        raise IllegalEvent(f"run {run.run_id}: handlers_timed_out while {run.state} {run.section} {run.stopping}")
    _stop(turn, Stopping.TIMEOUT, Reason.TIMEOUT, at_once=False)


def _stop(turn: Turn, why: Stopping, reason: Reason, *, at_once: bool) -> None:
    """Rule R3, for the present section: back-off ends, what is queued or waiting is cancelled, what runs is stopped."""
    run = turn.run
    run.stopping = why
    for task in in_progress(run):
        if task.fan is not None:
            task.fan.stopped = True
            task.fan.waiting.clear()
        elif task.state is S.RUNNING:
            grace_s = 0.0 if at_once else task.definition.kill_grace_s
            turn.effects.append(StopAttempt(task.name, task.attempts, grace_s))
        elif task.state not in TASK_TERMINAL:
            turn.move(task, "cancel", reason)


def _cancel_task(turn: Turn, event: TaskCancelRequested) -> None:
    run = turn.run
    task = run.tasks.get(event.task)
    if task is None or run.state is not RunState.RUNNING or task.state in TASK_TERMINAL or task not in in_progress(run):
        raise IllegalEvent(f'run {run.run_id} ({run.state}), task "{event.task}": task_cancel_requested')
    fanout.stop_node(turn, task, Reason.CANCELLED, at_once=bool(task.stopping))


def _outputs_decided(turn: Turn, event: OutputsDecided) -> None:
    run = turn.run
    if run.section is not Section.TASKS or run.outcome is not RunState.SUCCEEDED or run.outputs is not None:
        raise IllegalEvent(f"run {run.run_id}: outputs_decided while {run.state} {run.section}")
    run.outputs = event.outputs
    if event.error:
        run.outcome, run.reason, run.error = RunState.FAILED, Reason.EXPRESSION_ERROR, f"outputs: {event.error}"
    turn.run_changed = True


# ---- Decisions ------------------------------------------------------------------------------------------------------


def is_asked(run: Run, asked: Decide) -> bool:
    """Whether the answer to a question is still waited for."""
    return not asked.task or run.tasks[asked.task].deciding is asked.question


def _asked(turn: Turn, name: str, question: Question) -> TaskRun:
    task = turn.run.tasks.get(name)
    if task is None or task.deciding is not question:
        raise IllegalEvent(f'run {turn.run.run_id}, task "{name}": nobody asked for its {question}')
    task.deciding = None
    return task


def _condition_decided(turn: Turn, event: ConditionDecided) -> None:
    task = _asked(turn, event.task, Question.CONDITION)
    task.facts = event.values
    if event.error:
        turn.move(task, "fail", Reason.EXPRESSION_ERROR, f"if: {event.error}")
    elif event.holds:
        conditions_met(turn, task)
    else:
        turn.move(task, "skip", Reason.CONDITION_FALSE)


def _expanded(turn: Turn, event: Expanded) -> None:
    task = _asked(turn, event.task, Question.ITEMS)
    if event.error:
        turn.move(task, "fail", Reason.EXPRESSION_ERROR, f"for_each: {event.error}")
    else:
        fanout.expand(turn, task, event.items)


def _cache_decided(turn: Turn, event: CacheDecided) -> None:
    task = _asked(turn, event.task, Question.CACHE)
    if event.error:
        turn.move(task, "fail", Reason.EXPRESSION_ERROR, f"cache: {event.error}")
    elif event.run:
        task.outputs, task.artifacts = event.outputs, event.artifacts
        age_s = max(0, event.at_us - event.made_us) // 1_000_000
        task.facts = {**(task.facts or {}), "cache": {"run": event.run, "age_s": age_s, "key": event.key}}
        turn.move(task, "succeed", Reason.CACHED)
    else:
        task.keep = Keep(event.key, event.recipe)
        turn.move(task, "ready")


def _repeat_decided(turn: Turn, event: RepeatDecided) -> None:
    task = _asked(turn, event.task, Question.REPEAT)
    repeat = task.definition.repeat
    assert repeat is not None
    task.facts = event.values
    if event.error:
        turn.move(task, "fail", Reason.EXPRESSION_ERROR, f"repeat: {event.error}")
    elif not event.again:
        turn.move(task, "succeed")
    elif task.passes >= repeat.max:
        turn.move(task, "fail", Reason.REPEAT_EXHAUSTED, f"not so after {task.passes} passes")
    else:
        task.tried = 0
        _retry_later(turn, task, repeat.delay_s, event.at_us, None, "")


# ---- Attempts -------------------------------------------------------------------------------------------------------


def _attempt_starting(turn: Turn, event: AttemptStarting) -> None:
    task = _legal(turn.run, event.task, S.QUEUED, "attempt_starting")
    if event.attempt != task.attempts + 1:
        raise IllegalEvent(f'run {turn.run.run_id}, task "{task.name}": attempt {event.attempt} after {task.attempts}')
    if not task.attempts:
        task.first_mono_us = event.mono_us
    task.attempts = event.attempt
    task.attempt = Attempt(event.attempt, event.epoch, event.boot_id)
    task.attempt.started_us = event.at_us
    task.retry_us = None
    turn.move(task, "start")


def _attempt_running(turn: Turn, event: AttemptRunning) -> None:
    task = _legal(turn.run, event.task, S.RUNNING, "attempt_running")
    attempt = _current(turn.run, task, event.attempt)
    if attempt.state is not AttemptState.STARTING:
        raise IllegalEvent(f'run {turn.run.run_id}, task "{task.name}": attempt {event.attempt} is running already')
    attempt.state, attempt.pid, attempt.started_us = AttemptState.RUNNING, event.pid, event.started_us
    attempt.called = event.called
    if event.facts:
        task.facts = {**(task.facts or {}), **event.facts}
        turn.changed.append(task)


def _attempt_ended(turn: Turn, event: AttemptEnded) -> None:
    run = turn.run
    task = _legal(run, event.task, S.RUNNING, "attempt_ended")
    attempt = _current(run, task, event.attempt)
    outcome = judge(task.definition, event.end, run.stopping or task.stopping, event.given)
    attempt.state, attempt.end, attempt.outcome = outcome.state, event.end, outcome
    if isinstance(event.end, (Exit, CallEnd)):
        attempt.started_us = event.end.started_us
    elif isinstance(event.end, HostRestarted):
        task.facts = {**(task.facts or {}), **_facts_of_restart(event.end)}
    short = isinstance(event.end, StartFailure) and event.end.shortage
    task.short = task.short + 1 if short else 0
    if outcome.state is not AttemptState.UNKNOWN and not short:
        task.tried += 1
    given = event.given
    if given is not None:
        if outcome.state is AttemptState.SUCCEEDED:
            task.outputs, task.artifacts = given.outputs, given.artifacts
        if given.facts:
            task.facts = {**(task.facts or {}), **given.facts}
    _follow(turn, task, outcome, event)


def _follow(turn: Turn, task: TaskRun, outcome: Outcome, event: AttemptEnded) -> None:
    """What an attempt's outcome means for its task: terminal, retried, or started again."""
    stopping = turn.run.stopping or task.stopping
    again = isinstance(event.end, LostAttempt) and event.end.again
    lost = outcome.state is AttemptState.UNKNOWN
    if outcome.state is AttemptState.SUCCEEDED:
        if outcome.reason is None:
            _succeeded(turn, task)
        else:
            turn.move(task, "skip", outcome.reason)
    elif outcome.state is AttemptState.CANCELLED:
        turn.move(task, "cancel", task.stop_reason if task.stopping else outcome.reason)
    elif lost and (again or task.definition.retry.on_lost is OnLost.RETRY) and not stopping:
        turn.move(task, "again")
    else:
        delay_s = None if stopping else _retry_delay_s(task, outcome, event)
        if delay_s is None:
            turn.move(task, "fail", outcome.reason, outcome.error)
        else:
            _retry_later(turn, task, delay_s, event.at_us, outcome.reason, outcome.error)


def _facts_of_restart(end: HostRestarted) -> dict[str, object]:
    return {
        "boot_before": end.boot_before,
        "boot_after": end.boot_after,
        "booted_at": from_us(end.booted_us).isoformat(timespec="seconds"),
    }


def _succeeded(turn: Turn, task: TaskRun) -> None:
    if task.outputs is None:
        task.outputs = {}
    if task.definition.repeat is None or turn.run.stopping or task.stopping:
        turn.move(task, "succeed")
    else:
        task.passes += 1
        ask(turn, task, Question.REPEAT)


def _retry_later(turn: Turn, task: TaskRun, delay_s: float, at_us: int, reason: Reason | None, error: str) -> None:
    task.retry_us = at_us + round(delay_s * 1_000_000)
    turn.move(task, "retry", reason, error)
    turn.effects.append(WakeTask(task.name, delay_s))
    if fanout.is_item(task):
        fanout.step_back(turn, task)


def _retry_delay_s(task: TaskRun, outcome: Outcome, event: AttemptEnded) -> float | None:
    """Seconds until the next attempt, or None where there is none (rules R1, R2, R4)."""
    policy = task.definition.retry
    if task.short:
        return retry.shortage_delay_s(task.short, event.random)
    if task.tried >= policy.attempts or not retry.is_retried(policy, outcome, event.end):
        return None
    delay_s = retry.delay_s(policy, task.tried, event.random)
    if isinstance(event.end, CallEnd) and event.end.retry_after_s is not None:
        delay_s = max(delay_s, min(event.end.retry_after_s, policy.max_delay_s))
    elapsed_s = max(0, event.mono_us - task.first_mono_us) / 1_000_000
    if policy.max_elapsed_s is not None and elapsed_s + delay_s >= policy.max_elapsed_s:
        return None
    return delay_s


def _retry_due(turn: Turn, event: RetryDue) -> None:
    task = _legal(turn.run, event.task, S.RETRYING, "retry_due")
    if fanout.is_item(task):
        fanout.back_in_line(turn, task)
    else:
        turn.move(task, "ready")


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
