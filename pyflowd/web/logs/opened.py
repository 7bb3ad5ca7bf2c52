"""A log of an attempt as the daemon hands it over: two descriptors, closed when they are done with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyflowctl.client import OpenLog
from pyflowd.errors import NotFound
from pyflowd.protocol.requests import GetLogs
from pyflowd.web.call import Call
from pyflowd.web.logs.linemap import LineMap, LineMaps

MAPS = LineMaps()


class Log:
    """Of one attempt, open."""

    def __init__(self, opened: OpenLog) -> None:
        self.run = opened.log.run
        self.task = opened.log.task
        self.attempt = opened.log.attempt
        self.live = opened.log.live
        """More may come."""
        self.fd = opened.log_fd
        self.index_fd = opened.index_fd

    def map(self) -> LineMap:
        """Where its lines are, up to now."""
        return MAPS.of(self.fd, f"{self.run}/{self.task}", self.attempt)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.index_fd)


def take(call: Call, request: GetLogs) -> list[Log]:
    """All that the daemon opens for it; whoever takes them closes them. Raises PyflowError."""
    found: list[Log] = []
    try:
        with call.link.connection(call.token) as client:
            # Each is kept as it comes: what is open when the daemon fails is closed below.
            found.extend(Log(answer) for answer in client.ask(request) if isinstance(answer, OpenLog))
    except BaseException:
        close(found)
        raise
    return found


def close(logs: Sequence[Log]) -> None:
    for log in logs:
        log.close()


@contextmanager
def opened(call: Call, run: int, task: str, attempt: int | None = None) -> Iterator[Log]:
    """One attempt of a task or an item, or its newest. Raises NotFound, or what else the daemon says."""
    logs = take(call, GetLogs(of=str(run), task=task, attempt=attempt))
    try:
        chosen = next((log for log in reversed(logs) if log.task == task), None)
        if chosen is None:
            what = f"attempt {attempt}" if attempt else "an attempt"
            raise NotFound(f"{task} of run {run} has no log of {what}: it has not begun, or its log was removed")
        yield chosen
    finally:
        close(logs)
