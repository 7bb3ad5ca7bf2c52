"""The last lines of an attempt, from its log to the host's journal.

An attempt's end may be committed before its last output is on the disk, so its log is looked at until the logger has
finished it. What is read is what the log holds: secrets are taken out of it already.
"""

from __future__ import annotations

import os

from pyflowd.base.captured import is_finished
from pyflowd.base.timers import Timers
from pyflowd.clock import US, Clock
from pyflowd.engine.outcomes import Outcome
from pyflowd.events import AttemptEnded
from pyflowd.journal import Journal
from pyflowd.keeper.journald import INFO, OUTPUT_ID, TASK_IDENTIFIER, WARNING, encode
from pyflowd.keeper.logindex import CUT_BLOCK_BYTES
from pyflowd.model.kinds import ProcessKind
from pyflowd.model.states import AttemptState
from pyflowd.model.workflow import Journal as Wanted
from pyflowd.model.workflow import Task
from pyflowd.render.journal_entries import Field
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.tasklogs import TaskLogs

LINES = 20
BYTES = 16_384
"""Of the end of a log; no more of it is looked at."""
_LOOK_FIRST_US = 2_000
_LOOK_FOR_US = 10 * US
"""The logger is at most a few milliseconds behind; one that is gone for good never finishes."""
_BAD = frozenset({AttemptState.FAILED, AttemptState.TIMED_OUT, AttemptState.UNKNOWN})


def wanted(task: Task, by_default: Wanted) -> Wanted:
    """What of a task's output goes to the journal."""
    return by_default if task.journal is None else task.journal


def whose(live: LiveRun, task: str, attempt: int) -> dict[str, str]:
    """Fields that tell whose output a line is."""
    return {
        "PYFLOW_WORKFLOW": live.meta.workflow,
        "PYFLOW_RUN": str(live.meta.run),
        "PYFLOW_TASK": task,
        "PYFLOW_ATTEMPT": str(attempt),
    }


class LastWords:
    """One thread. `by_default`: what of the output of tasks goes to the journal that say nothing of it."""

    def __init__(self, journal: Journal, logs: TaskLogs, timers: Timers, clock: Clock, by_default: Wanted) -> None:
        self.journal = journal
        self.by_default = by_default
        self._logs = logs
        self._timers = timers
        self._clock = clock

    def attempt_ended(self, live: LiveRun, event: AttemptEnded, outcome: Outcome) -> None:
        """Its last lines go to the journal if that is wanted: of an attempt that failed, and of all that is no process,
        whose output does not come by way of the logger."""
        node = live.run.tasks[event.task]
        want = wanted(node.definition, self.by_default)
        failed = outcome.state in _BAD
        streamed = isinstance(node.definition.kind, ProcessKind)
        if want is Wanted.NONE or (not failed if want is Wanted.FAILED else streamed):
            return
        fields: list[Field] = [
            ("MESSAGE_ID", OUTPUT_ID),
            ("PRIORITY", WARNING if failed else INFO),
            ("SYSLOG_IDENTIFIER", TASK_IDENTIFIER),
            *whose(live, event.task, event.attempt).items(),
        ]
        give_up_us = self._clock.mono_us() + _LOOK_FOR_US
        self._look(live.meta.run, node.log_name, event.attempt, fields, _LOOK_FIRST_US, give_up_us)

    def _look(self, run: int, log_name: str, attempt: int, fields: list[Field], pause_us: int, give_up_us: int) -> None:
        """Take the lines if all are there, else look again later, ever more seldom."""
        now_us = self._clock.mono_us()
        try:
            lines = self._read(run, log_name, attempt, late=now_us >= give_up_us)
        except OSError:
            return  # who asks for the log itself is told why
        if lines is None:
            again = lambda: self._look(run, log_name, attempt, fields, pause_us * 2, give_up_us)  # noqa: E731
            self._timers.at(min(now_us + pause_us, give_up_us), again)
            return
        for line in lines:
            self.journal.put(encode([("MESSAGE", line), *fields]))

    def _read(self, run: int, log_name: str, attempt: int, *, late: bool) -> list[bytes] | None:
        """None: the logger has not finished the log. Raises OSError."""
        descriptors = self._logs.open(run, log_name, attempt)
        if descriptors is None:
            return []
        log, index = descriptors
        try:
            return last_lines(log) if late or is_finished(index) else None
        finally:
            os.close(log)
            os.close(index)


def last_lines(log: int) -> list[bytes]:
    """Of a log by its descriptor: at most `LINES` of them, out of the last `BYTES`, behind what was left out of it."""
    start = max(0, os.fstat(log).st_size - BYTES)
    _, hole, tail = os.pread(log, BYTES, start).removesuffix(b"\n").rpartition(bytes(CUT_BLOCK_BYTES))
    lines = tail.lstrip(b"\0").split(b"\n") if tail else []
    if (start or hole) and len(lines) > 1:
        del lines[0]  # its beginning is not there
    return lines[-LINES:]
