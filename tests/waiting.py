"""Waiting for what no event tells of: the one place in the tests that sleeps. Knows nothing of what is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

FIRST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.05


def wait_until(condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = 30.0) -> Any:
    """The first true value of `condition`. Fails after `timeout_s` with `what`, which may be a function: it is called
    then, and can say how things stand at that moment.
    """
    end = time.monotonic() + timeout_s
    pause_s = FIRST_PAUSE_S
    while not (found := condition()):
        if time.monotonic() >= end:
            raise AssertionError(f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 1.3)
    return found
