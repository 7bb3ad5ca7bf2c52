"""What is kept of the past: runs, their logs, slots, by age, count and bytes. Removal is done here and is an event.

The newest ended run of a workflow is always kept, live runs are never touched. Work is cut into small pieces, one a
turn, so that a large clean-up delays nothing; folders are unlinked by the janitor.
"""

from __future__ import annotations

import math
from collections import deque

from pyflowd.clock import US
from pyflowd.events import HistoryRemoved
from pyflowd.model.workflow import Retention
from pyflowd.runtime.janitor import Janitor
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.tasklogs import TaskLogs
from pyflowd.runtime.workflows import Workflows
from pyflowd.store.batch import Batch

RUNS_PER_PIECE = 100
AUDIT_PER_PIECE = 5_000
"""Records of the audit, each time that all is looked at."""
PAUSE_US = 20_000
"""Between two pieces, so that others have their turns."""


class Retirement:
    """Takes the expired away, a piece at a time."""

    def __init__(self, runs: Runs, workflows: Workflows, logs: TaskLogs, janitor: Janitor, default: Retention) -> None:
        self.runs = runs
        self.workflows = workflows
        self.logs = logs
        self.janitor = janitor
        self.default = default
        self.audit_age_s = math.inf
        """How long the record of who did what is kept."""
        self._todo: deque[tuple[str, Retention]] = deque()
        self._removed: list[int] = []
        self._batch: Batch | None = None
        """That the removal of `_removed` was written into."""

    def begin(self) -> None:
        """Look at every workflow that has runs, one a turn from now on."""
        if self._todo:
            return
        for (name,) in list(self.runs.store.rows("run_workflows")):
            entry = self.workflows.entries.get(name)
            self._todo.append((name, (entry and entry.head.retention) or self.default))
        self._later()

    def _later(self) -> None:
        self.runs.timers.at(self.runs.clock.mono_us() + PAUSE_US, self._go_on)

    def _go_on(self) -> None:
        """The turn before has committed: its logs may go. Then the next piece."""
        if self._batch is self.runs.batch:  # not committed yet: the disk is full
            self._later()
            return
        self._batch = None
        self.runs.recall.leaving = frozenset()
        for run in self._removed:
            self.janitor.remove(run)
        self._removed = []
        if not self._todo:
            if self.default.age_s is not None:
                before_us = self.runs.clock.wall_us() - round(self.default.age_s * US)
                self.runs.batch.add("prune_host_events", before_us)
                self.runs.batch.add("prune_changes", before_us)
                self.runs.batch.add("prune_backfills", before_us)
                self.runs.batch.add("prune_expectations", before_us)
            self._prune_audit()
            self.runs.batch.add("prune_definitions")
            self.runs.batch.add("prune_cache_expired", self.runs.clock.wall_us())
            return
        name, policy = self._todo.popleft()
        gone = expired(self.runs, self.logs, name, policy)
        if len(gone) > RUNS_PER_PIECE:
            self._todo.appendleft((name, policy))
        piece = gone[:RUNS_PER_PIECE]
        if piece:
            _remove(self.runs, name, piece)
            self._removed, self._batch = piece, self.runs.batch
            self.runs.recall.leaving = frozenset(piece)
        if policy.age_s is not None:
            before_us = self.runs.clock.wall_us() - round(policy.age_s * US)
            self.runs.batch.add("prune_slots", name, before_us)
        self._later()

    def _prune_audit(self) -> None:
        if math.isfinite(self.audit_age_s):
            before_us = self.runs.clock.wall_us() - round(self.audit_age_s * US)
            self.runs.batch.add("prune_audit", before_us, AUDIT_PER_PIECE)


def expired(runs: Runs, logs: TaskLogs, workflow: str, policy: Retention) -> list[int]:
    """Ended runs of a workflow that its policy no longer keeps, the oldest first; never the newest ended one.

    Nor one whose files a live run has taken over: it may be about to read them.
    """
    ended = [row[0] for row in runs.store.rows("ended_runs", workflow)]
    gone: set[int] = set()
    if policy.runs is not None:
        gone.update(ended[max(1, policy.runs) :])
    if policy.age_s is not None:
        before_us = runs.clock.wall_us() - round(policy.age_s * US)
        gone.update(row[0] for row in runs.store.rows("ended_runs_before", workflow, before_us, -1))
    if policy.log_bytes is not None:
        total = 0
        for run in ended:
            if run not in gone:
                total += logs.run_bytes(run)
                if total > policy.log_bytes:
                    gone.add(run)
    gone.difference_update(ended[:1])
    return sorted(gone - _in_use(runs)) if gone else []


def _in_use(runs: Runs) -> set[int]:
    """The runs in whose folders live ones have files."""
    found: set[int] = set()
    for live in runs.live.values():
        taken = (*live.run.kept.artifacts.values(), *(node.artifacts for node in live.by_index))
        found.update(file.run for files in taken for file in files.values())
    return found


def _remove(runs: Runs, workflow: str, some: list[int]) -> None:
    """Write the removal of runs into the turn's batch, with the event that says so (rule I6)."""
    for run in some:
        for statement in (
            "prune_samples",
            "prune_artifacts",
            "prune_attempts",
            "prune_tasks",
            "prune_cache",
            "prune_events",
            "prune_run_event",
            "prune_run",
        ):
            runs.batch.add(statement, run)
    runs.batch.host_event(HistoryRemoved(runs.clock.wall_us(), workflow, len(some), some[-1]))
