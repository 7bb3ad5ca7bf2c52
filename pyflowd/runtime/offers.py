"""The queue for places of the host (`max_tasks`): runs with something to start take turns, the urgent ones first.

Places that runs share are in `places`. What becomes of a run whose turn it is it does not know.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from pyflowd.clock import Clock
from pyflowd.runtime.live import PRIORITY_US, LiveRun, Offer


class Offers:
    """`live` is the owner's. A run that has ended meanwhile is passed over."""

    def __init__(self, live: Mapping[int, LiveRun], clock: Clock) -> None:
        self._live = live
        self._clock = clock
        self._heap: list[tuple[float, int, int, Offer]] = []
        """By run, with offers that a better one stands for."""
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, live: LiveRun) -> None:
        """Let a run stand in the queue; one that has something more urgent by now stands further ahead."""
        priority = live.run.urgency()
        if priority is None or (live.offer is not None and priority <= live.offer.priority):
            return
        since_us = live.offer.since_us if live.offer else self._clock.mono_us()
        live.offer = Offer(since_us, priority)
        self._number += 1
        heapq.heappush(self._heap, (since_us - priority * PRIORITY_US, self._number, live.meta.run, live.offer))

    def next(self) -> LiveRun | None:
        """The run whose turn it is: the highest priority first, and of the same those who have waited longest."""
        while self._heap:
            _, _, run, offer = heapq.heappop(self._heap)
            live = self._live.get(run)
            if live is not None and live.offer is offer:
                live.offer = None
                return live
        return None

    def standing(self) -> list[LiveRun]:
        """All that stand in it, once each."""
        found = [(self._live.get(run), offer) for _, _, run, offer in self._heap]
        return [live for live, offer in found if live is not None and live.offer is offer]
