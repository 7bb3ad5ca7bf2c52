"""Retry decisions (rules R1, R2, R4), pure: which outcome is tried again, and after how long."""

from __future__ import annotations

from pyflowd.model import AttemptState, Backoff, Jitter, Reason, Retry

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


def is_retried(retry: Retry, state: AttemptState, reason: Reason | None, exit_code: int | None) -> bool:
    """Whether an attempt that ended so may be tried again, attempts permitting (rules R3, R4)."""
    if state is AttemptState.TIMED_OUT:
        return True
    if state is not AttemptState.FAILED or reason is Reason.START_FAILED:
        return False
    if exit_code is None:
        return True
    if retry.on_exit is not None:
        return exit_code in retry.on_exit
    return exit_code not in NOT_RETRIED_BY_DEFAULT
