"""From rows of the store, and from definitions, to the views of the protocol. Pure but for the rows it is given."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

import msgspec

from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    CancelRequested,
    DaemonStarted,
    DaemonStopped,
    DefinitionLoaded,
    DefinitionRefused,
    DefinitionRemoved,
    HistoryRemoved,
    RetryDue,
    RunCreated,
    RunEnded,
    RunStarted,
    RunTimedOut,
    StoredEvent,
    TaskSettled,
    WorkflowPaused,
    WorkflowResumed,
)
from pyflowd.model import Argv, End, Exit, Fate, Kind, LostAttempt, Shell, StartFailure, Stop, Task, TaskState, Workflow
from pyflowd.protocol import EventView, RunView, SlotView, TaskView
from pyflowd.store.store import Row, Store

_params = msgspec.msgpack.Decoder(dict[str, object])
_event = msgspec.msgpack.Decoder(StoredEvent)
TASKS_PER_PAGE = 400
RUNNING_SHOWN = 5


def run_view(row: Row) -> RunView:
    """One run without its tasks, from the columns of `run` in reads.sql."""
    (
        run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
        requested_by, rerun_of, digest, tasks_total,
    ) = row  # fmt: skip
    return RunView(
        run=run, workflow=workflow, state=state, reason=reason, error=error, trigger=trigger,
        params=_params.decode(params), created_us=created_us, started_us=started_us, ended_us=ended_us,
        scheduled_us=scheduled_us, requested_by=requested_by, rerun_of=rerun_of, digest=digest,
        tasks_total=tasks_total,
    )  # fmt: skip


def counted(view: RunView, store: Store, running: Iterable[str] = ()) -> RunView:
    """The same with the number of tasks in each state."""
    counts: dict[str, int] = dict(store.rows("task_counts", view.run))
    waiting = view.tasks_total - sum(counts.values())
    if waiting:
        counts[TaskState.WAITING] = waiting
    return msgspec.structs.replace(view, counts=counts, running=list(running))


def task_pages(
    store: Store, run: int, workflow: Workflow, live: dict[str, tuple[int, int]]
) -> Iterator[list[TaskView]]:
    """All tasks of a run in the order of its definition, page by page.

    `live`: task to (CPU microseconds, resident bytes) as sampled, for attempts under way.
    """
    rows = {row[0]: row for row in store.rows("tasks", run, 0, -1)}
    page: list[TaskView] = []
    for n, task in enumerate(workflow.tasks):
        page.append(_task_view(rows.get(n), task, live.get(task.name)))
        if len(page) == TASKS_PER_PAGE:
            yield page
            page = []
    if page:
        yield page


def _task_view(row: Row | None, definition: Task, sample: tuple[int, int] | None) -> TaskView:
    needs = list(definition.needs)
    if row is None:
        return TaskView(
            task=definition.name,
            state=TaskState.WAITING,
            needs=needs,
            attempts_max=definition.retry.attempts,
            allowed=definition.continue_on_error,
        )
    _, task, state, reason, error, attempts, retry_us, code, signal, started_us, ended_us, cpu_us, max_rss = row
    if state == TaskState.RUNNING:
        ended_us = None
        code = signal = None
        cpu_us, max_rss = sample or (None, None)
    return TaskView(
        task=task,
        state=state,
        reason=reason,
        error=error,
        exit_code=code,
        signal=signal,
        attempts=attempts,
        started_us=started_us,
        ended_us=ended_us,
        retry_us=retry_us,
        cpu_s=None if cpu_us is None else cpu_us / 1_000_000,
        max_rss_bytes=max_rss,
        needs=needs,
        attempts_max=definition.retry.attempts,
        allowed=definition.continue_on_error,
    )


def slot_view(row: Row) -> SlotView:
    workflow, trigger, scheduled_us, fate, reason, run = row
    return SlotView(
        workflow=workflow, trigger=trigger, scheduled_us=scheduled_us, fate=Fate(fate), reason=reason, run=run
    )


def command_text(kind: Kind) -> str:
    """What a process task would run, for people."""
    match kind:
        case Shell():
            return kind.text
        case Argv():
            return shlex.join(kind.argv)


# ---- Events as sentences --------------------------------------------------------------------------------------------


def event_view(row: Row, workflow: str) -> EventView:
    """One stored event with a sentence for people."""
    event_id, run, at_us, body = row
    event = _event.decode(body)
    config = type(event).__struct_config__
    return EventView(
        event=event_id,
        at_us=at_us,
        type=str(config.tag),
        run=run,
        workflow=getattr(event, "workflow", workflow),
        task=getattr(event, "task", ""),
        attempt=getattr(event, "attempt", None),
        text=sentence(event, run),
    )


def sentence(event: StoredEvent, run: int | None) -> str:
    """What happened, in one sentence without its subject's place in time."""
    if run is None:
        return _host_sentence(event)
    match event:
        case RunCreated():
            return f"run {run} recorded"
        case RunStarted():
            return f"run {run} started"
        case AttemptStarting():
            return f"{event.task}: attempt {event.attempt} is being started"
        case AttemptRunning():
            return f"{event.task}: attempt {event.attempt} runs as process {event.pid}"
        case AttemptEnded():
            return f"{event.task}: attempt {event.attempt} {end_text(event.end)}"
        case RetryDue():
            return f"{event.task}: its back-off is over"
        case TaskSettled():
            why = f" ({event.reason})" if event.reason and event.reason.value != event.state.value else ""
            return f"{event.task}: " + f"{event.state}{why}".replace("_", " ")
        case CancelRequested():
            return f"run {run}: cancel asked for by {event.by}"
        case RunTimedOut():
            return f"run {run}: its time ran out"
        case RunEnded():
            return f"run {run} {event.state}" + (f": {event.error}" if event.error else "")
        case _:
            return str(type(event).__struct_config__.tag)


def _host_sentence(event: StoredEvent) -> str:
    match event:
        case DaemonStarted():
            return f"pyflowd {event.version} started"
        case DaemonStopped():
            return "pyflowd stopped"
        case DefinitionLoaded():
            return f"{event.workflow}: definition {event.digest[:12]} in force, from {event.file}"
        case DefinitionRefused():
            return f"{event.workflow}: refused: {event.message}"
        case DefinitionRemoved():
            return f"{event.workflow}: its file is gone"
        case WorkflowPaused():
            return f"{event.workflow}: paused by {event.by}"
        case WorkflowResumed():
            return f"{event.workflow}: resumed by {event.by}"
        case HistoryRemoved():
            return f"{event.workflow}: {event.runs} old runs removed, up to run {event.newest}"
        case _:
            return str(type(event).__struct_config__.tag)


def end_text(end: End) -> str:
    """How an attempt ended, as the end of a sentence."""
    match end:
        case StartFailure():
            return f"could not be started: {end.message}"
        case LostAttempt():
            return f"is unknown: {end.why}"
        case Exit():
            how = f"ended by signal {end.signal}" if end.signal is not None else f"ended with exit code {end.exit_code}"
            stopped = {Stop.NONE: "", Stop.TIMEOUT: ", stopped: its time ran out", Stop.REQUEST: ", stopped on request"}
            return how + stopped[end.stop]
