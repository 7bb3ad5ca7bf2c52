"""What several pages of one account show at the same moment is made once: fifty open dashboards ask the daemon as one.

Only for parts that a page fetches by itself, and fetches no sooner than `AGE_S` after what happened (`data-pause` in
live.js): so what it gets was begun after that. Whoever opens a page is answered anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from pyflowd.errors import PyflowError

AGE_S = 1.0
"""From the begin of its making on."""
WAIT_S = 30.0
"""Longest wait for what another request makes."""
V = TypeVar("V")


class _Made(Generic[V]):
    def __init__(self, begun_s: float) -> None:
        self.begun_s = begun_s
        self.done = threading.Event()
        self.value: V | None = None
        self.error: PyflowError | None = None


class Shared(Generic[V]):
    """Safe for threads. The key names everything that the value depends on, whose rights above all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._made: dict[Hashable, _Made[V]] = {}

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """What was begun within the last second, or is being made. Raises what `make` does, for all who wait."""
        now_s = self._clock()
        with self._lock:
            self._made = {known: each for known, each in self._made.items() if now_s - each.begun_s <= AGE_S}
            found = self._made.get(key)
            is_mine = found is None
            if found is None:
                found = self._made[key] = _Made(now_s)
        if is_mine:
            try:
                found.value = make()
            except PyflowError as error:
                found.error = error
            finally:
                found.done.set()
        else:
            found.done.wait(WAIT_S)
        if found.error is not None:
            raise found.error
        return make() if found.value is None else found.value
