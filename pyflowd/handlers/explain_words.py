"""A sentence for every state and reason that an explanation may meet, and what would have to happen next. Pure data.

A new reason needs one line here; `tests/unit/test_explain_words.py` walks the closed sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pyflowd.model.states import Reason, RunState, SlotReason, TaskState
from pyflowd.model.workflow import TriggerRule

RUN_STATES: Mapping[RunState, str] = {
    RunState.QUEUED: "is queued",
    RunState.RUNNING: "is running",
    RunState.SUCCEEDED: "succeeded",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "was cancelled",
}
TASK_STATES: Mapping[TaskState, str] = {
    TaskState.WAITING: "waits for tasks that it needs",
    TaskState.QUEUED: "is ready, and waits for a place",
    TaskState.RUNNING: "is running",
    TaskState.RETRYING: "has failed, and is tried again",
    TaskState.SUCCEEDED: "succeeded",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "was cancelled",
    TaskState.SKIPPED: "was skipped",
    TaskState.UPSTREAM_FAILED: "did not run",
}
REASONS: Mapping[Reason, str] = {
    Reason.EXIT_CODE: "it ended with an exit code that is no success",
    Reason.SIGNAL: "it was killed by a signal that did not come from pyflowd",
    Reason.TIMEOUT: "its time ran out",
    Reason.CANCELLED: "somebody cancelled it",
    Reason.START_FAILED: "it could not be started",
    Reason.LOST: "no true exit status can be had, and none is made up",
    Reason.SKIP_CODE: "it ended with one of its skip_codes",
    Reason.UPSTREAM_FAILED: "a task that it needs did not succeed",
    Reason.UPSTREAM_SKIPPED: "every task that it needs was skipped",
    Reason.NO_UPSTREAM_FAILED: "it runs when a task that it needs failed, and none did",
    Reason.TASK_FAILED: "a task did not succeed",
    Reason.KEPT: "it was taken over from the run that this one repeats",
    Reason.NOT_ASKED: "the run was asked for other tasks only",
    Reason.CONDITION_FALSE: "its condition is false",
    Reason.EXPRESSION_ERROR: "an expression of its definition has no value",
    Reason.OUTPUT_INVALID: "what it gave on is not what it declares",
    Reason.EMPTY: "its list of items is empty",
    Reason.ITEMS_FAILED: "more of its items failed than max_failures allows",
    Reason.MAX_FAILURES: "more other items had failed than max_failures allows",
    Reason.FAIL_FAST: "another item had failed, and fail_fast stops the others then",
    Reason.REPEAT_EXHAUSTED: "it was repeated as often as it may be, and its repeat still asked for more",
    Reason.REJECTED: "its approval was rejected, or nobody answered in time",
    Reason.CALL_FAILED: "its request came to no good answer",
    Reason.RUN_FAILED: "the run that it called did not succeed",
    Reason.HANDLER_FAILED: "its tasks succeeded, a task of on_success did not",
    Reason.FINALLY_FAILED: "its tasks succeeded, a task of finally did not",
    Reason.GATE_CLOSED: "one of its gates stayed closed for as long as it waits",
    Reason.DEADLOCK: "it would have waited for a place that waits for itself",
    Reason.SECRET_MISSING: "a secret that it names could not be had",
    Reason.CACHED: "the outputs of an earlier success were used again",
    Reason.REPLACED: "a newer run replaced it (overlap)",
    Reason.OOM: "it needed more memory than there was, and the kernel killed it",
    Reason.DEADLINE: "it had not started by the deadline of the schedule that fired it",
    Reason.RESTORED: "it was live in the backup that the store was restored from: nobody knows how it went on",
}
RULES: Mapping[TriggerRule, str] = {
    TriggerRule.ALL_OK: "none of the tasks that it needs failed, and at least one succeeded",
    TriggerRule.ALL_SUCCESS: "all tasks that it needs succeeded, none was skipped",
    TriggerRule.NONE_FAILED: "none of the tasks that it needs failed",
    TriggerRule.ANY_SUCCESS: "at least one task that it needs succeeded",
    TriggerRule.ANY_FAILED: "at least one task that it needs failed",
    TriggerRule.ALL_DONE: "all tasks that it needs have ended, however",
}


class Skipped(NamedTuple):
    """Why a slot starts nothing, and what would make the next one start something."""

    why: str
    remedy: str
    command: str = ""
    """`{workflow}` and `{run}` stand for what their names say."""


SLOT_REASONS: Mapping[SlotReason, Skipped] = {
    SlotReason.OVERLAP: Skipped(
        "a run of the workflow was live, and its overlap rule skips a slot then",
        "a slot fires again when no run is live; overlap: queue in the file would let slots wait instead",
    ),
    SlotReason.QUEUE_FULL: Skipped(
        "as many runs of the workflow waited already as may (queue_max)",
        "a slot is taken again when fewer runs wait; cancel some of them, or raise queue_max",
        "pyflowctl history {workflow} --state queued",
    ),
    SlotReason.DOWN: Skipped(
        "pyflowd was not running",
        "slots are missed as long as pyflowd does not run; catchup in the file says what is made up for",
    ),
    SlotReason.PAUSED: Skipped(
        "the workflow was paused",
        "slots fire again once it is resumed; those that passed are not made up for",
        "pyflowctl resume {workflow}",
    ),
    SlotReason.DISABLED: Skipped(
        "its trigger is disabled (enabled: false)",
        "slots fire again once the file says enabled: true",
        "pyflowctl show {workflow} --origin",
    ),
    SlotReason.LATE: Skipped(
        "a newer slot of the same trigger was due at the same moment, and one run is enough for both",
        "the newer slot was taken instead of it",
        "pyflowctl slots {workflow} -n 5",
    ),
    SlotReason.CLOCK_STEP: Skipped(
        "the clock was set forward by more than three hours, over this slot",
        "nothing is to be done; slots go on after the new time",
    ),
    SlotReason.BAD_PARAMS: Skipped(
        "the params that the trigger gives were refused",
        "give the trigger params that the workflow takes; the log of pyflowd says which it did not",
        "pyflowctl run {workflow} --dry-run",
    ),
    SlotReason.BLACKOUT: Skipped(
        "it falls into a blackout, in which nothing is to start",
        "the first slot after the blackout fires; blackouts are named in the file and in pyflowd.yaml",
    ),
    SlotReason.CALENDAR: Skipped(
        "its day is one that the calendar of the trigger leaves out",
        "the first slot on a day that the calendar has fires; calendars stand in pyflowd.yaml",
    ),
    SlotReason.DEADLINE: Skipped(
        "it could have started only later than its deadline, or catchup, allows",
        "a slot fires if it can start in time; raise deadline, or catchup, if late is better than never",
    ),
    SlotReason.CONDITION_FALSE: Skipped(
        "the condition (if) of its trigger was false",
        "a slot fires when the condition holds at its time",
        "pyflowctl show {workflow}",
    ),
    SlotReason.DST: Skipped(
        "the change of the clocks left its time out, and dst: skip drops such times",
        "the slot of the next day fires; dst: debian in the file runs such times after the gap",
    ),
    SlotReason.ONLY_CHANGES: Skipped(
        "a file arrived, and its trigger is for changes only",
        "it fires when that file changes; on: [arrives, changes] would mean both",
    ),
    SlotReason.GONE: Skipped(
        "the file was gone before it could be claimed",
        "it fires when a file arrives that stays",
    ),
    SlotReason.DEPTH: Skipped(
        "runs had started each other, one after the other, too many times",
        "break the circle of workflow triggers",
    ),
    SlotReason.HELD: Skipped(
        "a calendar or blackout that it names is missing or broken, and nothing fires blindly",
        "mend the calendar or blackout",
        "pyflowctl doctor",
    ),
    SlotReason.REMOVED: Skipped(
        "its schedule was taken away while it waited for its jitter",
        "put the schedule back",
        "pyflowctl history {workflow} --definition",
    ),
    SlotReason.EXPRESSION_ERROR: Skipped(
        "the condition (if) of its trigger has no value",
        "mend the condition",
        "pyflowctl show {workflow}",
    ),
}
