"""Unlinks the folders of runs, in a thread that waits only on the disk. What may go is decided elsewhere."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from pyflowd.runtime.scratch import Scratch
from pyflowd.runtime.tasklogs import TaskLogs


class Janitor:
    """A thread that removes folders, one after the other."""

    def __init__(self, logs: TaskLogs, scratch: Scratch) -> None:
        self._logs = logs
        self._scratch = scratch
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def remove(self, run: int) -> None:
        """All that is kept of a run."""

        def work() -> None:
            self._logs.remove(run)
            self._scratch.remove_artifacts(run)

        self._do(work)

    def remove_scratch(self, run: int) -> None:
        """Of a run that has ended."""
        self._do(lambda: self._scratch.remove(run))

    def _do(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="pyflow-janitor", daemon=True)
            self._thread.start()
        self._queue.put(work)

    def stop(self) -> None:
        """Returns when what was asked for is removed; safe twice."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
