"""Retry decisions (rules R1, R2, R4), pure: which outcome is tried again, and after how long."""

from __future__ import annotations

from pyflowd.engine.outcomes import Outcome
from pyflowd.model.ends import CallEnd, End, RunEnd
from pyflowd.model.states import AttemptState, Reason, RunState
from pyflowd.model.workflow import Backoff, Jitter, Retry

NEVER_RETRIED = frozenset({Reason.START_FAILED, Reason.EXPRESSION_ERROR, Reason.REJECTED})
"""Rule R4: what is wrong with them is not mended by time."""
NOT_RETRIED_BY_DEFAULT = frozenset({126, 127})
"""Rule R4: a program that is missing or cannot be executed will not be there a minute later."""


def delay_s(retry: Retry, tried: int, random: float) -> float:
    """Seconds before the next attempt after `tried` attempts (rule R2); `random` is uniform in [0, 1)."""
    if retry.backoff is Backoff.EXPONENTIAL:
        try:
            raw = retry.delay_s * retry.factor ** (tried - 1)
        except OverflowError:
            raw = retry.max_delay_s
    elif retry.backoff is Backoff.LINEAR:
        raw = retry.delay_s * tried
    else:
        raw = retry.delay_s
    bounded = min(retry.max_delay_s, raw)
    return bounded * random if retry.jitter is Jitter.FULL else bounded


SHORTAGE_TRIES = 9
_SHORTAGE_FIRST_S, _SHORTAGE_MAX_S = 0.25, 60.0


def shortage_delay_s(failed: int, random: float) -> float | None:
    """Seconds until a start is tried again that failed so many times in a row for want of processes, descriptors or
    memory; None after one to two minutes of it. Part of the delay is drawn: whoever waits for the same does not come
    back at once.
    """
    if failed >= SHORTAGE_TRIES:
        return None
    return min(_SHORTAGE_MAX_S, _SHORTAGE_FIRST_S * 2.0 ** (failed - 1)) * (1 + random) / 2


def is_retried(policy: Retry, outcome: Outcome, end: End) -> bool:
    """Whether an attempt that ended so may be tried again, attempts permitting (rules R3, R4)."""
    if outcome.state is AttemptState.TIMED_OUT:
        return True
    if outcome.state is not AttemptState.FAILED or outcome.reason in NEVER_RETRIED:
        return False
    match end:
        case CallEnd():
            if policy.on_status is not None and end.status is not None:
                return end.status in policy.on_status
            return end.transient
        case RunEnd():
            return end.run > 0 and end.state is RunState.FAILED  # a cancel is never retried
        case _:
            return _is_code_retried(policy, outcome.exit_code)


def _is_code_retried(policy: Retry, exit_code: int | None) -> bool:
    if exit_code is None:
        return True
    if policy.on_exit is not None:
        return exit_code in policy.on_exit
    return exit_code not in NOT_RETRIED_BY_DEFAULT
