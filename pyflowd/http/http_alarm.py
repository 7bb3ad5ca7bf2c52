"""Calls back after a time, from one thread that lives while somebody waits. Knows nothing of what is ended by it.

A time-out of a socket counts from one byte to the next: a server that drips is never late. So a request is bounded
from outside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyflowd.clock import US, Clock, SystemClock

_IDLE_S = 10.0


class Alarm:
    """One for all calls of a process; as many waits as there are threads in the pool."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._due: dict[object, tuple[int, Callable[[], None]]] = {}
        self._is_running = False

    @contextmanager
    def after(self, seconds: float, ring: Callable[[], None]) -> Iterator[None]:
        """`ring` is called after `seconds`, unless the block has ended by then; it must not block."""
        key = object()
        due_us = self._clock.mono_us() + int(seconds * US)
        with self._changed:
            is_next = all(due_us < other_us for other_us, _ in self._due.values())
            self._due[key] = due_us, ring
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._watch, name="pyflow-alarm", daemon=True).start()
            elif is_next:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._due.pop(key, None)

    def _watch(self) -> None:
        with self._changed:
            idle = False
            while self._due or not idle:
                now_us = self._clock.mono_us()
                for key, (due_us, ring) in list(self._due.items()):
                    if due_us <= now_us:
                        del self._due[key]
                        ring()
                next_us = min((due_us for due_us, _ in self._due.values()), default=None)
                rang = self._changed.wait(_IDLE_S if next_us is None else max(0.0, (next_us - now_us) / US))
                idle = next_us is None and not rang
            self._is_running = False


ALARM = Alarm(SystemClock())
