"""Long work on the store, done by a process of its own: one at a time, ended with whoever asked for it.

The loop starts a job and is told its outcome by the thread pool; it knows nothing of what a job does.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable

from pyflowd.base.pool import Cancel, Pool
from pyflowd.base.short_program import last_line
from pyflowd.errors import Refused
from pyflowd.exit_status import status_text

TOKEN = "upkeep"  # noqa: S105  (of the pool, no secret)
_ENTRY = "import sys; sys.path[:] = sys.argv[2:]; from pyflowd.upkeep.__main__ import main; sys.exit(main())"


class UpkeepJob:
    """One that has been started. `outcome`: what it said, when it is `done`; an exception: why it said nothing."""

    def __init__(self, name: str, then: Callable[[bytes], None]) -> None:
        self.name = name
        self.then = then
        self.done = False
        self.outcome: bytes | Exception = b""


class UpkeepJobs:
    """Of one daemon; the loop's thread only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._job: UpkeepJob | None = None

    def start(self, name: str, argument: str, descriptor: int, then: Callable[[bytes], None]) -> UpkeepJob:
        """Start a job, which has `descriptor` open (-1: none); `then` is called with what it said, within a turn.

        Raises Refused while another one is under way.
        """
        if self._job is not None:
            raise Refused(f"a {self._job.name} is under way; try again when it has ended")
        self._job = job = UpkeepJob(name, then)
        self._pool.submit(TOKEN, lambda cancel: _run(argument, descriptor, cancel))
        return job

    def give_up(self, job: UpkeepJob) -> None:
        """Nobody waits for it any more: its process is ended."""
        if job is self._job:
            self._pool.cancel(TOKEN)

    def taken(self, result: object) -> None:
        """The pool has its outcome."""
        job, self._job = self._job, None
        if job is None:
            return
        job.done = True
        if isinstance(result, bytes):
            job.outcome = result
            job.then(result)
        else:
            job.outcome = result if isinstance(result, Exception) else RuntimeError(str(result))


def _run(argument: str, descriptor: int, cancel: Cancel) -> bytes:
    """What the process said. Raises Refused where it ended badly, OSError where it cannot start."""
    process = subprocess.Popen(
        [sys.executable, "-c", _ENTRY, argument, *sys.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd="/", start_new_session=True, pass_fds=[descriptor] if descriptor >= 0 else [],
    )  # fmt: skip
    forget = cancel.on_cancel(process.kill)
    try:
        said, errors = process.communicate()
    finally:
        forget()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.returncode:
        raise Refused(f"its process ended: {status_text(process.returncode)} {last_line(errors)}".rstrip())
    return said
