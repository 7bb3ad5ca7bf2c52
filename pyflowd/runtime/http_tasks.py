"""HTTP tasks: from a task's definition to a request in the thread pool, and from its result to the attempt's end.

The request is put together in the turn that begins the attempt, sent after its commit, and comes back as a result of
the pool.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from pyflowd.base.attemptlog import AttemptLog
from pyflowd.base.pool import Cancel, Cancelled, Pool
from pyflowd.clock import Clock
from pyflowd.engine.outcomes import EXPRESSION, SECRET
from pyflowd.engine.state import TaskRun
from pyflowd.http import http_request
from pyflowd.http.http_request import HttpRequest
from pyflowd.keeper.masking import Masks, mask_text
from pyflowd.model.ends import CallEnd, Given, StartFailure, Stopped
from pyflowd.model.kinds import Http
from pyflowd.runtime.context import TaskNames
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.scratch import Scratch
from pyflowd.runtime.secret_lookups import Found, SecretLookups
from pyflowd.runtime.secret_names import Secrets, masked
from pyflowd.runtime.tasklogs import TaskLogs

TOKEN = "http/"  # noqa: S105  (of the pool, no secret)


class _Prepared(NamedTuple):
    """A request that is to be sent; None: it cannot be put together before its secrets have come."""

    live: LiveRun
    task: TaskRun
    request: HttpRequest | None
    secrets: Secrets
    timeout_s: float | None


def _masked(result: Any, masks: Masks) -> Any:
    """What came back (HttpResult), without the secrets that were sent."""
    end = msgspec.structs.replace(result.end, error=mask_text(result.end.error, masks))
    return msgspec.structs.replace(result, end=end, outputs=masked(result.outputs, masks))


class HttpTasks:
    """All HTTP attempts of the host. One thread, but for what the pool calls."""

    def __init__(
        self,
        runs: Runs,
        pool: Pool,
        logs: TaskLogs,
        scratch: Scratch,
        clock: Clock,
        log_max_bytes: int,
        lookups: SecretLookups,
    ):
        self.runs = runs
        self.pool = pool
        self.logs = logs
        self.scratch = scratch
        self.clock = clock
        self.log_max_bytes = log_max_bytes
        self.lookups = lookups
        self._logs: dict[str, AttemptLog] = {}
        self._prepared: dict[str, _Prepared] = {}

    def prepare(self, attempt_id: str, live: LiveRun, task: TaskRun, names: TaskNames, timeout_s: float | None) -> None:
        """Put the request together; it is sent by `launch`. Raises ValueError."""
        kind = task.definition.kind
        assert isinstance(kind, Http)
        identity = f"{self.runs.store.instance}-{live.meta.run}-{task.index}"
        work = self.scratch.work(live.meta.run)
        secrets = names.secrets
        try:
            request = http_request.build(
                kind, names, identity=identity, scratch=work, timeout_s=timeout_s, opened=names.opened()
            )
        except ValueError as error:
            if not secrets.missing:
                raise ValueError(mask_text(str(error), secrets.masks())) from None
            request = None  # what is missing is read as empty text, which need not make sense
        self._prepared[attempt_id] = _Prepared(live, task, request, secrets, timeout_s)

    def launch(self, attempt_id: str) -> None:
        """The attempt is durable: send."""
        prepared = self._prepared.pop(attempt_id, None)
        if prepared is None or self.runs.under_way(attempt_id) is None:
            return
        if prepared.secrets.missing or prepared.request is None:
            self._fetch(attempt_id, prepared)
            return
        live, task, request, masks = prepared.live, prepared.task, prepared.request, Masks(prepared.secrets.masks())
        try:
            self.scratch.prepare(live.meta.run, shared=False)
            descriptors = self.logs.create(live.meta.run, task.log_name, task.attempts)  # there before anybody looks
        except OSError as error:
            self.taken(attempt_id, error)
            return
        log = self._logs[attempt_id] = AttemptLog(*descriptors, self.clock, self.log_max_bytes, masks)

        def call(cancel: Cancel) -> Any:
            from pyflowd.http import http_call  # requests takes 40 ms and 15 MiB: only where a task asks for it

            try:
                result = http_call.perform(request, log.write, cancel, self.clock)
                return _masked(result, masks) if masks else result
            except Exception as error:  # noqa: BLE001 - a fault of ours; nobody knows what its words hold
                raise RuntimeError(mask_text(f"{type(error).__name__}: {error}", masks)) from None
            finally:
                log.close()

        self.pool.submit(TOKEN + attempt_id, call)

    def _fetch(self, attempt_id: str, prepared: _Prepared) -> None:
        """Have the secrets of a request fetched, and put it together again then."""
        live, task, secrets = prepared.live, prepared.task, prepared.secrets

        def come(result: Found | Exception) -> None:
            self.lookups.forget(attempt_id)
            if self.runs.under_way(attempt_id) is None:
                return
            try:
                if isinstance(result, Exception):
                    raise result
                names = TaskNames(live.facts, task, secrets=Secrets(result))
                self.prepare(attempt_id, live, task, names, prepared.timeout_s)
            except Exception as error:  # noqa: BLE001 - whatever a provider met is the attempt's end
                step = SECRET if error is result else EXPRESSION
                end = StartFailure(step=step, errno=0, message=str(error), at_us=self.clock.wall_us())
                self.runs.attempt_ended(attempt_id, end)
            else:
                self.launch(attempt_id)

        self.lookups.ask(attempt_id, [*secrets.values, *secrets.missing], come)

    def cancel(self, attempt_id: str) -> None:
        if self._prepared.pop(attempt_id, None) is not None or self.lookups.cancel(attempt_id):
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
