"""Deadlines on the boot-time clock: one heap, no threads. Knows nothing of what it wakes."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timer:
    """One deadline; `cancel` is safe at any time."""

    __slots__ = ("callback", "due_us")

    def __init__(self, due_us: int, callback: Callable[[], None]) -> None:
        self.due_us = due_us
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Timers:
    """Deadlines in order."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = count()

    def at(self, due_us: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` when the boot-time clock has reached `due_us`."""
        timer = Timer(due_us, callback)
        heapq.heappush(self._heap, (due_us, next(self._order), timer))
        return timer

    def next_due_us(self) -> int | None:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def fire(self, now_us: int) -> int:
        """Call everything that is due; the number of calls."""
        fired = 0
        while (due := self.next_due_us()) is not None and due <= now_us:
            callback = heapq.heappop(self._heap)[2].callback
            if callback is not None:
                callback()
                fired += 1
        return fired
