"""What the host's journal says of each sort of fact."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from pyflowd.engine.outcomes import Outcome
from pyflowd.events import (
    AttemptEnded,
    CancelRequested,
    DaemonStarted,
    DefinitionRefused,
    RunCreated,
    RunEnded,
    SecretChanged,
    StoredEvent,
    TaskSettled,
)
from pyflowd.model.ends import Answer, Exit
from pyflowd.model.states import AttemptState, Reason, RunState, TaskState
from pyflowd.render import journal_entries
from pyflowd.render.journal_entries import MESSAGE_IDS, SLOT_SKIPPED, fields, priority
from pyflowd.store.batch import Fact, RunMeta, SlotSkipped
from tests.unit.test_man import section

CATALOG = Path(__file__).resolve().parent.parent.parent / "systemd" / "pyflow.catalog"
META = RunMeta(run=42, workflow="nightly", digest="d", trigger="cron", requested_by="scheduler")
ENDED = Exit(exit_code=None, signal=15, started_us=1, ended_us=2)
OTHERS = {SLOT_SKIPPED, "task_output", "output_left_out", "entries_dropped"}


def entry(
    event: StoredEvent | SlotSkipped, *, outcome: Outcome | None = None, meta: RunMeta | None = META
) -> dict[str, str]:
    fact = Fact(7, 42 if meta else None, event, outcome)
    found = fields(fact, meta)
    assert len({name for name, _ in found}) == len(found)
    return {name: str(value) for name, value in found}


def test_every_kind_of_event_has_an_id_of_its_own_and_no_other_has() -> None:
    tags = {str(kind.__struct_config__.tag) for kind in get_args(StoredEvent)}
    assert tags | OTHERS == set(MESSAGE_IDS)
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in MESSAGE_IDS.values())


def test_an_event_without_an_id_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_entries, "MESSAGE_IDS", {})
    found = entry(RunCreated(1))
    assert "MESSAGE_ID" not in found
    assert found["MESSAGE"] == "nightly: run 42 recorded"


def test_the_ids_stand_in_the_manual() -> None:
    table = section("pyflowd.8", "JOURNAL").split("Kinds of entries")[1]
    assert dict(re.findall(r"^([a-z_]+) +([0-9a-f]{32})$", table, re.MULTILINE)) == MESSAGE_IDS


def test_the_catalog_explains_every_kind_of_entry_by_fields_that_there_are() -> None:
    text = CATALOG.read_text()
    assert re.findall(r"^-- (.*)$", text, re.MULTILINE) == list(MESSAGE_IDS.values())
    known = set(re.findall(r"PYFLOW_[A-Z_]+", section("pyflowd.8", "JOURNAL")))
    assert set(re.findall(r"@(\w+)@", text)) <= known


def test_an_attempt_that_ended_says_which_and_how() -> None:
    end = Exit(exit_code=7, signal=None, started_us=1, ended_us=2)
    outcome = Outcome(AttemptState.FAILED, Reason.EXIT_CODE, "exit code 7", 7)
    assert entry(AttemptEnded("copy", 2, 1, 1, end), outcome=outcome) == {
        "MESSAGE": "nightly: run 42: copy: attempt 2 ended with exit code 7",
        "MESSAGE_ID": MESSAGE_IDS["attempt_ended"], "PRIORITY": "4", "SYSLOG_IDENTIFIER": "pyflowd",
        "PYFLOW_EVENT": "7", "PYFLOW_WORKFLOW": "nightly", "PYFLOW_RUN": "42", "PYFLOW_TASK": "copy",
        "PYFLOW_ATTEMPT": "2", "PYFLOW_STATE": "failed", "PYFLOW_REASON": "exit_code", "PYFLOW_EXIT_CODE": "7",
    }  # fmt: skip


def test_exit_code_0_is_said() -> None:
    end = Exit(exit_code=0, signal=None, started_us=1, ended_us=2)
    assert (
        entry(AttemptEnded("a", 1, 1, 1, end), outcome=Outcome(AttemptState.SUCCEEDED, None, "", 0))["PYFLOW_EXIT_CODE"]
        == "0"
    )


def test_who_asked_and_what_started_a_run_is_said() -> None:
    found = entry(RunCreated(1))
    assert (found["PYFLOW_TRIGGER"], found["PYFLOW_USER"], found["PYFLOW_STATE"]) == ("cron", "scheduler", "queued")
    assert entry(CancelRequested(1, "anna"))["PYFLOW_USER"] == "anna"
    answer = Answer(approved=True, by="bert", ended_us=1)
    assert entry(AttemptEnded("ask", 1, 1, 1, answer), outcome=Outcome(AttemptState.SUCCEEDED))["PYFLOW_USER"] == "bert"


def test_a_fact_of_the_host_has_no_run() -> None:
    assert entry(SecretChanged(1, "db-password", "anna", 3), meta=None) == {
        "MESSAGE": "secret db-password: set by anna, version 3", "MESSAGE_ID": MESSAGE_IDS["secret_changed"],
        "PRIORITY": "5", "SYSLOG_IDENTIFIER": "pyflowd", "PYFLOW_EVENT": "7", "PYFLOW_USER": "anna",
    }  # fmt: skip


def test_a_skipped_slot_says_when_and_why() -> None:
    found = entry(SlotSkipped("w", "t", 1_700_000_000_000_000, "overlap", 41, ""), meta=None)
    assert found["MESSAGE"] == "w: slot 2023-11-14 22:13:20 UTC of t skipped: a run was live (run 41)"
    assert (found["PYFLOW_STATE"], found["PYFLOW_REASON"], found["PYFLOW_TRIGGER"]) == ("skipped", "overlap", "t")


def test_a_message_is_one_line_of_printable_text_whatever_a_name_or_an_error_holds() -> None:
    evil = DefinitionRefused(1, "w", "a\nMESSAGE=forged\x1b[31m\u202e")
    assert entry(evil, meta=None)["MESSAGE"] == "w: refused: a⏎MESSAGE=forged\\x1b[31m\\x202e"


@pytest.mark.parametrize(
    ("event", "outcome", "expected"),
    [
        (RunEnded(1, RunState.FAILED), None, 3),
        (RunEnded(1, RunState.CANCELLED), None, 5),
        (RunEnded(1, RunState.SUCCEEDED), None, 6),
        (AttemptEnded("t", 1, 1, 1, ENDED), Outcome(AttemptState.TIMED_OUT), 4),
        (AttemptEnded("t", 1, 1, 1, ENDED), Outcome(AttemptState.CANCELLED), 6),
        (TaskSettled("t", 1, TaskState.FAILED), None, 4),
        (TaskSettled("t", 1, TaskState.SKIPPED), None, 6),
        (DefinitionRefused(1, "w", "bad"), None, 4),
        (DaemonStarted(1, "1", "b"), None, 5),
        (RunCreated(1), None, 6),
    ],
)
def test_a_priority_fits_what_an_administrator_would_do(
    event: StoredEvent, outcome: Outcome | None, expected: int
) -> None:
    assert priority(Fact(1, 1, event, outcome)) == expected
