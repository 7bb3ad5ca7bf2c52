"""How attempts end, and what they give on. Stored for ever: fields are only added, at the end."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from pyflowd.model.states import Lost, RunState


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """What an attempt used."""

    user_us: int = 0
    """Of all its processes, where it had a cgroup; else from `wait4`: of the main process and all it waited for."""
    system_us: int = 0
    max_rss_bytes: int = 0
    """0: not known. A task that never needed more than the keeper itself, about 10 MiB, cannot be told from it.
    It is the largest process, from `wait4`."""
    memory_peak_bytes: int = 0
    """Of its cgroup: all processes together, and caches of files that they read and wrote. 0: not known."""

    @property
    def cpu_us(self) -> int:
        return self.user_us + self.system_us


class Stop(StrEnum):
    """Why the keeper stopped an attempt; empty: it ended by itself."""

    NONE = ""
    TIMEOUT = "timeout"
    REQUEST = "request"
    SHUTDOWN = "shutdown"
    """The keeper itself was told to end, as when the host goes down."""


class Exit(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="exit"):
    """The main process ended and was reaped: a true status from `waitid` (rule S5). One of code, signal is None."""

    exit_code: int | None
    signal: int | None
    started_us: int
    """Wall clock just before the spawn; `ended_us` is from the same clock."""
    ended_us: int
    usage: Usage = Usage()
    stop: Stop = Stop.NONE
    leftovers: int = 0
    """Processes of the attempt killed after the main process was gone."""
    oom_kills: int = 0
    """Kills for want of memory, as its cgroup counts them (rule R8): one process may count twice."""
    tasks_refused: int = 0
    """How many processes and threads its `tasks_max` did not let it start."""


SHORTAGES = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Error numbers of a start: too many processes or open files, too little memory. The fault matrix' `fork failure`."""


class StartFailure(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="start_failure"):
    """The process never came to be: `step` (such as `cwd`, `exec`, `user`), the error number, and its text."""

    step: str
    errno: int
    message: str
    at_us: int
    shortage: bool = False
    """The host was short of what comes back by itself (`SHORTAGES`): it is tried again, and that is not counted."""


class LostAttempt(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="lost"):
    """No true status can be had; nothing of the attempt lives any more (rule R6)."""

    why: Lost
    at_us: int
    again: bool = False
    """It may be sent again as a new attempt, whatever `on_lost` says (rule I4)."""


class HostRestarted(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="host_restarted"):
    """A `reboot` attempt had begun to restart the host, and the host is up again: another boot id says so."""

    boot_before: str
    boot_after: str
    booted_us: int
    """When the host came up, by its wall clock."""
    at_us: int
    """When that was seen."""


class CallEnd(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="call_end"):
    """A request of the thread pool came to an end. `error` is empty where it is a success."""

    started_us: int
    ended_us: int
    error: str = ""
    status: int | None = None
    """Of the last answer, if one came."""
    transient: bool = False
    """It may go better another time: no connection, or a status that is worth another try (rule R4)."""
    retry_after_s: float | None = None
    stop: Stop = Stop.NONE


class RunEnd(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="run_end"):
    """The run that a `workflow` task called has ended, or could not be recorded (`run` 0, `error` says why)."""

    run: int
    state: RunState
    ended_us: int
    error: str = ""
    stop: Stop = Stop.NONE


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="answer"):
    """Somebody answered an approval, or its time ran out (`by` is empty)."""

    approved: bool
    ended_us: int
    by: str = ""
    comment: str = ""
    skip: bool = False


class Waited(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="waited"):
    """What a `wait` or `notify` task was there for has come; or its time ran out, or it could not be."""

    ended_us: int
    error: str = ""
    timed_out: bool = False
    skip: bool = False


class Stopped(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="stopped"):
    """An attempt without a process was stopped."""

    ended_us: int
    stop: Stop = Stop.REQUEST


End = Exit | StartFailure | LostAttempt | HostRestarted | CallEnd | RunEnd | Answer | Waited | Stopped
"""How an attempt ended, as the keeper, the record or the pool tell it; the engine makes its state of it."""


class KeptFile(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """An artifact as it was stored."""

    size_bytes: int
    sha256: str
    run: int = 0
    """Where a rerun took it over: the run in whose folder it is, with the name that its task has there."""
    folder: str = ""


class Given(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """What an attempt gave on (rule P5). `error`: why it is not what the task declares."""

    outputs: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, KeptFile] = field(default_factory=dict)
    error: str = ""
    """It makes a success a failure."""
    said: str = ""
    """The attempt's own word for why it failed; shown in place of its exit code."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else it said of that, such as the type of an error."""
