"""What events say, as sentences for people. Pure: from a stored event to a line of `pyflowctl events`."""

from __future__ import annotations

from typing import assert_never

import msgspec

from pyflowd.clock import US, from_us
from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    BackfillCancelled,
    BackfillEnded,
    BackfillRecorded,
    BackfillSlotRefused,
    BackupMade,
    CacheCleared,
    CacheDecided,
    CancelRequested,
    ClockStepped,
    ConditionDecided,
    DaemonStarted,
    DaemonStopped,
    DefinitionLoaded,
    DefinitionRefused,
    DefinitionRemoved,
    Expanded,
    ExpectationMet,
    ExpectationMissed,
    GateClosed,
    HandlersTimedOut,
    HistoryRemoved,
    HostDrained,
    HostUndrained,
    MessageLost,
    OutputsDecided,
    RepeatDecided,
    RetryDue,
    RunCreated,
    RunEnded,
    RunRefused,
    RunSeen,
    RunStarted,
    RunTimedOut,
    SecretChanged,
    SecretRemoved,
    SecretsRekeyed,
    SettingsChanged,
    StoredEvent,
    StoreRestored,
    TaskCancelRequested,
    TaskRefused,
    TaskSettled,
    WorkflowPaused,
    WorkflowResumed,
)
from pyflowd.model.ends import (
    Answer,
    CallEnd,
    End,
    Exit,
    HostRestarted,
    LostAttempt,
    RunEnd,
    StartFailure,
    Stop,
    Stopped,
    Waited,
)
from pyflowd.model.states import RUN_TERMINAL
from pyflowd.protocol.views_runs import EventView
from pyflowd.render.layout import clean, plural, span, spoken, values_text
from pyflowd.store.store import Row
from pyflowd.units import size_text

_event = msgspec.msgpack.Decoder(StoredEvent)


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


def workflow_of(body: bytes) -> str:
    """The workflow that a stored event of the host is about; empty: it is about the host itself."""
    return str(getattr(_event.decode(body), "workflow", ""))


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
            return f"{event.task}: attempt {event.attempt} {_running(event)}"
        case AttemptEnded():
            return f"{event.task}: attempt {event.attempt} {end_text(event.end)}"
        case RetryDue():
            return f"{event.task}: its back-off is over"
        case TaskSettled():
            why = f" ({event.reason})" if event.reason and event.reason.value != event.state.value else ""
            return f"{event.task}: " + f"{event.state}{why}".replace("_", " ")
        case CancelRequested():
            return f"run {run}: cancel asked for by {event.by}"
        case TaskCancelRequested():
            return f"{event.task}: cancel asked for by {event.by}"
        case RunTimedOut():
            return f"run {run}: its time ran out"
        case HandlersTimedOut():
            return f"run {run}: the time of its handlers ran out"
        case GateClosed():
            return f"run {run} waits for its gate: {event.why}"
        case RunRefused():
            return f"run {run}: none of its tasks may begin: {event.error}"
        case TaskRefused():
            return f"{event.task}: it may not begin: {event.error}"
        case RunEnded():
            return f"run {run} {event.state}" + (f": {event.error}" if event.error else "")
        case RunSeen():
            return f"run {run} {'was seen' if event.seen else 'is to be looked at again'}, says {event.by}"
        case CacheDecided():
            return _recalled(event)
        case ConditionDecided() | Expanded() | RepeatDecided() | OutputsDecided():
            return _decided(event, run)
        case _:
            return _tag(event)


def _tag(event: StoredEvent) -> str:
    return str(type(event).__struct_config__.tag)


def _running(event: AttemptRunning) -> str:
    if event.called:
        return f"runs as run {event.called}"
    if event.pid:
        return f"runs as process {event.pid}"
    message = event.facts.get("message")
    return f"waits for an answer: {message}" if message else "runs"


def _decided(event: ConditionDecided | Expanded | RepeatDecided | OutputsDecided, run: int) -> str:
    """What an expression of the definition came to."""
    match event:
        case ConditionDecided():
            what, said = f"{event.task}: its condition", "holds" if event.holds else "does not hold"
        case RepeatDecided():
            what, said = f"{event.task}: its repeat", "asks for another pass" if event.again else "is done"
        case Expanded():
            said = plural(len(event.items), "item")
            return f"{event.task}: " + (f"its items cannot be told: {event.error}" if event.error else said)
        case OutputsDecided():
            given = f"outputs {', '.join(event.outputs)}" if event.outputs else "no outputs"
            return f"run {run}: " + (f"its outputs cannot be told: {event.error}" if event.error else given)
        case _:
            assert_never(event)
    if event.error:
        return f"{what} cannot be told: {event.error}"
    used = values_text(event.values)
    return f"{what} {said}: {used}" if used else f"{what} {said}"


def _recalled(event: CacheDecided) -> str:
    """Whether an earlier success is used again, and if not, why."""
    if event.error:
        return f"{event.task}: what it may use again cannot be told: {event.error}"
    key = f"key {clean(event.key)}"
    if not event.run:
        return f"{event.task}: no earlier success is used, {event.why} ({key})"
    age = span((event.at_us - event.made_us) / 1_000_000)
    return f"{event.task}: what run {event.run} gave {age} ago is used again ({key})"


def _host_sentence(event: StoredEvent) -> str:
    match event:
        case DaemonStarted():
            return f"pyflowd {event.version} started"
        case DaemonStopped():
            return "pyflowd stopped"
        case DefinitionLoaded():
            how = f" ({spoken(event.change)})" if event.change else ""
            return f"{event.workflow}: definition {event.digest[:12]} in force, from {event.file}{how}"
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
        case SecretChanged():
            return f"secret {event.secret}: set by {event.by}, version {event.version}"
        case SecretRemoved():
            return f"secret {event.secret}: removed by {event.by}"
        case BackupMade():
            logs = ", with logs and artifacts" if event.with_logs else ""
            faults = f"; a check of it found {plural(event.findings, 'fault')}" if event.findings else ""
            size = size_text(event.size_bytes)
            return f"backup of {plural(event.runs, 'run')}{logs} made for {event.by}: {size}{faults}"
        case StoreRestored():
            lived = f"; of those live in it {plural(event.ended, 'run')} ended by that" if event.ended else ""
            return f"the store was restored from a backup of {event.made_at}{lived}"
        case HostDrained():
            return f"drained by {event.by}: no task starts"
        case HostUndrained():
            return f"undrained by {event.by}: tasks start again"
        case SettingsChanged():
            waits = f"; at the next start: {', '.join(event.restart)}" if event.restart else ""
            return f"settings read again: {', '.join(event.live) or 'nothing changes now'}{waits}"
        case SecretsRekeyed():
            return f"{plural(event.secrets, 'secret')} sealed under another key, asked for by {event.by}"
        case CacheCleared():
            of = f"{event.workflow}, task {event.task}" if event.task else event.workflow
            return f"{of}: its cache was cleared by {event.by} ({event.entries} kept)"
        case MessageLost():
            return f"message {event.message} to {event.channel} was lost: {event.error}"
        case ExpectationMissed() | ExpectationMet():
            return f"{event.workflow}: {event.text}"
        case ClockStepped():
            back = "back" if event.by_us < 0 else "forward"
            return f"the clock was set {back} by {span(abs(event.by_us) / US)}"
        case BackfillRecorded() | BackfillCancelled() | BackfillSlotRefused() | BackfillEnded():
            return _backfill_sentence(event)
        case _:
            return _tag(event)


def _backfill_sentence(event: BackfillRecorded | BackfillCancelled | BackfillSlotRefused | BackfillEnded) -> str:
    of = f"backfill {event.backfill} of {event.workflow}"
    match event:
        case BackfillRecorded():
            return f"{of}: {plural(event.slots, 'slot')} of {event.trigger}, asked for by {event.by}"
        case BackfillCancelled():
            return f"{of}: cancelled by {event.by}, {plural(event.slots, 'slot')} left out"
        case BackfillSlotRefused():
            return f"{of}: no run for the slot {from_us(event.scheduled_us):%Y-%m-%d %H:%M} UTC: {event.error}"
        case BackfillEnded():
            ends = {"succeeded": event.succeeded, "failed": event.failed, "cancelled": event.cancelled}
            told = [f"{count} {word}" for word, count in {**ends, "refused": event.refused}.items() if count]
            return f"{of} has ended: {', '.join(told) or 'no runs'}"


def end_text(end: End) -> str:
    """How an attempt ended, as the end of a sentence."""
    match end:
        case StartFailure():
            return f"could not be started: {end.message}"
        case LostAttempt():
            return f"is unknown: {end.why}"
        case HostRestarted():
            return f"ended: the host is up again, boot {end.boot_after} after {end.boot_before}"
        case Exit():
            how = f"ended by signal {end.signal}" if end.signal is not None else f"ended with exit code {end.exit_code}"
            return how + (", out of memory" if end.oom_kills else "") + _stop_text(end.stop)
        case CallEnd():
            status = f" with status {end.status}" if end.status is not None else ""
            return f"ended{status}" + (f": {end.error}" if end.error else "") + _stop_text(end.stop)
        case RunEnd():
            ended = f"run {end.run} {end.state}" if end.state in RUN_TERMINAL else f"run {end.run} goes on by itself"
            return f"ended: {end.error or ended}" + _stop_text(end.stop)
        case Answer():
            if not end.by:
                meant = "skipped" if end.skip else "approved" if end.approved else "rejected"
                return f"was answered by nobody in time: {meant}"
            return f"was {'approved' if end.approved else 'rejected'} by {end.by}" + (
                f": {end.comment}" if end.comment else ""
            )
        case Waited():
            return "ended" + (f": {end.error}" if end.error else "")
        case Stopped():
            return "ended" + _stop_text(end.stop)
        case _:
            assert_never(end)


def _stop_text(stop: Stop) -> str:
    match stop:
        case Stop.NONE:
            return ""
        case Stop.TIMEOUT:
            return ", stopped: its time ran out"
        case Stop.REQUEST:
            return ", stopped on request"
        case Stop.SHUTDOWN:
            return ", stopped with the keeper"
