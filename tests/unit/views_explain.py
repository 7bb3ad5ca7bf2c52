"""Replies for tests of the renderers: explanations."""

from __future__ import annotations

from pyflowd.protocol.views import Reply
from pyflowd.protocol.views_runs import ExplanationView, FactView, StepView
from tests.unit.views import at_us

WAITS = ExplanationView(
    workflow="orders-sync", run=61, state="running",
    answer="run 61 of orders-sync is running: load waits for lock disk, held by run 60 (nightly-backup); at the root "
    "of it approve of run 60 waits for an answer of anna, group dba: may the old dump be removed?",
    answer_us=at_us("21:02:00"),
    facts=[
        FactView(code="host", text="keeper: gone; no task can start until it is back"),
        FactView(
            code="place", text="load waits for lock disk, held by run 60 (nightly-backup)", workflow="orders-sync",
            run=61, task="load",
        ),
        FactView(
            code="run", text="run 60 of nightly-backup is running", depth=1, at_us=at_us("20:30:00"),
            workflow="nightly-backup", run=60,
        ),
        FactView(
            code="approval", text="approve waits for an answer of anna, group dba: may the old dump be removed?",
            depth=2, at_us=at_us("21:02:00"), workflow="nightly-backup", run=60, task="approve",
        ),
        FactView(
            code="requested", text="its trigger hourly fired", at_us=at_us("21:00:00"), by="schedule",
            workflow="orders-sync", run=61, trigger="hourly",
        ),
    ],
    next=[
        StepView(
            text="somebody answers, or at that time it is answered by itself (reject)", at_us=at_us("22:02:00"),
            command="pyflowctl approve 60 approve",
        ),
        StepView(text="who holds places, and who waits", command="pyflowctl places"),
    ],
)  # fmt: skip
FAILED = ExplanationView(
    workflow="nightly-backup", run=42, task="dump", state="failed",
    answer="dump of run 42 of nightly-backup failed: exit code 7", answer_us=at_us("02:31:00"),
    facts=[
        FactView(code="attempt", text="attempt 2 failed: exit code 7", at_us=at_us("02:31:00"), run=42, task="dump"),
        FactView(code="output", text="pg_dump: error: connection to server failed", depth=1, run=42, task="dump"),
        FactView(code="output", text="\x1b[31mtwo\x1b[0m", depth=1, run=42, task="dump"),
        FactView(code="retries", text="its retry allows 2 attempts: none is left", run=42, task="dump"),
    ],
    next=[StepView(text="do again what failed", command="pyflowctl rerun 42 --failed")],
    left_out=3,
)  # fmt: skip
SLOT = ExplanationView(
    workflow="nightly-backup", trigger="schedule", scheduled_us=at_us("2026-03-01T02:30:00+01:00"), state="skipped",
    answer="nightly-backup: the slot of its trigger schedule was skipped: the workflow was paused",
    answer_us=at_us("2026-03-01T02:30:00+01:00"),
    facts=[
        FactView(code="paused", text="it was paused by anna", depth=1, by="anna", workflow="nightly-backup",
                 at_us=at_us("2026-02-28T18:00:00+01:00")),
    ],
)  # fmt: skip
NONE = ExplanationView(workflow="manual-only", state="active", answer="manual-only has no trigger")
REPLIES: dict[str, tuple[str, list[Reply]]] = {
    "explain-run": ("explain 61", [WAITS]),
    "explain-task": ("explain 42 dump", [FAILED]),
    "explain-slot": ("explain nightly-backup --at 02:30", [SLOT]),
    "explain-bare": ("explain manual-only", [NONE]),
}
"""Name to a command line and the replies to it."""
