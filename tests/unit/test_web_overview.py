"""The overview's own words: what became of the day, what runs against its usual time, what comes."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pyflowd.clock import US
from pyflowd.protocol.figures import OutcomesView, TimelineView
from pyflowd.protocol.tokens import IdentityView
from pyflowd.protocol.views_host import HostView
from pyflowd.protocol.views_runs import ApprovalView, RunView
from pyflowd.protocol.views_workflows import NextView, WorkflowView
from pyflowd.protocol.words import Level
from pyflowd.web.pages.attention import Facts
from pyflowd.web.pages.overview import LANES, ROWS, Overview, lanes, lede, overview, rows
from pyflowd.web.pages.words import no_right
from pyflowd.web.times import Times

NOW = 1_795_458_600 * US  # Mon 2026-11-23 19:30 in Berlin
TIMES = Times(ZoneInfo("Europe/Berlin"), NOW)
MINUTE = 60 * US


def host(**fields: Any) -> HostView:
    given: dict[str, Any] = {
        "version": "1", "pid": 1, "started_us": NOW - 60 * MINUTE, "now_us": NOW, "root": "/r", "workflows": 1,
        "running": [], "queued": [], "failed": [], "succeeded_24h": 0, "failed_24h": 0, "next": [], "problems": [],
    }  # fmt: skip
    return HostView(**{**given, **fields})


def shown(of: HostView, *views: WorkflowView, known: dict[str, OutcomesView] | None = None) -> Overview:
    line = TimelineView(since_us=NOW - 1, now_us=NOW, until_us=NOW + 1, band_us=600 * US, lanes=[])
    facts = Facts(host=of, workflows=views, outcomes=known or {}, failed_tasks={})
    return overview(facts, line, TIMES, lambda _: True)


def said(of: HostView) -> str:
    return "".join(piece.text for piece in lede(of, TIMES))


def test_the_lede_says_what_became_of_the_day_and_what_comes() -> None:
    coming = [NextView(workflow="sync", trigger="t", scheduled_us=NOW + 2 * MINUTE)]
    assert said(host(succeeded_24h=12, failed_24h=1, next=coming)) == (
        "In the last 24 h 12 of 13 runs succeeded, 1 failed. Next: sync 19:32 CET, in 2 min."
    )
    assert said(host(succeeded_24h=1)) == "In the last 24 h 1 of 1 run succeeded, none failed. No slot is coming."
    assert said(host()) == "Nothing has ended in the last 24 h. No slot is coming."


def test_what_failed_stands_out_in_the_lede() -> None:
    strong = [piece.text for piece in lede(host(succeeded_24h=1, failed_24h=2), TIMES) if piece.strong]
    assert strong == ["2 failed"]


@pytest.mark.parametrize(
    ("minutes", "words", "css"),
    [(2, "usually 4 min", "s-run"), (13, "late: 3 times the usual 4 min", "s-retry")],
)
def test_a_run_is_told_against_its_usual_time(minutes: int, words: str, css: str) -> None:
    run = RunView(
        run=3, workflow="sync", state="running", started_us=NOW - minutes * MINUTE, tasks_total=3,
        counts={"succeeded": 1, "running": 1, "waiting": 1}, running=["fetch"],
    )  # fmt: skip
    known = {"sync": OutcomesView(workflow="sync", runs=[], usual_us=4 * MINUTE)}
    (found,) = shown(host(running=[run]), known=known).running
    assert (found.usual, found.meter.css if found.meter else "") == (words, css)
    assert found.doing == "fetch, 1 of 3 tasks done"


def test_a_run_without_a_success_before_it_has_no_meter() -> None:
    run = RunView(run=3, workflow="sync", state="running", started_us=NOW - MINUTE)
    (found,) = shown(host(running=[run])).running
    assert (found.usual, found.meter) == ("no success to compare with", None)


def test_a_run_that_waits_says_for_what() -> None:
    asks = RunView(run=3, workflow="deploy", state="running", started_us=NOW - MINUTE)
    queued = RunView(run=4, workflow="deploy", state="queued", waits_for=3)
    asked = ApprovalView(run=3, workflow="deploy", task="t", message="?", since_us=NOW)
    first, second = shown(host(running=[asks], queued=[queued], approvals=[asked])).running
    assert (first.state, first.usual) == ("approval", "waits for a person")
    assert second.usual == "waits for run 3"


def test_only_a_host_with_nothing_at_all_is_taught() -> None:
    assert shown(host(workflows=0)).empty
    assert not shown(host(), WorkflowView(workflow="w", state="active")).empty
    assert not shown(host(workflows=0, warnings=["disk: full"])).empty


def test_a_thousand_workflows_are_a_dozen_lanes_and_twenty_rows() -> None:
    views = [WorkflowView(workflow=f"w{n:04}", state="active", next_us=NOW + n) for n in range(1000)]
    assert (len(lanes(views)), len(rows(views))) == (LANES, ROWS)
    found = shown(host(workflows=1000), *views)
    assert (len(found.rows), found.total, found.timeline.more) == (ROWS, 1000, 1000 - LANES)


def test_a_file_that_was_never_good_has_no_lane() -> None:
    views = [WorkflowView(workflow="a", state="broken"), WorkflowView(workflow="b", state="active")]
    assert [view.workflow for view in lanes(views)] == ["b"]


def test_eight_rows_are_shown_and_the_rest_is_counted() -> None:
    found = shown(host(warnings=[f"subject {n}: wrong" for n in range(20)]))
    assert (len(found.needs), found.more_needs) == (8, 12)


@pytest.mark.parametrize(
    ("level", "exceptions", "said"),
    [
        (Level.READ, [], "Your level is read. Changing w and its runs needs operate."),
        (Level.READ, ["w"], ""),
        (Level.OPERATE, [], ""),
        (Level.OPERATE, ["w"], "w names who may operate it (operate_by), and you are not among them."),
        (Level.ADMIN, [], ""),
    ],
)
def test_why_there_is_no_button(level: Level, exceptions: list[str], said: str) -> None:
    assert no_right(IdentityView(account="anna", level=level, exceptions=exceptions), "w") == said


def test_the_zone_is_told_with_its_offset() -> None:
    assert TIMES.zone_text == "CET, UTC+01:00"
    assert Times(ZoneInfo("UTC"), NOW).zone_text == "UTC, UTC+00:00"
