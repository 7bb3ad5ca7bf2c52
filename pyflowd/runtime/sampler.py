"""Live figures of running attempts: one pass over the machine's processes, grouped by session.

Every attempt is a session of its own, so its figures are the sums over the processes of that session; psutil's own
recursion per task would be quadratic (1 s for 100 tasks). Exit figures come from `wait4`, not from here.
"""

from __future__ import annotations

import os

from pyflowd.clock import US
from pyflowd.engine.state import TaskRun
from pyflowd.model.states import TaskState
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Runs

SPARSER = 20
"""An attempt is sampled when a twentieth of its age has passed: 20 samples for each factor e of its duration."""


class Sampler:
    """Takes a pass when asked; keeps the newest figures of each live attempt."""

    def __init__(self, runs: Runs, interval_s: float) -> None:
        self.runs = runs
        self.interval_us = round(interval_s * US)
        self._newest: dict[int, dict[str, tuple[int, int]]] = {}
        self.taken_us = 0
        """When the newest figures were taken (wall clock)."""
        self._taken_us: dict[tuple[int, int, int], int] = {}

    def of_run(self, run: int) -> dict[str, tuple[int, int]]:
        """Task to (CPU microseconds, resident bytes) as last seen."""
        return self._newest.get(run, {})

    def take(self) -> None:
        """One pass; writes what is due into the turn's batch. About 1 us for each process of the machine."""
        members: dict[int, tuple[LiveRun, TaskRun]] = {}
        for live in self.runs.live.values():
            if live.run.active:
                for task in live.by_index:
                    if task.state is TaskState.RUNNING and task.attempt and task.attempt.pid:
                        members[task.attempt.pid] = (live, task)
        sums = _sums(set(members)) if members else {}
        self._newest = {}
        taken: dict[tuple[int, int, int], int] = {}
        now_us = self.taken_us = self.runs.clock.wall_us()
        for session, (cpu_us, rss_bytes) in sums.items():
            live, task = members[session]
            run = live.meta.run
            self._newest.setdefault(run, {})[task.name] = (cpu_us, rss_bytes)
            key = (run, task.index, task.attempts)
            last_us = self._taken_us.get(key, 0)
            started_us = task.attempt.started_us if task.attempt else now_us
            if now_us - last_us >= max(self.interval_us, (now_us - started_us) // SPARSER):
                self.runs.batch.add("sample", *key, now_us, cpu_us, rss_bytes)
                last_us = now_us
            taken[key] = last_us
        self._taken_us = taken


def _sums(sessions: set[int]) -> dict[int, tuple[int, int]]:
    """Session id to (CPU microseconds, resident bytes) over its living processes."""
    import psutil  # costs 10 ms and memory; only long tasks are sampled

    sums: dict[int, tuple[int, int]] = {}
    for pid in psutil.pids():
        try:
            session = os.getsid(pid)
            if session not in sessions:
                continue
            process = psutil.Process(pid)
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
        except (psutil.Error, OSError):
            continue  # it ended while we looked
        spent_us = round((times.user + times.system + times.children_user + times.children_system) * US)
        cpu_us, rss_bytes = sums.get(session, (0, 0))
        sums[session] = (cpu_us + spent_us, rss_bytes + memory.rss)
    return sums
