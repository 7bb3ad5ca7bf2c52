"""What happens to a run, as values: the engine's input, and what the store keeps of it (rule I6).

Stored as msgpack arrays for ever: a field is only added at the end, with a default; a tag never changes its meaning.
Times: `at_us` is wall clock, `mono_us` boot-time clock (rule R11), both in microseconds.
"""

from __future__ import annotations

from msgspec import Struct

from pyflowd.model import End, Reason, RunState, TaskState


class RunCreated(Struct, frozen=True, array_like=True, tag="run_created"):
    """The run exists. `kept`: tasks whose state is taken over from the run that this one repeats."""

    at_us: int
    kept: dict[str, TaskState] = {}


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


class AttemptRunning(Struct, frozen=True, array_like=True, tag="attempt_running"):
    task: str
    attempt: int
    pid: int
    started_us: int


class AttemptEnded(Struct, frozen=True, array_like=True, tag="attempt_ended"):
    """`random` in [0, 1) is for the back-off's jitter (rule R2)."""

    task: str
    attempt: int
    at_us: int
    mono_us: int
    end: End
    random: float = 0.0


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


Event = (
    RunCreated | RunStarted | AttemptStarting | AttemptRunning | AttemptEnded | RetryDue | CancelRequested | RunTimedOut
)


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


HostEvent = (
    DaemonStarted
    | DaemonStopped
    | DefinitionLoaded
    | DefinitionRefused
    | DefinitionRemoved
    | WorkflowPaused
    | WorkflowResumed
    | HistoryRemoved
)
StoredEvent = Event | TaskSettled | RunEnded | HostEvent
