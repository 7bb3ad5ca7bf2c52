"""What a file says of schedules, and what is refused of it."""

from __future__ import annotations

import pytest

from pyflowd.lint import lint
from pyflowd.model.triggers import Catchup, CatchupPolicy, Schedule
from pyflowd.model.workflow import Workflow

TASKS = "tasks: {a: {run: 'true'}}\n"
PARAMS = "params: {full: {type: boolean, default: false}}\n"


def compiled(text: str) -> Workflow:
    workflow, problems = lint.check("w.yaml", (text + TASKS).encode(), stem="w", is_json=False)
    assert problems == []
    assert workflow is not None
    return workflow


def codes(text: str) -> list[tuple[str, int]]:
    _, problems = lint.check("w.yaml", (text + TASKS).encode(), stem="w", is_json=False)
    return [(problem.code, problem.line) for problem in problems]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("every: 15m", Schedule(name="t", every_s=900)),
        ('at: "2026-12-24 18:00"', Schedule(name="t", at=("2026-12-24 18:00",))),
        ("at: [2026-12-24T18:00:00Z, 2026-12-25T18:00:00+01:00]",
         Schedule(name="t", at=("2026-12-24T18:00:00Z", "2026-12-25T18:00:00+01:00"))),
        ("boot: true", Schedule(name="t", cron="@reboot")),
        ("schedule: {every: 90s}", Schedule(name="t", every_s=90)),
        ("every: 1h, enabled: false", Schedule(name="t", every_s=3600, enabled=False)),
        ("every: 1h, params: {full: true}", Schedule(name="t", every_s=3600, params={"full": True})),
        ("schedule: '@daily', calendar: workdays, blackout: [a, b]",
         Schedule(name="t", cron="@daily", calendars=("workdays",), blackouts=("a", "b"))),
        ("schedule: {cron: '@daily', jitter: {max: 5m, random: true}}",
         Schedule(name="t", cron="@daily", jitter_s=300, random_jitter=True)),
        ("schedule: {cron: '@daily', jitter: 5m}, deadline: 30m",
         Schedule(name="t", cron="@daily", jitter_s=300, deadline_s=1800)),
        ("every: 1h, catchup: none", Schedule(name="t", every_s=3600, catchup=Catchup(policy=CatchupPolicy.NONE))),
        ("every: 1h, catchup: {policy: all, within: 2d, max: 48}",
         Schedule(name="t", every_s=3600, catchup=Catchup(policy=CatchupPolicy.ALL, within_s=172_800, max=48))),
        ("every: 1h, if: params.full and run.scheduled_at != null",
         Schedule(name="t", every_s=3600, condition="params.full and run.scheduled_at != null")),
    ],
)  # fmt: skip
def test_a_trigger_by_time_is_read(written: str, wanted: Schedule) -> None:
    assert compiled(f"{PARAMS}triggers: {{t: {{{written}}}}}\n").triggers == (wanted,)


def test_a_schedule_at_the_top_may_be_an_interval() -> None:
    assert compiled("schedule: {every: 15m}\n").triggers == (Schedule(name="schedule", every_s=900),)


def test_the_rule_for_down_times_may_stand_at_the_top() -> None:
    assert compiled("catchup: {policy: all, max: 3}\n").catchup == Catchup(policy=CatchupPolicy.ALL, max=3)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("{every: 15}", "value"), ("{every: 0s}", "value"), ("{every: 500ms}", "value"), ("{every: 11y}", "value"),
        ("{at: tomorrow}", "value"), ("{at: 2026-12-24}", "value"), ("{at: '2026-02-30 12:00'}", "value"),
        ("{at: '2026-12-24 18:00 CET'}", "value"), ("{at: []}", "value"), ("{boot: false}", "value"),
        ("{every: 1h, at: '2026-12-24 18:00'}", "value"), ("{every: 1h, schedule: '@daily'}", "value"),
        ("{schedule: {cron: '@daily', every: 1h}}", "value"), ("{params: {}}", "missing"),
        ("{schedule: {jitter: 5m}}", "missing"), ("{every: 1h, jitter: {random: true}}", "missing"),
        ("{every: 1h, catchup: some}", "value"), ("{every: 1h, catchup: {max: 0}}", "value"),
        ("{every: 1h, calendar: ../x}", "name"), ("{every: 1h, deadline: 0s}", "value"),
        ("{schedule: {cron: '@daily', calendar: a}, calendar: b}", "value"),
        ("{every: 1h, if: params.nope}", "reference"), ("{every: 1h, if: event.path}", "reference"),
        ("{every: 1h, if: tasks.a.state}", "reference"), ("{every: 1h, if: env.X}", "reference"),
        ("{every: 1h, if: 'params.full and'}", "expression"), ("{every: '${{ params.full }}'}", "expression"),
        ("{every: 1h, calender: x}", "unknown_key"),
    ],
)  # fmt: skip
def test_what_is_no_trigger_is_refused_at_its_place(written: str, code: str) -> None:
    assert codes(f"{PARAMS}triggers:\n  t: {written}\n") == [(code, 3)]


@pytest.mark.parametrize("written", ["{every: 1h, dst: skip}", "{boot: true, jitter: 5m}"])
def test_what_has_no_effect_is_told(written: str) -> None:
    assert codes(f"triggers:\n  t: {written}\n") == [("no_effect", 2)]
