"""The lists: workflows, runs, slots, the installation; what they say at their head, and how they are narrowed."""

from __future__ import annotations

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pyflowd.clock import US
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.states import Fate
from pyflowd.protocol.tokens import Sort as TokenSort
from pyflowd.protocol.tokens import TokenView
from pyflowd.protocol.views_host import HealthView, HostView
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.views_workflows import FiringView, SlotView, WorkflowView
from pyflowd.web.pages import runs as runs_page
from pyflowd.web.pages import slots as slots_page
from pyflowd.web.pages import system as system_page
from pyflowd.web.pages import workflows as workflows_page
from pyflowd.web.pages.workflow_rows import Sort, matches, ordered, tag
from pyflowd.web.times import Times

NOW = 1_795_458_600 * US  # Mon 2026-11-23 19:30 in Berlin
TIMES = Times(ZoneInfo("Europe/Berlin"), NOW)
HOUR = 3600 * US
ERROR = Problem(file="w.yaml", line=12, column=1, severity=Severity.ERROR, code="c", message="bad", fix="")


def workflow(name: str, state: str = "active", last: str = "", **fields: Any) -> WorkflowView:
    run = RunView(run=fields.pop("run", 1), workflow=name, state=last) if last else None
    return WorkflowView(workflow=name, state=state, last=run, **fields)


# ---- Workflows


def test_what_needs_somebody_comes_first_then_what_lives_then_what_comes_next() -> None:
    views = [
        workflow("idle"),
        workflow("late", next_us=NOW + 2 * HOUR),
        workflow("soon", next_us=NOW + HOUR),
        workflow("lives", last="running", live_runs=1),
        workflow("failed", last="failed"),
        workflow("stale", state="stale", problems=[ERROR]),
    ]
    assert [view.workflow for view in ordered(views, Sort.ATTENTION)] == [
        "failed", "stale", "lives", "soon", "late", "idle",
    ]  # fmt: skip
    assert [view.workflow for view in ordered(views, Sort.NEXT)][:2] == ["soon", "late"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"q": "BACK"}, True),
        ({"q": "dumps"}, True),
        ({"q": "team=ops"}, True),
        ({"q": "nothing"}, False),
        ({"label": "team=ops"}, True),
        ({"label": "team=op"}, False),
        ({"state": "failed"}, True),
        ({"state": "active"}, True),
        ({"state": "succeeded"}, False),
        ({"q": "back", "state": "paused"}, False),
    ],
)
def test_a_workflow_is_found_by_words_label_and_state(asked: dict[str, str], found: bool) -> None:
    view = workflow("nightly-backup", last="failed", description="Dumps all", labels={"team": "ops"})
    assert matches(view, **{"q": "", "label": "", "state": "", **asked}) is found


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (workflow("w"), ""),
        (workflow("w", "paused", paused_by="anna"), "paused by anna"),
        (workflow("w", "paused", paused_by="anna", problems=[ERROR]), "paused by anna, stale"),
        (workflow("w", "stale", problems=[ERROR]), "stale: line 12"),
        (workflow("w", "broken", problems=[ERROR]), "broken: line 12"),
        (workflow("w", disabled=True), "disabled"),
    ],
)
def test_the_tag_of_a_workflow(view: WorkflowView, said: str) -> None:
    assert tag(view) == said


def listed(views: list[WorkflowView], **query: str) -> workflows_page.Workflows:
    return workflows_page.workflows(views, {}, [], workflows_page.asked(query), TIMES)


def test_the_list_says_how_many_need_somebody() -> None:
    assert listed([]).heading == "No workflow yet"
    assert listed([workflow("a")]).heading == "1 workflow, nothing wrong with it"
    assert listed([workflow("a"), workflow("b", last="failed")]).heading == "One workflow of 2 needs you"


def test_the_list_is_read_in_pages_that_keep_what_was_asked() -> None:
    views = [workflow(f"w{n:03}", labels={"a": "b"}) for n in range(120)]
    first = listed(views, label="a=b", sort="name")
    assert len(first.rows) == 50
    assert first.found == "1 to 50 of 120 workflows"
    assert (first.newer, first.older) == ("", "/workflows?label=a%3Db&sort=name&page=2")
    last = listed(views, label="a=b", sort="name", page="3")
    assert (len(last.rows), last.older) == (20, "")
    assert listed(views, page="99").rows == []


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 40, "²"])
def test_a_page_that_is_none_is_the_first(page: str) -> None:
    assert workflows_page.asked({"page": page, "sort": "nonsense"}).page == 1


def test_a_chip_takes_its_filter_away() -> None:
    assert listed([workflow("a")], q="a b", state="active").chips == [
        ("find a b", "/workflows?state=active"), ("state active", "/workflows?q=a+b"),
    ]  # fmt: skip


# ---- Runs


def run(number: int, state: str = "succeeded", **fields: Any) -> RunView:
    ended = None if state in ("running", "queued") else NOW
    return RunView(run=number, workflow="w", state=state, started_us=NOW - HOUR, ended_us=ended, **fields)


def history(views: list[RunView], **query: str) -> runs_page.Runs:
    return runs_page.runs(views, runs_page.asked(query), TIMES)


@pytest.mark.parametrize(
    ("views", "query", "said"),
    [
        ([], {}, "No run"),
        ([], {"state": "failed", "workflow": "w"}, "No failed run of w"),
        ([run(2, "running"), run(1)], {}, "One run at work, the newest to end succeeded"),
        ([run(1, "failed")], {"workflow": "w"}, "No run of w at work, the newest to end failed"),
        ([run(1, "failed")], {"state": "failed"}, "One failed run"),
        ([run(n, "failed") for n in range(51, 0, -1)], {"state": "failed"}, "The newest failed runs"),
        ([run(1)], {"before": "2"}, "Runs before run 2"),
    ],
)
def test_the_heading_of_the_history(views: list[RunView], query: dict[str, str], said: str) -> None:
    assert history(views, **query).heading == said


def test_the_way_to_older_runs_names_the_last_that_is_shown() -> None:
    found = history([run(n) for n in range(99, 48, -1)], workflow="w")
    assert len(found.rows) == 50
    assert found.older == "/runs?workflow=w&before=50"
    assert found.live
    assert not history([run(1)], before="50").live


def test_a_row_says_why_it_failed_or_what_it_waits_for_and_who_began_it() -> None:
    rows = history([
        run(3, "queued", waits_for=2), run(2, "failed", error="a: exit code 1", scheduled_us=NOW - HOUR),
        run(1, rerun_of=7, requested_by="anna"),
    ]).rows  # fmt: skip
    assert [row.why for row in rows] == ["waits for run 2", "a: exit code 1", ""]
    assert (rows[1].who, rows[1].slot.text if rows[1].slot else "") == ("", "18:30 CET")
    assert (rows[2].trigger, rows[2].who) == ("rerun of run 7", "anna")


# ---- Slots


def slot(fate: Fate = Fate.FIRED, reason: str | None = None, at_us: int = NOW - HOUR, **fields: Any) -> SlotView:
    return SlotView(workflow="w", trigger="t", scheduled_us=at_us, fate=fate, reason=reason, **fields)


def today() -> slots_page.Asked:
    return slots_page.asked({}, TIMES)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "No slot today"),
        ([slot()], "1 slot today: it fired"),
        ([slot()] * 285, "285 slots today: all fired"),
        (
            [slot()] * 285 + [slot(Fate.SKIPPED, "overlap")] * 2 + [slot(Fate.SKIPPED, "paused")],
            "288 slots today: 285 fired, 3 skipped: 2 overlap, 1 paused",
        ),
        ([slot(Fate.SKIPPED, "bad_params")], "1 slot today: 1 skipped: 1 bad params"),
    ],
)
def test_the_summing_line_of_the_ledger(found: list[SlotView], said: str) -> None:
    assert slots_page.heading(found, today(), TIMES) == said


def test_a_ledger_that_was_not_counted_to_its_end_says_so() -> None:
    found = [slot()] * slots_page.SUMMED
    assert slots_page.heading(found, today(), TIMES) == "The newest 20,000 slots today: all fired"


def test_days_are_those_of_the_zone_whatever_their_length() -> None:
    wish = slots_page.asked({"from": "2026-10-25", "to": "2026-10-25"}, TIMES)
    first, last = slots_page.span_us(wish, TIMES)
    assert (last - first) // HOUR == 25


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "0001-01-01", "9999-12-31"])
def test_a_day_that_is_none_is_today(text: str) -> None:
    assert slots_page.asked({"from": text, "to": text}, TIMES).first == date(2026, 11, 23)


def test_a_row_says_how_late_its_run_began_or_why_there_is_none() -> None:
    fired, skipped = slot(run=5), slot(Fate.SKIPPED, "overlap", run=4, detail="run 4")
    known = {5: RunView(run=5, workflow="w", state="failed", started_us=NOW - HOUR + 2 * US)}
    found = slots_page.slots([skipped, fired], known, [], today(), TIMES)
    assert [(row.late, row.run_state, row.reason) for row in found.rows] == [
        ("2.0 s", "failed", ""), ("", "", "a run was live"),
    ]  # fmt: skip
    assert [(row.run, row.because) for row in found.rows] == [(5, ""), (None, "run 4")]


def test_the_ledger_goes_on_before_the_last_row() -> None:
    found = [slot(at_us=NOW - (300 - n) * US) for n in range(300)]
    page = slots_page.slots(found, {}, [], today(), TIMES)
    assert len(page.rows) == 200
    assert f"before={NOW - 200 * US}" in page.older
    rest = slots_page.slots(found, {}, [], slots_page.asked({"before": str(NOW - 200 * US)}, TIMES), TIMES)
    assert (len(rest.rows), rest.older) == (100, "")


def test_slots_of_one_instant_are_not_parted_by_the_end_of_a_page() -> None:
    found = [slot(at_us=NOW - 2 * HOUR)] + [slot(at_us=NOW - HOUR)] * 300
    page = slots_page.slots(found, {}, [], today(), TIMES)
    assert len(page.rows) == 300
    rest = slots_page.slots(found, {}, [], slots_page.asked({"before": str(NOW - HOUR)}, TIMES), TIMES)
    assert [row.at.at_us for row in rest.rows] == [NOW - 2 * HOUR]


def test_events_say_how_many_became_a_run() -> None:
    fired = FiringView(workflow="w", trigger="t", key="k", at_us=NOW, fate=Fate.FIRED, run=1)
    gone = FiringView(workflow="w", trigger="t", key="l", at_us=NOW, fate=Fate.SKIPPED, reason="paused")
    assert slots_page.firings_heading([fired, gone]) == "2 events: one became a run and one did not"


# ---- The installation


def installation(checks: list[tuple[str, str, str]] | None = None, **fields: Any) -> system_page.System:
    host = HostView(
        version="1", pid=1, started_us=NOW - HOUR, now_us=NOW, root="/r", workflows=1, running=[], queued=[],
        failed=[], succeeded_24h=0, failed_24h=0, next=[], problems=[], warnings=fields.pop("warnings", []),
    )  # fmt: skip
    health = None if checks is None else HealthView(checks=checks)
    given: dict[str, Any] = {
        "host": host, "health": health, "places": [], "notifications": [], "backfills": [], "tokens": [],
        "audit": None, "secrets": None,
    }  # fmt: skip
    is_admin = fields.pop("is_admin", True)
    return system_page.system(
        system_page.Facts(**{**given, **fields}), TIMES, lambda _: True, is_admin=is_admin, token=9
    )


@pytest.mark.parametrize(
    ("checks", "warnings", "said"),
    [
        ([("ok", "a", "b")], [], "All is well with the installation"),
        ([("warning", "a", "b"), ("error", "a", "b")], [], "One error and one warning"),
        ([], ["drain: drained by anna since 02:00"], "The host is drained"),
        (None, [], "The installation"),
    ],
)
def test_the_heading_of_the_installation(
    checks: list[tuple[str, str, str]] | None, warnings: list[str], said: str
) -> None:
    assert installation(checks, warnings=warnings).heading == said


def test_a_finding_names_its_command_and_errors_come_first() -> None:
    found = installation(
        [("warning", "backup", "none was ever made: pyflowctl backup FILE, as a workflow"), ("error", "disk", "full")]
    )
    assert found.checks is not None
    assert [(check.subject, check.command) for check in found.checks] == [
        ("disk", ""), ("backup", "pyflowctl backup FILE"),
    ]  # fmt: skip


def test_a_drained_host_offers_the_way_back_and_only_to_an_administrator() -> None:
    drained = ["drain: drained by anna since 02:00; no task starts, go on with: pyflowctl undrain"]
    act = installation([], warnings=drained).drain
    assert act is not None
    assert act.label == "Undrain the host"
    assert installation([], is_admin=False).drain is None


def test_revoking_the_session_that_one_uses_says_so() -> None:
    tokens = [
        TokenView(
            token=n, sort=TokenSort.SESSION, account="anna", level=None, label="", created_us=NOW, expires_us=None
        )
        for n in (9, 8)
    ]
    mine, other = installation([], tokens=tokens).tokens
    assert "the one that you use now" in mine.revoke.effect
    assert "the one that you use now" not in other.revoke.effect


def test_what_may_not_be_seen_is_not_there() -> None:
    found = installation(None)
    assert (found.checks, found.records, found.secrets) == (None, None, None)
