"""What happens to a run, as values: the engine's input, and what the store keeps of it (rule I6).

Stored as msgpack arrays for ever: a field is only added at the end, with a default; a tag never changes its meaning.
Times: `at_us` is wall clock, `mono_us` boot-time clock (rule R11), both in microseconds.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from pyflowd.model.ends import End, Given, KeptFile
from pyflowd.model.states import Reason, RunState, TaskState


class KeptItem(Struct, frozen=True, array_like=True):
    """An item whose state is taken over, by its key (rule F1)."""

    key: str
    value: Any
    state: TaskState
    outputs: dict[str, Any] = {}


class RunCreated(Struct, frozen=True, array_like=True, tag="run_created"):
    """The run exists. `kept`: tasks whose state is taken over from the run that this one repeats, with their
    `outputs`, and the `items` of fan-outs, also of those that are done again. `not_asked`: tasks left out.
    """

    at_us: int
    kept: dict[str, TaskState] = {}
    outputs: dict[str, dict[str, Any]] = {}
    items: dict[str, list[KeptItem]] = {}
    not_asked: tuple[str, ...] = ()
    artifacts: dict[str, dict[str, KeptFile]] = {}
    """Of kept tasks and items, by the name of the node."""
    no_cache: bool = False
    """No earlier success is used again; those of this run are kept for others."""
    of_slot_us: int | None = None
    """Of a rerun: the nominal time of the slot that fired the first of the runs, and that slot's trigger."""
    of_trigger: str = ""


class RunStarted(Struct, frozen=True, array_like=True, tag="run_started"):
    at_us: int
    mono_us: int


class AttemptStarting(Struct, frozen=True, array_like=True, tag="attempt_starting"):
    """Committed before the keeper is asked (rule I3); `epoch` names the keeper's life."""

    task: str
    attempt: int
    at_us: int
    mono_us: int
    epoch: str
    boot_id: str = ""
    """Of a `reboot` task: the boot of the host that it is to end."""


class AttemptRunning(Struct, frozen=True, array_like=True, tag="attempt_running"):
    task: str
    attempt: int
    pid: int
    """0: it is no process."""
    started_us: int
    called: int = 0
    """Of a `workflow` task: the run that it waits for."""
    facts: dict[str, Any] = {}
    """What people should see of it while it runs, such as the message of an approval."""


class AttemptEnded(Struct, frozen=True, array_like=True, tag="attempt_ended"):
    """`random` in [0, 1) is for the back-off's jitter (rule R2)."""

    task: str
    attempt: int
    at_us: int
    mono_us: int
    end: End
    random: float = 0.0
    given: Given | None = None


class RetryDue(Struct, frozen=True, array_like=True, tag="retry_due"):
    task: str
    at_us: int


class CancelRequested(Struct, frozen=True, array_like=True, tag="cancel_requested"):
    """Rule R3; `reason` tells a person's cancel from a replacement by a newer run (rule T5)."""

    at_us: int
    by: str
    reason: Reason = Reason.CANCELLED


class RunTimedOut(Struct, frozen=True, array_like=True, tag="run_timed_out"):
    at_us: int


class TaskCancelRequested(Struct, frozen=True, array_like=True, tag="task_cancel_requested"):
    """One task is to be stopped; the run goes on by its rules."""

    task: str
    at_us: int
    by: str


class ConditionDecided(Struct, frozen=True, array_like=True, tag="condition_decided"):
    """Rule J4: what the `if` of an eligible task came to, and the values that it used. `error`: it has no value."""

    task: str
    at_us: int
    holds: bool
    values: dict[str, Any] = {}
    error: str = ""


class Expanded(Struct, frozen=True, array_like=True, tag="expanded"):
    """Rule F1: the items of a fan-out as (key, value), frozen. `error`: there is no list to be had."""

    task: str
    at_us: int
    items: list[tuple[str, Any]]
    error: str = ""


class RepeatDecided(Struct, frozen=True, array_like=True, tag="repeat_decided"):
    """Rule F5: whether there is another pass after the one that has succeeded."""

    task: str
    at_us: int
    again: bool
    values: dict[str, Any] = {}
    error: str = ""


class CacheDecided(Struct, frozen=True, array_like=True, tag="cache_decided"):
    """Whether an earlier success of an eligible task is used again. `error`: its key has no value."""

    task: str
    at_us: int
    key: str = ""
    recipe: str = ""
    """Hash of what the task runs; with the key it is what its own success is kept under."""
    run: int = 0
    """Whose success it is, and since when it is there; 0: there is none."""
    made_us: int = 0
    outputs: dict[str, Any] = {}
    artifacts: dict[str, KeptFile] = {}
    why: str = ""
    """Why there is none."""
    error: str = ""


class OutputsDecided(Struct, frozen=True, array_like=True, tag="outputs_decided"):
    """What a run gives to its caller, said when its tasks have succeeded."""

    at_us: int
    outputs: dict[str, Any] = {}
    error: str = ""


class HandlersTimedOut(Struct, frozen=True, array_like=True, tag="handlers_timed_out"):
    """The budget of the present phase of handlers is used up (rule H2)."""

    at_us: int


class GateClosed(Struct, frozen=True, array_like=True, tag="gate_closed"):
    """What must hold before the first task of a queued run does not; it is looked at again later."""

    at_us: int
    why: str


class RunRefused(Struct, frozen=True, array_like=True, tag="run_refused"):
    """A queued run starts, but none of its tasks may: it goes straight to its handlers."""

    at_us: int
    mono_us: int
    reason: Reason
    error: str


class TaskRefused(Struct, frozen=True, array_like=True, tag="task_refused"):
    """A queued task gets no place, ever."""

    task: str
    at_us: int
    reason: Reason
    error: str


Event = (
    RunCreated | GateClosed | RunRefused | TaskRefused | RunStarted | AttemptStarting | AttemptRunning | AttemptEnded
    | RetryDue | CancelRequested | RunTimedOut | TaskCancelRequested | ConditionDecided | Expanded | RepeatDecided
    | CacheDecided | OutputsDecided | HandlersTimedOut
)  # fmt: skip


# ---- Facts that the engine says itself, kept for people and for the journal; the fold passes over them ---------------


class TaskSettled(Struct, frozen=True, array_like=True, tag="task_settled"):
    """A task became terminal without an attempt ending: skipped, upstream_failed, cancelled, kept."""

    task: str
    at_us: int
    state: TaskState
    reason: Reason | None = None


class RunEnded(Struct, frozen=True, array_like=True, tag="run_ended"):
    at_us: int
    state: RunState
    reason: Reason | None = None
    error: str = ""


class RunSeen(Struct, frozen=True, array_like=True, tag="run_seen"):
    """Somebody has taken note that the run failed, or (`seen` False) it is to be looked at again."""

    at_us: int
    by: str
    workflow: str
    seen: bool = True


# ---- Facts of the host ----------------------------------------------------------------------------------------------


class DaemonStarted(Struct, frozen=True, array_like=True, tag="daemon_started"):
    at_us: int
    version: str
    boot_id: str


class DaemonStopped(Struct, frozen=True, array_like=True, tag="daemon_stopped"):
    at_us: int


class DefinitionLoaded(Struct, frozen=True, array_like=True, tag="definition_loaded"):
    at_us: int
    workflow: str
    file: str
    digest: str
    change: str = ""
    """What it is to the text before: one of `changes.Change`."""


class DefinitionRefused(Struct, frozen=True, array_like=True, tag="definition_refused"):
    at_us: int
    workflow: str
    message: str


class DefinitionRemoved(Struct, frozen=True, array_like=True, tag="definition_removed"):
    at_us: int
    workflow: str


class WorkflowPaused(Struct, frozen=True, array_like=True, tag="workflow_paused"):
    at_us: int
    workflow: str
    by: str


class WorkflowResumed(Struct, frozen=True, array_like=True, tag="workflow_resumed"):
    at_us: int
    workflow: str
    by: str


class HistoryRemoved(Struct, frozen=True, array_like=True, tag="history_removed"):
    """Retention took runs away (rule I6)."""

    at_us: int
    workflow: str
    runs: int
    newest: int


class CacheCleared(Struct, frozen=True, array_like=True, tag="cache_cleared"):
    """Somebody made earlier successes be forgotten; `task` empty: of all tasks."""

    at_us: int
    workflow: str
    task: str
    by: str
    entries: int


class MessageLost(Struct, frozen=True, array_like=True, tag="message_lost"):
    """A notification was given up, or dropped as too many waited."""

    at_us: int
    channel: str
    message: int
    error: str


class SecretChanged(Struct, frozen=True, array_like=True, tag="secret_changed"):
    """A value was put into the store; the event knows who did it, and not what it is."""

    at_us: int
    secret: str
    by: str
    version: int


class SecretRemoved(Struct, frozen=True, array_like=True, tag="secret_removed"):
    at_us: int
    secret: str
    by: str


class SecretsRekeyed(Struct, frozen=True, array_like=True, tag="secrets_rekeyed"):
    """All values of the store were sealed anew under another key."""

    at_us: int
    by: str
    secrets: int


class BackfillRecorded(Struct, frozen=True, array_like=True, tag="backfill_recorded"):
    """Somebody asked for runs of past slots."""

    at_us: int
    backfill: int
    workflow: str
    trigger: str
    slots: int
    by: str


class BackfillCancelled(Struct, frozen=True, array_like=True, tag="backfill_cancelled"):
    """Its remaining slots get no runs."""

    at_us: int
    backfill: int
    workflow: str
    slots: int
    by: str


class BackfillSlotRefused(Struct, frozen=True, array_like=True, tag="backfill_slot_refused"):
    """A slot of a backfill could not be made a run."""

    at_us: int
    backfill: int
    workflow: str
    scheduled_us: int
    error: str


class BackfillEnded(Struct, frozen=True, array_like=True, tag="backfill_ended"):
    """Nothing of it is left to do."""

    at_us: int
    backfill: int
    workflow: str
    succeeded: int
    failed: int
    cancelled: int
    refused: int


class ExpectationMissed(Struct, frozen=True, array_like=True, tag="expectation_missed"):
    """What a workflow's `expect` says did not happen in time. `subject`: the slot's time, or the run."""

    at_us: int
    workflow: str
    sort: str
    trigger: str
    subject: int
    text: str


class ExpectationMet(Struct, frozen=True, array_like=True, tag="expectation_met"):
    """It has happened after all."""

    at_us: int
    workflow: str
    sort: str
    trigger: str
    subject: int
    text: str


class ClockStepped(Struct, frozen=True, array_like=True, tag="clock_stepped"):
    """Somebody set the wall clock (rule T8); `at_us` is what it showed then, `by_us` is negative for a step back."""

    at_us: int
    by_us: int


class BackupMade(Struct, frozen=True, array_like=True, tag="backup_made"):
    """A copy of the store was handed over. `findings`: what a check of the copy found wrong; 0: it can be restored."""

    at_us: int
    by: str
    size_bytes: int
    runs: int
    with_logs: bool
    findings: int = 0


class StoreRestored(Struct, frozen=True, array_like=True, tag="store_restored"):
    """This store came out of a backup; `made_at` is when that was made, `ended` runs were live in it."""

    at_us: int
    made_at: str
    instance: str
    """Of the store that the backup is of."""
    ended: int


class HostDrained(Struct, frozen=True, array_like=True, tag="host_drained"):
    """No task starts from now on."""

    at_us: int
    by: str


class HostUndrained(Struct, frozen=True, array_like=True, tag="host_undrained"):
    at_us: int
    by: str


class SettingsChanged(Struct, frozen=True, array_like=True, tag="settings_changed"):
    """Settings were read again. `live`: keys that are in force; `restart`: those that the next start brings."""

    at_us: int
    live: tuple[str, ...]
    restart: tuple[str, ...] = ()


HostEvent = (
    BackfillRecorded
    | BackfillCancelled
    | BackfillSlotRefused
    | BackfillEnded
    | ExpectationMissed
    | ExpectationMet
    | ClockStepped
    | MessageLost
    | SecretChanged
    | SecretRemoved
    | SecretsRekeyed
    | CacheCleared
    | DaemonStarted
    | DaemonStopped
    | DefinitionLoaded
    | DefinitionRefused
    | DefinitionRemoved
    | WorkflowPaused
    | WorkflowResumed
    | HistoryRemoved
    | BackupMade
    | StoreRestored
    | HostDrained
    | HostUndrained
    | SettingsChanged
)
StoredEvent = Event | TaskSettled | RunEnded | RunSeen | HostEvent
