"""What the host's journal says of what is committed: a sentence, a priority, and fields to ask for.

The sentences are those of `pyflowctl events`. Pure: from a fact to fields. It knows nothing of journald, and nothing of
a task's output.
"""

from __future__ import annotations

from pyflowd.clock import from_us
from pyflowd.engine.outcomes import Outcome
from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    RunCreated,
    RunEnded,
    RunStarted,
    StoredEvent,
    TaskSettled,
)
from pyflowd.journal import IDENTIFIER
from pyflowd.keeper.journald import DROPPED_ID, ERROR, INFO, LEFT_OUT_ID, NOTICE, OUTPUT_ID, WARNING
from pyflowd.model.ends import Answer
from pyflowd.model.states import AttemptState, RunState, TaskState
from pyflowd.render.layout import clean
from pyflowd.render.render_runs import reason_text
from pyflowd.render.sentences import sentence
from pyflowd.store.batch import Fact, RunMeta, SlotSkipped

SLOT_SKIPPED = "slot_skipped"

MESSAGE_IDS = {
    "run_created": "97069754ba374b3fb29ea120d7bb3759",
    "run_started": "6ba2dfe8e38c478a9d3be82aa3359566",
    "run_ended": "ab82692055ee4b769bca81c50a2b9efe",
    "run_seen": "714773615890a3d434ef6159d80091e1",
    "run_refused": "6a8b1f8b33bf44ecbdeefb5ba32a3471",
    "run_timed_out": "bc849cdce3cb48b886438a6ab02d74f7",
    "gate_closed": "df592b17292c49a5a64682c5bca88f50",
    "cancel_requested": "ae8eae8f02ec4fdba51fe17d36ee6ef4",
    "handlers_timed_out": "dba8a5fbd7e34a7a98ddf37d2771ac49",
    "outputs_decided": "9ec39f4bd38d4910b15f65cffae2596e",
    "attempt_starting": "d0b5b5d8ad824145b14080719af78b02",
    "attempt_running": "a14c0573f23d4457bdd1c864c9d8e822",
    "attempt_ended": "a25a566be8a8428eac95f1b37f95bfb1",
    "retry_due": "c9fb68e7bced4029a232062b8cf73919",
    "task_settled": "8c7662569bf540c3a8b7ff81d2b4092f",
    "task_cancel_requested": "d8a4b818faf64a44a951dbe7dbbfafcc",
    "task_refused": "913803080c6a4c4f9b04abc0b0e85860",
    "condition_decided": "4ce0930e372e4eca982a1e1fd9faf710",
    "expanded": "4ec28cd704c64764a45941f0e17c2b44",
    "repeat_decided": "6f33b417afc045e1a79d3e8f34ec2853",
    "cache_decided": "5e61c4ce692b4996a966b9054ac5c3a5",
    "daemon_started": "9bbf7be85bef4321b2ddb39825c6ea32",
    "daemon_stopped": "350bd9a0247343f8b62c89e98680e693",
    "definition_loaded": "df1d06980a474126bf57d0171d283cf7",
    "definition_refused": "f9cf8f8b3d194602b310e24bf2a8fe42",
    "definition_removed": "c770b6c34e324928b8969d69ab26eed0",
    "workflow_paused": "5f60e71d699a4ec4ba71a69affc0eadc",
    "workflow_resumed": "52c7784065344ff19659ed0af0cdf896",
    "history_removed": "55a6f31115d54520b3bfdabdff9e5c52",
    "cache_cleared": "a7550f3d98cf4c63aa9098502c452b88",
    "message_lost": "a3b9f247f0964e0f8f6bb08aaea5e2e4",
    "secret_changed": "b1554c93b1f94b57a2d18292e74556ee",
    "secret_removed": "fa3d44eebdf44160831b85548b80bfb8",
    "secrets_rekeyed": "2f97bb3b54b345ba806c8d40c70f570e",
    "backfill_recorded": "1f3d456131724c008f56255c57538802",
    "backfill_cancelled": "35fe9a2100924ebaa5e12b77d9dec374",
    "backfill_slot_refused": "a46b59d64e66489da2bed18b4038e3d1",
    "backfill_ended": "46376ad4843f45c2afb4be7f919d3433",
    "expectation_missed": "7a9dd8437d324a78991cc0bc002c291b",
    "expectation_met": "899d2ec20cbe460fb126fec71ad650ac",
    "clock_stepped": "c8d478a3f50c49a581fbd401a360ceb7",
    "backup_made": "0d1c69da6940450e89e7293d8dc5501f",
    "store_restored": "edcc684bc73247008707a2b0a9208537",
    "host_drained": "2f2356bd094c4aae8dd1752bfa70c3bc",
    "host_undrained": "c281370315dd49dcb231e68224c80cfc",
    "settings_changed": "b13ab932bf8140f8b7cdccaa84a8c5e2",
    SLOT_SKIPPED: "03809903c7df43778efbfbe628af7f2c",
    "task_output": OUTPUT_ID,
    "output_left_out": LEFT_OUT_ID,
    "entries_dropped": DROPPED_ID,
}
"""MESSAGE_ID of each kind of entry: fixed for ever. They stand in `systemd/pyflow.catalog` and in pyflowd(8), too."""

_WARNINGS = frozenset({
    "run_refused", "run_timed_out", "handlers_timed_out", "task_refused", "definition_refused", "message_lost",
    "backfill_slot_refused", "expectation_missed", "clock_stepped", "store_restored",
})  # fmt: skip
_NOTICES = frozenset({
    "run_seen", "cancel_requested", "task_cancel_requested", "daemon_started", "daemon_stopped", "definition_loaded",
    "definition_removed", "workflow_paused", "workflow_resumed", "history_removed", "cache_cleared", "secret_changed",
    "secret_removed", "secrets_rekeyed", "backfill_recorded", "backfill_cancelled", "expectation_met", "backup_made",
    "host_drained", "host_undrained", "settings_changed",
})  # fmt: skip
_BAD_ENDS = frozenset({AttemptState.FAILED, AttemptState.TIMED_OUT, AttemptState.UNKNOWN})

Field = tuple[str, str | bytes | int]
Value = str | int | None


def priority(fact: Fact) -> int:
    """As syslog counts: a failed run is an error, a failed task a warning, what somebody asked for a notice."""
    event = fact.event
    match event:
        case SlotSkipped():
            return NOTICE
        case RunEnded():
            return {RunState.FAILED: ERROR, RunState.CANCELLED: NOTICE}.get(event.state, INFO)
        case AttemptEnded():
            return WARNING if fact.outcome and fact.outcome.state in _BAD_ENDS else INFO
        case TaskSettled():
            return WARNING if event.state is TaskState.FAILED else INFO
        case _:
            tag = _tag(event)
            return WARNING if tag in _WARNINGS else NOTICE if tag in _NOTICES else INFO


def fields(fact: Fact, meta: RunMeta | None) -> list[Field]:
    """All fields of the entry; `meta` is of the fact's run."""
    event = fact.event
    found: list[tuple[str, Value]] = [
        ("MESSAGE", message(fact, meta)),
        ("MESSAGE_ID", MESSAGE_IDS.get(SLOT_SKIPPED if isinstance(event, SlotSkipped) else _tag(event))),
        ("PRIORITY", priority(fact)),
        ("SYSLOG_IDENTIFIER", IDENTIFIER),
        ("PYFLOW_EVENT", fact.number or None),
        ("PYFLOW_WORKFLOW", meta.workflow if meta else getattr(event, "workflow", None)),
        ("PYFLOW_RUN", fact.run),
        ("PYFLOW_TASK", getattr(event, "task", None)),
        ("PYFLOW_ATTEMPT", getattr(event, "attempt", None)),
        *_became(event, fact.outcome),
        ("PYFLOW_TRIGGER", _trigger(event, meta)),
        ("PYFLOW_USER", _user(event, meta)),
    ]
    return [(name, value) for name, value in found if value not in (None, "")]


def message(fact: Fact, meta: RunMeta | None) -> str:
    """One line: the sentence of `pyflowctl events`, behind what stands in a column of its own there."""
    event = fact.event
    if isinstance(event, SlotSkipped):
        because = f" (run {event.because_of_run})" if event.because_of_run is not None else ""
        detail = f" ({event.detail})" if event.detail else ""
        slot = f"slot {from_us(event.scheduled_us):%Y-%m-%d %H:%M:%S} UTC of {event.trigger}"
        return clean(f"{event.workflow}: {slot} skipped: {reason_text(event.reason)}{because}{detail}")
    said = sentence(event, fact.run)
    if meta is None:
        return clean(said)
    of = f"{meta.workflow}: run {fact.run}: " if getattr(event, "task", "") else f"{meta.workflow}: "
    return clean(of + said)


def _tag(event: StoredEvent) -> str:
    return str(type(event).__struct_config__.tag)


def _became(event: StoredEvent | SlotSkipped, outcome: Outcome | None) -> list[tuple[str, Value]]:
    """The state that was reached, and why."""
    match event:
        case AttemptEnded() if outcome is not None:
            return [
                ("PYFLOW_STATE", outcome.state), ("PYFLOW_REASON", outcome.reason),
                ("PYFLOW_EXIT_CODE", outcome.exit_code), ("PYFLOW_SIGNAL", outcome.signal),
            ]  # fmt: skip
        case RunEnded() | TaskSettled():
            return [("PYFLOW_STATE", event.state), ("PYFLOW_REASON", event.reason)]
        case SlotSkipped():
            return [("PYFLOW_STATE", "skipped"), ("PYFLOW_REASON", event.reason)]
        case RunCreated():
            return [("PYFLOW_STATE", RunState.QUEUED)]
        case RunStarted():
            return [("PYFLOW_STATE", RunState.RUNNING)]
        case AttemptStarting():
            return [("PYFLOW_STATE", AttemptState.STARTING)]
        case AttemptRunning():
            return [("PYFLOW_STATE", AttemptState.RUNNING)]
        case _:
            return []


def _trigger(event: StoredEvent | SlotSkipped, meta: RunMeta | None) -> str | None:
    """What started the run, with its beginning and its end; else what the event itself is about."""
    if meta is not None:
        return meta.trigger if isinstance(event, RunCreated | RunStarted | RunEnded) else None
    return getattr(event, "trigger", None)


def _user(event: StoredEvent | SlotSkipped, meta: RunMeta | None) -> str | None:
    """Who asked for it."""
    if isinstance(event, RunCreated):
        return meta.requested_by if meta else None
    if isinstance(event, AttemptEnded):
        return event.end.by if isinstance(event.end, Answer) else None
    return getattr(event, "by", None)
