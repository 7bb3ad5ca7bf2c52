"""The words of the domain: definitions, states, reasons, outcomes. Types only; it imports nothing of ours.

A definition here is *compiled*: units are numbers, `defaults` are merged, names are checked. `definition` makes it
from a file; the store keeps it as msgpack. Fields are only ever added, with a default.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
"""Rule D7: names of workflows, tasks, params, triggers; safe as one component of a path."""
_NAME = re.compile(NAME_PATTERN, re.ASCII)


def is_name(text: str) -> bool:
    """Whether `text` keeps rule D7 (a newline at the end does not pass)."""
    return bool(_NAME.match(text)) and not text.endswith("\n")


# ---- States (rules S1 to S3) ----------------------------------------------------------------------------------------


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    WAITING = "waiting"  # a direct dependency is not terminal
    QUEUED = "queued"  # ready, no slot free
    RUNNING = "running"
    RETRYING = "retrying"  # waits for its back-off, holds no slot
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"  # it could never become eligible


class AttemptState(StrEnum):
    STARTING = "starting"  # committed, the keeper's answer is not
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # no true status can be had (rule S5)


RUN_TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
TASK_TERMINAL = frozenset(
    {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED, TaskState.UPSTREAM_FAILED}
)
ATTEMPT_TERMINAL = frozenset(AttemptState) - {AttemptState.STARTING, AttemptState.RUNNING}


class Reason(StrEnum):
    """Why a terminal state was reached (rule S4); the facts stand beside it."""

    EXIT_CODE = "exit_code"  # ended with a code that is no success
    SIGNAL = "signal"  # killed by a signal that we did not send (rule R8)
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    START_FAILED = "start_failed"  # the process could not be started: `error` says which step, and why
    LOST = "lost"  # the attempt is `unknown`: `error` says what was lost
    SKIP_CODE = "skip_code"  # ended with one of its `skip_codes` (rule R10)
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_SKIPPED = "upstream_skipped"
    NO_UPSTREAM_FAILED = "no_upstream_failed"  # `any_failed`, and none did
    TASK_FAILED = "task_failed"  # of a run: a task's effective state is no success
    KEPT = "kept"  # taken over from the run that this one repeats
    REPLACED = "replaced"  # of a run: `overlap: replace` and a newer one came


class Lost(StrEnum):
    """Why an attempt is `unknown` (rule S5)."""

    KEEPER_LOST = "keeper lost"
    HOST_RESTARTED = "host restarted"
    RECORD_LOST = "record lost"


class Fate(StrEnum):
    """How a slot ended (rule T1)."""

    FIRED = "fired"
    SKIPPED = "skipped"


class SlotReason(StrEnum):
    """Why a slot was skipped."""

    OVERLAP = "overlap"  # a run of the workflow was live; the slot's `run` names it
    QUEUE_FULL = "queue_full"
    DOWN = "down"  # the daemon was not running
    PAUSED = "paused"
    DISABLED = "disabled"
    LATE = "late"  # a newer slot of the same trigger was due in the same instant, as after a clock step (rule T8)
    CLOCK_STEP = "clock_step"  # the clock was set forward by more than three hours (rule T8)
    BAD_PARAMS = "bad_params"


# ---- Definitions ----------------------------------------------------------------------------------------------------


class TriggerRule(StrEnum):
    """Rule J3; `always` is a synonym of `all_done` and is compiled to it."""

    ALL_OK = "all_ok"
    ALL_SUCCESS = "all_success"
    NONE_FAILED = "none_failed"
    ANY_SUCCESS = "any_success"
    ANY_FAILED = "any_failed"
    ALL_DONE = "all_done"


class Overlap(StrEnum):
    """Rule T5: what a start does while a run of the workflow is live."""

    SKIP = "skip"
    QUEUE = "queue"
    QUEUE_LATEST = "queue_latest"
    REPLACE = "replace"
    ALLOW = "allow"


class Backoff(StrEnum):
    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    CONSTANT = "constant"


class Jitter(StrEnum):
    FULL = "full"
    NONE = "none"


class Leftover(StrEnum):
    """Rule R9: what becomes of processes that outlive the main process of their attempt."""

    KILL = "kill"
    ALLOW = "allow"


class OnLost(StrEnum):
    FAIL = "fail"
    RETRY = "retry"


class Dst(StrEnum):
    """Rule T3: fixed local times in the gap and the fold of a clock change."""

    DEBIAN = "debian"  # in the gap at its end, in the fold once
    SKIP = "skip"  # in the gap not at all, in the fold once
    BOTH = "both"  # in the gap at its end, in the fold at both


class ParamType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"
    DATE = "date"


class Retry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rules R1 to R4. `attempts` counts all tries, the first too."""

    attempts: int = 1
    delay_s: float = 1.0
    backoff: Backoff = Backoff.EXPONENTIAL
    factor: float = 2.0
    max_delay_s: float = 3600.0
    jitter: Jitter = Jitter.FULL
    max_elapsed_s: float | None = None
    on_exit: tuple[int, ...] | None = None
    """Exit codes that are retried; None: every failure but 126 and 127."""
    on_lost: OnLost = OnLost.FAIL


class Shell(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="run", tag_field="kind"):
    """`run`: shell text, given to `shell` (argv before the text; empty: bash in strict mode, else sh)."""

    text: str
    shell: tuple[str, ...] = ()


class Argv(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="argv", tag_field="kind"):
    """`argv`: a program and its arguments, no shell."""

    argv: tuple[str, ...]


Kind = Shell | Argv
"""Exactly one kind per task; a new kind is a struct here, a validator in `definition`, a runner."""


class Task(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node of a workflow, `defaults` merged in."""

    name: str
    kind: Kind
    needs: tuple[str, ...] = ()
    """Direct dependencies, each once, in the order written."""
    trigger_rule: TriggerRule = TriggerRule.ALL_OK
    retry: Retry = Retry()
    timeout_s: float | None = None
    """Per attempt (rule R1)."""
    kill_grace_s: float = 10.0
    leftover: Leftover = Leftover.KILL
    continue_on_error: bool = False
    success_codes: tuple[int, ...] = ()
    skip_codes: tuple[int, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None
    user: str | None = None
    stdin: str | None = None
    """Text given on standard input; None: /dev/null."""
    log_max_bytes: int | None = None


class Param(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rule P4. `default` is already checked against the rest."""

    name: str
    type: ParamType = ParamType.STRING
    default: Any = None
    required: bool = False
    enum: tuple[Any, ...] | None = None
    pattern: str | None = None
    minimum: float | None = None
    """Least value of a number, least length of a string or array."""
    maximum: float | None = None
    items: ParamType | None = None
    description: str = ""

    @property
    def variable(self) -> str:
        """Its variable in a task's environment: `PARAM_` and the name, upper-cased, others than A-Z 0-9 as `_`."""
        return "PARAM_" + re.sub(r"[^A-Z0-9]", "_", self.name.upper())


class Schedule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cron trigger (rules T2 to T4, T7)."""

    name: str
    cron: str
    timezone: str | None = None
    """IANA name; None: the host's zone."""
    jitter_s: float = 0.0
    """Greatest delay after the nominal time; stable per host, workflow and trigger (rule T7)."""
    dst: Dst = Dst.DEBIAN
    enabled: bool = True
    params: dict[str, Any] = field(default_factory=dict)


class Retention(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of ended runs; None: no limit of this sort. The newest ended run is always kept."""

    runs: int | None = None
    age_s: float | None = None
    log_bytes: int | None = None


class Workflow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One compiled definition."""

    name: str
    tasks: tuple[Task, ...]
    """In the order of the file; acyclic; every `needs` names another task of the tuple."""
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    owner: str = ""
    params: tuple[Param, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    """`env` of the file, then `env` of its `defaults`; a task's own come on top."""
    env_files: tuple[str, ...] = ()
    """Read when an attempt starts, below `env`; a leading `-` lets the file be missing."""
    cwd: str | None = None
    user: str | None = None
    triggers: tuple[Schedule, ...] = ()
    overlap: Overlap | None = None
    """As written; None: the default of each sort of start (rule T5)."""
    queue_max: int = 100
    timeout_s: float | None = None
    max_parallel: int = 16
    retention: Retention | None = None


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding about a file. `line` and `column` count from 1; 0: no place. The message is one line."""

    file: str
    line: int = 0
    column: int = 0
    severity: Severity = Severity.ERROR
    code: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.fix})" if self.fix else "")


# ---- Ends of attempts -----------------------------------------------------------------------------------------------


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """What an attempt used, from `wait4`: the main process and all it waited for."""

    user_us: int = 0
    system_us: int = 0
    max_rss_bytes: int = 0
    """0: not known. A task that never needed more than the keeper itself, about 10 MiB, cannot be told from it."""

    @property
    def cpu_us(self) -> int:
        return self.user_us + self.system_us


class Stop(StrEnum):
    """Why the keeper stopped an attempt; empty: it ended by itself."""

    NONE = ""
    TIMEOUT = "timeout"
    REQUEST = "request"


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


class StartFailure(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="start_failure"):
    """The process never came to be: `step` (such as `cwd`, `exec`, `user`), the error number, and its text."""

    step: str
    errno: int
    message: str
    at_us: int


class LostAttempt(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="lost"):
    """No true status can be had; nothing of the attempt lives any more (rule R6)."""

    why: Lost
    at_us: int


End = Exit | StartFailure | LostAttempt
"""How an attempt ended, as the keeper and the record tell it; the engine makes its state of it."""
