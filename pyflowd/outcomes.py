"""What the end of an attempt means: its state, its reason, the facts behind it (rules R8, R10, S3 to S5). Pure."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import NamedTuple

from pyflowd.model import AttemptState, End, LostAttempt, Reason, StartFailure, Stop, Task


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


def judge(task: Task, end: End, stopping: Stopping) -> Outcome:
    """The outcome of an attempt that ended so (rules R8, R10, S4, S5). Total: every end has one."""
    if isinstance(end, LostAttempt):
        return Outcome(AttemptState.UNKNOWN, Reason.LOST, end.why.value)
    if isinstance(end, StartFailure):
        if end.errno == errno.ECANCELED:
            return Outcome(AttemptState.CANCELLED, Reason.CANCELLED)
        return Outcome(AttemptState.FAILED, Reason.START_FAILED, f"could not start: {end.message}")
    code, signal = end.exit_code, end.signal
    if end.stop is Stop.TIMEOUT:
        return Outcome(AttemptState.TIMED_OUT, Reason.TIMEOUT, "the time of the attempt ran out", code, signal)
    if end.stop is Stop.REQUEST:
        if stopping is Stopping.TIMEOUT:
            return Outcome(AttemptState.TIMED_OUT, Reason.TIMEOUT, "the time of the run ran out", code, signal)
        return Outcome(AttemptState.CANCELLED, Reason.CANCELLED, "", code, signal)
    if signal is not None:
        return Outcome(AttemptState.FAILED, Reason.SIGNAL, f"signal {signal}", None, signal)
    if code == 0 or code in task.success_codes:
        return Outcome(AttemptState.SUCCEEDED, None, "", code)
    if code in task.skip_codes:
        return Outcome(AttemptState.SUCCEEDED, Reason.SKIP_CODE, "", code)
    return Outcome(AttemptState.FAILED, Reason.EXIT_CODE, f"exit code {code}", code)


def cancelled_before_start(at_us: int) -> StartFailure:
    """The end of an attempt that was committed, but never asked of the keeper, in a run that is stopping."""
    return StartFailure(step="start", errno=errno.ECANCELED, message="cancelled before it started", at_us=at_us)
