"""States of runs, tasks and attempts, and why they were reached (rules S1 to S5); names (rule D7)."""

from __future__ import annotations

import re
from enum import StrEnum

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
"""Rule D7: names of workflows, tasks, params, triggers; safe as one component of a path."""
_NAME = re.compile(NAME_PATTERN, re.ASCII)


def is_name(text: str) -> bool:
    """Whether `text` keeps rule D7 (a newline at the end does not pass)."""
    return bool(_NAME.match(text)) and not text.endswith("\n")


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


class Section(StrEnum):
    """Where in its workflow a task stands; its value is the key of the file, but for the first."""

    TASKS = ""
    ON_ERROR = "on_error"
    ON_SUCCESS = "on_success"
    ON_FAILURE = "on_failure"
    ON_CANCEL = "on_cancel"
    UNDO = "undo"
    FINALLY = "finally"


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
    NOT_ASKED = "not_asked"  # the run was asked for other tasks only
    CONDITION_FALSE = "condition_false"  # its `if` is false; the values that were used stand beside it
    EXPRESSION_ERROR = "expression_error"  # an expression of its definition has no value: `error` says why
    OUTPUT_INVALID = "output_invalid"  # what it gave on is not what it declares, or an artifact is missing
    EMPTY = "empty"  # a fan-out without items
    ITEMS_FAILED = "items_failed"  # of a fan-out: more items failed than `max_failures`
    MAX_FAILURES = "max_failures"  # of an item: not started, as more items had failed than `max_failures`
    FAIL_FAST = "fail_fast"  # of an item: cancelled, as another had failed
    REPEAT_EXHAUSTED = "repeat_exhausted"  # `repeat` has had its `max` passes
    REJECTED = "rejected"  # an approval was refused, or nobody answered in time
    CALL_FAILED = "call_failed"  # a request came to no good answer: `error` says what came
    RUN_FAILED = "run_failed"  # the run that the task called did not succeed
    HANDLER_FAILED = "handler_failed"  # of a run: a task of `on_success` failed
    FINALLY_FAILED = "finally_failed"  # of a run: a task of `finally` failed (rule H2)
    GATE_CLOSED = "gate_closed"  # of a run: what must hold before its first task did not, for as long as it waits
    DEADLOCK = "deadlock"  # it would wait for a place that waits for itself, by way of called runs
    SECRET_MISSING = "secret_missing"  # noqa: S105 - a secret that it names could not be had: `error` says from where
    CACHED = "cached"  # the outputs of an earlier success were used again
    REPLACED = "replaced"  # of a run: `overlap: replace` and a newer one came
    OOM = "oom"  # the kernel ended it, or a part of it, for want of memory: the cgroup says so (rule R8)
    DEADLINE = "deadline"  # of a run: it had not started by the deadline of the schedule that fired it
    RESTORED = "restored"  # of a run: it was live in the backup that the store was restored from


class Lost(StrEnum):
    """Why an attempt is `unknown` (rule S5)."""

    KEEPER_LOST = "keeper lost"
    HOST_RESTARTED = "host restarted"
    RECORD_LOST = "record lost"
    RESTORED = "restored from a backup"
    DAEMON_LOST = "daemon restarted"  # of what runs inside the daemon (rule I4)


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
    BLACKOUT = "blackout"  # a named time in which nothing is to start
    CALENDAR = "calendar"  # a day that its calendar leaves out
    DEADLINE = "deadline"  # it could have started only later than `catchup` or its deadline allows
    CONDITION_FALSE = "condition_false"  # the trigger's `if`
    DST = "dst"  # a time that the clock change left out (rule T3)
    ONLY_CHANGES = "only_changes"  # a file arrived, and its trigger is for changes only
    GONE = "gone"  # the file was gone before it could be claimed
    DEPTH = "depth"  # runs started each other, one after the other, too many times
    HELD = "held"  # a calendar or blackout that it names is missing or broken: nothing fires blindly
    REMOVED = "removed"  # its schedule was taken away while it waited for its jitter
    EXPRESSION_ERROR = "expression_error"  # the trigger's `if` has no value
