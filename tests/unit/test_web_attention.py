"""What the overview says needs a person, and the sentence at its head."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from pyflowd.clock import US
from pyflowd.model.problem import Problem, Severity
from pyflowd.protocol.figures import OutcomesView, OutcomeView
from pyflowd.protocol.views_host import HostView
from pyflowd.protocol.views_runs import ApprovalView, RunView, TaskView
from pyflowd.protocol.views_workflows import WorkflowView
from pyflowd.web.pages.attention import Facts, Need, heading, needs
from pyflowd.web.times import Times

NOW = 1_795_458_600 * US  # Mon 2026-11-23 19:30 in Berlin
TIMES = Times(ZoneInfo("Europe/Berlin"), NOW)
MINUTE = 60 * US


def host(**fields: Any) -> HostView:
    given: dict[str, Any] = {
        "version": "1", "pid": 1, "started_us": NOW - 3600 * US, "now_us": NOW, "root": "/r", "workflows": 1,
        "running": [], "queued": [], "failed": [], "succeeded_24h": 0, "failed_24h": 0, "next": [], "problems": [],
    }  # fmt: skip
    return HostView(**{**given, **fields})


def failed(workflow: str = "backup", run: int = 7, ended_us: int = NOW - 14 * MINUTE, **fields: Any) -> WorkflowView:
    given = RunView(
        run=run, workflow=workflow, state="failed", error="upload: exit code 11", ended_us=ended_us,
        started_us=ended_us - MINUTE, **fields,
    )  # fmt: skip
    return WorkflowView(workflow=workflow, state="active", last=given, next_us=NOW + 60 * MINUTE)


def task(**fields: Any) -> TaskView:
    return TaskView(**{"task": "upload", "state": "failed", "attempts": 3, **fields})


def needed(facts: Facts, *, may_operate: bool = True) -> list[Need]:
    return needs(facts, TIMES, lambda _: may_operate)


def refused(text: str) -> ApprovalView:
    return ApprovalView(run=3, workflow="deploy", task="ask", message="", since_us=NOW, allow=["a"], refusal=text)


def facts(*views: WorkflowView, **fields: Any) -> Facts:
    given: dict[str, Any] = {"host": host(), "workflows": views, "outcomes": {}, "failed_tasks": {}}
    return Facts(**{**given, **fields})


def test_a_failure_says_where_why_how_often_when_and_what_comes_by_itself() -> None:
    ended = OutcomeView(run=5, state="succeeded", started_us=NOW - 90 * MINUTE, ended_us=NOW - 60 * MINUTE)
    known = OutcomesView(workflow="backup", runs=[ended, OutcomeView(run=7, state="failed")])
    (found,) = needed(facts(failed(), failed_tasks={7: task()}, outcomes={"backup": known}))
    assert (found.subject, found.say, found.task, found.tail) == (
        "backup", "failed at", "upload", "exit code 11, three times",
    )  # fmt: skip
    assert found.facts == (
        "Failed 14 min ago, 19:16:00 CET. Last success 18:30 CET. Starts again by itself 20:30 CET, in 1 h."
    )
    assert [each.label for each in found.acts] == ["Rerun from upload", "Seen"]
    assert found.acts[0].fields == {"from_task": "upload"}
    assert found.acts[0].command == "pyflowctl rerun 7 --from upload"


def test_a_failed_item_is_done_again_with_its_fan_out() -> None:
    (found,) = needed(facts(failed(), failed_tasks={7: task(task="upload[a b]", of="upload", item="a b")}))
    assert found.acts[0].fields == {"from_task": "upload"}


def test_a_failed_handler_is_no_task_to_begin_with() -> None:
    (found,) = needed(facts(failed(), failed_tasks={7: task(task="tell", section="finally")}))
    assert [each.label for each in found.acts] == ["Rerun all…", "Seen"]


def test_a_run_that_failed_at_no_task_says_why() -> None:
    (found,) = needed(facts(failed()))
    assert found.say + found.tail == "failed: upload: exit code 11"


def test_a_workflow_whose_newest_run_is_well_or_lives_needs_nobody() -> None:
    well = WorkflowView(workflow="a", state="active", last=RunView(run=1, workflow="a", state="succeeded"))
    lives = WorkflowView(workflow="b", state="active", last=RunView(run=2, workflow="b", state="running"))
    assert needed(facts(well, lives)) == []


def test_what_was_seen_stays_says_by_whom_and_stands_below_what_is_new() -> None:
    seen = failed("a", 1, NOW - MINUTE, seen_by="anna", seen_us=NOW - MINUTE // 2)
    found = needed(facts(seen, failed("b", 2)))
    assert [need.subject for need in found] == ["b", "a"]
    assert found[1].seen == "seen by anna 30 s ago"
    assert found[1].acts[-1].fields == {"seen": "no"}


def test_a_lost_attempt_is_told_as_unknown() -> None:
    (found,) = needed(facts(failed(), failed_tasks={7: task(reason="lost", attempts=1)}))
    assert (found.sort, found.state, found.say) == ("lost", "unknown", "has no true end of")


def test_an_approval_says_who_asked_and_what_happens_if_nobody_answers() -> None:
    asked = ApprovalView(
        run=3, workflow="deploy", task="production", message="Deploy 2.14?", since_us=NOW - 21 * MINUTE,
        requested_by="mira", choices=["now", "tonight"], due_us=NOW + 99 * MINUTE, on_timeout="reject",
    )  # fmt: skip
    (found,) = needed(facts(host=host(approvals=[asked])))
    assert (found.say, found.task, found.tail) == ("waits for approval of", "production", "Deploy 2.14?")
    assert found.facts == (
        "Asked by mira 21 min ago, 19:09 CET. Rejects itself 21:09 CET, in 1 h 39 min. Holds no slot meanwhile."
    )
    assert [each.label for each in found.acts] == ["Approve", "Reject"]
    assert found.acts[0].choices == ["now", "tonight"]
    assert found.acts[1].css == "danger"


@pytest.mark.parametrize(("minutes", "late"), [(11, False), (13, True)])
def test_a_run_is_late_beyond_three_times_the_usual(minutes: int, late: bool) -> None:
    run = RunView(run=4, workflow="sync", state="running", started_us=NOW - minutes * MINUTE)
    known = {"sync": OutcomesView(workflow="sync", runs=[], usual_us=4 * MINUTE)}
    found = needed(facts(host=host(running=[run]), outcomes=known))
    assert [need.sort for need in found] == (["late"] if late else [])


def test_a_run_that_waits_for_a_person_is_not_late() -> None:
    run = RunView(run=4, workflow="sync", state="running", started_us=NOW - 900 * MINUTE)
    known = {"sync": OutcomesView(workflow="sync", runs=[], usual_us=4 * MINUTE)}
    asked = ApprovalView(run=4, workflow="sync", task="t", message="?", since_us=NOW - MINUTE)
    found = needed(facts(host=host(running=[run], approvals=[asked]), outcomes=known))
    assert [need.sort for need in found] == ["approval"]


def test_a_refused_file_says_where_and_what_is_in_force() -> None:
    error = Problem(file="x.yaml", line=3, column=7, severity=Severity.ERROR, code="c", message="no key", fix="")
    stale = WorkflowView(workflow="x", state="stale", problems=[error, error])
    broken = WorkflowView(workflow="y", state="broken", problems=[error])
    first, second = needed(facts(stale, broken))
    assert first.tail.startswith("x.yaml:3:7: no key")
    assert first.tail.endswith("and one more problem")
    assert first.facts == "The version before stays in force until the file is good."
    assert second.facts == "No version of it was ever good: nothing starts."


def test_a_warning_about_the_host_comes_first_and_one_about_a_workflow_leads_there() -> None:
    warnings = ["backup: it had to have started by 03:00", "disk: no space left", "disk: no space left"]
    found = needed(facts(failed(), host=host(warnings=warnings)))
    assert [(need.sort, need.subject, need.tail) for need in found] == [
        ("warning", "", "disk: no space left"),
        ("failed", "backup", "upload: exit code 11"),
        ("warning", "backup", "it had to have started by 03:00"),
    ]
    assert found[2].path == "/workflows/backup"


def test_errors_of_doctor_are_told_once() -> None:
    found = needed(facts(host=host(warnings=["disk: full"]), errors=["disk: full", "store: damaged"]))
    assert [need.tail for need in found] == ["disk: full", "store: damaged"]


def test_whoever_may_only_read_is_offered_nothing_to_do() -> None:
    (found,) = needed(facts(failed(), failed_tasks={7: task()}), may_operate=False)
    assert found.acts == []
    assert found.main == ("See why", "/runs/7")


def test_rights_are_those_on_each_workflow() -> None:
    found = needs(facts(failed("ours", 1), failed("theirs", 2)), TIMES, lambda workflow: workflow == "ours")
    assert [(need.subject, bool(need.acts)) for need in found] == [("ours", True), ("theirs", False)]


def test_who_may_not_answer_an_approval_is_told_why_and_gets_no_button() -> None:
    (found,) = needed(facts(host=host(approvals=[refused("only user:anna may answer")])))
    assert found.acts == []
    assert found.facts.endswith("You may not answer it: only user:anna may answer.")
    assert found.main == ("See the run", "/runs/3?task=ask")


def test_a_failure_says_what_its_log_says() -> None:
    given = facts(failed(), failed_tasks={7: task()})
    (found,) = needed(replace(given, said={7: "No space\x1b[2J left"}))
    assert (found.said, found.tail) == ("No space\\x1b[2J left", "exit code 11, three times")


# ---- The heading


def need(sort: str, seen: str = "") -> Need:
    return Need(sort=sort, state="failed", subject="w", path="/", say="", seen=seen)


@pytest.mark.parametrize(
    ("sorts", "workflows", "running", "said"),
    [
        (["failed"], 3, 0, "One failure needs you"),
        (["failed", "lost", "approval"], 3, 0, "Two failures need you, one approval waits"),
        (["approval", "approval"], 3, 0, "Two approvals wait"),
        (["late", "stale"], 3, 1, "One run is late, one file is refused"),
        (["stale", "stale", "warning"], 3, 0, "Two files are refused, one warning"),
        (["failed", "approval", "late", "stale"], 3, 0, "One failure needs you, one approval waits, one run is late"),
        ([], 3, 0, "All is well, nothing runs"),
        ([], 3, 2, "All is well, two runs at work"),
        ([], 0, 0, "No workflow yet"),
        (["stale"], 0, 0, "One file is refused"),
    ],
)
def test_the_heading_says_what_needs_somebody(sorts: list[str], workflows: int, running: int, said: str) -> None:
    assert heading([need(sort) for sort in sorts], workflows=workflows, running=running) == said


def test_the_heading_leaves_out_what_was_seen() -> None:
    assert heading([need("failed", "seen by anna")], workflows=1, running=0) == "Nothing new: one failure seen"
    assert heading([need("failed", "seen"), need("failed")], workflows=1, running=0) == "One failure needs you"


def test_the_heading_begins_with_a_drain_of_the_host() -> None:
    drain = Need(sort="warning", state="warning", subject="", path="/", say="", tail="drain: drained by root")
    assert heading([drain], workflows=1, running=0) == "The host is drained"
    assert heading([drain, need("failed")], workflows=1, running=0) == "The host is drained, one failure needs you"


def test_thirteen_failures_are_told_in_figures() -> None:
    assert heading([need("failed")] * 13, workflows=20, running=0) == "13 failures need you"
