"""HTTP tasks: from a task's definition to a request in the thread pool, and from its result to the attempt's end.

The request is put together in the turn that begins the attempt, sent after its commit, and comes back as a result of
the pool.
"""

from __future__ import annotations

from typing import Any

from pyflowd import http_request
from pyflowd.attemptlog import AttemptLog
from pyflowd.clock import Clock
from pyflowd.context import TaskNames
from pyflowd.http_request import HttpRequest
from pyflowd.model import CallEnd, Given, Http, Stopped
from pyflowd.pool import Cancel, Cancelled, Pool
from pyflowd.runs import LiveRun, Runs
from pyflowd.scratch import Scratch
from pyflowd.state import TaskRun
from pyflowd.tasklogs import TaskLogs

TOKEN = "http/"  # noqa: S105  (of the pool, no secret)


class HttpTasks:
    """All HTTP attempts of the host. One thread, but for what the pool calls."""

    def __init__(self, runs: Runs, pool: Pool, logs: TaskLogs, scratch: Scratch, clock: Clock, log_max_bytes: int):
        self.runs = runs
        self.pool = pool
        self.logs = logs
        self.scratch = scratch
        self.clock = clock
        self.log_max_bytes = log_max_bytes
        self._logs: dict[str, AttemptLog] = {}
        self._prepared: dict[str, tuple[LiveRun, TaskRun, HttpRequest]] = {}

    def prepare(self, attempt_id: str, live: LiveRun, task: TaskRun, names: TaskNames, timeout_s: float | None) -> None:
        """Put the request together; it is sent by `launch`. Raises ValueError."""
        kind = task.definition.kind
        assert isinstance(kind, Http)
        identity = f"{self.runs.store.instance}-{live.meta.run}-{task.index}"
        work = self.scratch.work(live.meta.run)
        request = http_request.build(kind, names, identity=identity, scratch=work, timeout_s=timeout_s)
        self._prepared[attempt_id] = live, task, request

    def launch(self, attempt_id: str) -> None:
        """The attempt is durable: send."""
        prepared = self._prepared.pop(attempt_id, None)
        if prepared is None or self.runs.under_way(attempt_id) is None:
            return
        live, task, request = prepared
        try:
            self.scratch.prepare(live.meta.run, shared=False)
            descriptors = self.logs.create(live.meta.run, task.log_name, task.attempts)  # there before anybody looks
        except OSError as error:
            self.taken(attempt_id, error)
            return
        log = self._logs[attempt_id] = AttemptLog(*descriptors, self.clock, self.log_max_bytes)

        def call(cancel: Cancel) -> Any:
            from pyflowd import http_call  # requests takes 40 ms and 15 MiB: only where a task asks for it

            try:
                return http_call.perform(request, log.write, cancel, self.clock)
            finally:
                log.close()

        self.pool.submit(TOKEN + attempt_id, call)

    def cancel(self, attempt_id: str) -> None:
        if self._prepared.pop(attempt_id, None) is not None:
            self.runs.attempt_ended(attempt_id, Stopped(ended_us=self.clock.wall_us()))
        else:
            self.pool.cancel(TOKEN + attempt_id)

    def taken(self, attempt_id: str, result: Any) -> None:
        """The pool is done with it."""
        log = self._logs.pop(attempt_id, None)
        if log is not None:
            log.close()
        if isinstance(result, Cancelled):
            self.runs.attempt_ended(attempt_id, Stopped(ended_us=self.clock.wall_us()))
        elif isinstance(result, Exception):
            now_us = self.clock.wall_us()
            words = f"{type(result).__name__}: {result}"
            self.runs.attempt_ended(attempt_id, CallEnd(started_us=now_us, ended_us=now_us, error=words))
        else:
            self.runs.attempt_ended(attempt_id, result.end, Given(outputs=result.outputs))
