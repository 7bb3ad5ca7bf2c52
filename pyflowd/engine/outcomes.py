"""What the end of an attempt means: its state, its reason, the facts behind it (rules R8, R10, S3 to S5). Pure."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import NamedTuple, assert_never

from pyflowd.model.ends import (
    Answer,
    CallEnd,
    End,
    Exit,
    Given,
    HostRestarted,
    LostAttempt,
    RunEnd,
    StartFailure,
    Stop,
    Stopped,
    Waited,
)
from pyflowd.model.states import AttemptState, Reason
from pyflowd.model.workflow import Task
from pyflowd.units import size_written

EXPRESSION = "expression"
"""The step of a start that evaluates what the definition says."""
SECRET = "secret"  # noqa: S105  (a step of a start)
"""The step of a start that fetches secrets."""


class Stopping(StrEnum):
    """Why a run takes no new task."""

    NO = ""
    CANCEL = "cancel"
    TIMEOUT = "timeout"


class Outcome(NamedTuple):
    """How an attempt ended: state, reason, and the facts behind it for people (rule S4)."""

    state: AttemptState
    reason: Reason | None = None
    error: str = ""
    exit_code: int | None = None
    signal: int | None = None


def judge(task: Task, end: End, stopping: Stopping, given: Given | None = None) -> Outcome:
    """The outcome of an attempt that ended so (rules R8, R10, S4, S5). Total: every end has one.

    `given` is what the attempt gave on: a success whose outputs are not as declared is a failure.
    """
    outcome = _of_end(task, end, stopping)
    if given is None:
        return outcome
    if outcome.state is AttemptState.SUCCEEDED and given.error and outcome.reason is None:
        return outcome._replace(state=AttemptState.FAILED, reason=Reason.OUTPUT_INVALID, error=given.error)
    if outcome.reason is Reason.EXIT_CODE and given.said:
        return outcome._replace(error=given.said)
    return outcome


def _of_end(task: Task, end: End, stopping: Stopping) -> Outcome:
    match end:
        case Exit():
            return _of_exit(task, end, stopping)
        case StartFailure():
            if end.errno == errno.ECANCELED:
                return Outcome(AttemptState.CANCELLED, Reason.CANCELLED)
            if end.step == EXPRESSION:
                return Outcome(AttemptState.FAILED, Reason.EXPRESSION_ERROR, end.message)
            if end.step == SECRET:
                return Outcome(AttemptState.FAILED, Reason.SECRET_MISSING, end.message)
            return Outcome(AttemptState.FAILED, Reason.START_FAILED, f"could not start: {end.message}")
        case LostAttempt():
            return Outcome(AttemptState.UNKNOWN, Reason.LOST, end.why.value)
        case HostRestarted():
            return Outcome(AttemptState.SUCCEEDED)
        case Stopped():
            return _of_stop(end.stop, stopping)
        case CallEnd():
            if end.stop:
                return _of_stop(end.stop, stopping)
            return _of_error(Reason.CALL_FAILED, end.error)
        case RunEnd():
            if end.stop:
                return _of_stop(end.stop, stopping)
            return _of_error(Reason.RUN_FAILED, end.error)
        case Answer():
            if end.skip:
                return Outcome(AttemptState.SUCCEEDED, Reason.TIMEOUT)
            why = f"rejected by {end.by}" if end.by else "nobody answered in time"
            comment = f": {end.comment}" if end.comment else ""
            return _of_error(Reason.REJECTED, "" if end.approved else why + comment)
        case Waited():
            if end.skip:
                return Outcome(AttemptState.SUCCEEDED, Reason.TIMEOUT)
            if end.timed_out:
                return Outcome(AttemptState.TIMED_OUT, Reason.TIMEOUT, end.error)
            return _of_error(Reason.CALL_FAILED, end.error)
        case _:
            assert_never(end)


def _of_error(reason: Reason, error: str) -> Outcome:
    return Outcome(AttemptState.FAILED, reason, error) if error else Outcome(AttemptState.SUCCEEDED)


def _of_stop(stop: Stop, stopping: Stopping, code: int | None = None, signal: int | None = None) -> Outcome:
    """What somebody stopped: a time-out, of the attempt or of the run, or a cancel."""
    if stop is Stop.SHUTDOWN:
        how = f"signal {signal}" if signal is not None else f"exit code {code}"
        return Outcome(AttemptState.UNKNOWN, Reason.LOST, f"stopped with the keeper; {how}", code, signal)
    if stop is Stop.TIMEOUT:
        return Outcome(AttemptState.TIMED_OUT, Reason.TIMEOUT, "the time of the attempt ran out", code, signal)
    if stopping is Stopping.TIMEOUT:
        return Outcome(AttemptState.TIMED_OUT, Reason.TIMEOUT, "the time of the run ran out", code, signal)
    return Outcome(AttemptState.CANCELLED, Reason.CANCELLED, "", code, signal)


def _of_exit(task: Task, end: Exit, stopping: Stopping) -> Outcome:
    code, signal = end.exit_code, end.signal
    if end.stop is not Stop.NONE:
        return _of_stop(end.stop, stopping, code, signal)
    if code == 0 or code in task.success_codes:
        return Outcome(AttemptState.SUCCEEDED, None, "", code)
    if code in task.skip_codes:
        return Outcome(AttemptState.SUCCEEDED, Reason.SKIP_CODE, "", code)
    if end.oom_kills:
        return Outcome(AttemptState.FAILED, Reason.OOM, _out_of_memory(task), code, signal)
    if signal is not None:
        return Outcome(AttemptState.FAILED, Reason.SIGNAL, f"signal {signal}", None, signal)
    return Outcome(AttemptState.FAILED, Reason.EXIT_CODE, _refused(task, end) or f"exit code {code}", code)


def _out_of_memory(task: Task) -> str:
    most = task.resources.memory_max_bytes if task.resources else None
    if most:
        return f"out of memory (memory_max {size_written(most)}): the kernel killed it"
    return "out of memory (the host's, or that of a cgroup above): the kernel killed a process of it"


def _refused(task: Task, end: Exit) -> str:
    most = task.resources.tasks_max if task.resources else None
    if not most or not end.tasks_refused:
        return ""
    return f"tasks_max {most} kept it from {end.tasks_refused} more processes or threads"


def cancelled_before_start(at_us: int) -> StartFailure:
    """The end of an attempt that was committed, but never asked of the keeper, in a run that is stopping."""
    return StartFailure(step="start", errno=errno.ECANCELED, message="cancelled before it started", at_us=at_us)
