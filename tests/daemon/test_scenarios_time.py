"""Scenarios of the corpus about time: runs for slots of the past, and promised durations. A real daemon."""

from __future__ import annotations

import pytest

from tests.daemon.scenario import Scenario, states
from tests.waiting import wait_until

DEPENDS_ON_PAST = """
    schedule: {cron: "0 3 * * *", timezone: UTC, enabled: false}
    overlap: allow
    tasks:
      day:
        env: {DAY: "${{ date(run.scheduled_at) }}", BEFORE: "${{ date(add_days(run.scheduled_at, -1)) }}"}
        run: pyflow-out set this=$DAY before=$BEFORE
      past: {needs: day, file: {wait_for: "done-${{ tasks.day.outputs.before }}", every: 20ms, timeout: 60s}}
      load:
        needs: past
        env: {DAY: "${{ tasks.day.outputs.this }}"}
        run: |
          echo $DAY >> trace
          [ $DAY != 2026-01-06 ] || [ -e repaired ]
          touch done-$DAY
"""
"""Each day waits for what the day before leaves behind: so it is held by a failed one, and goes on by itself."""


@pytest.mark.scenario("airflow-past")
def test_a_day_waits_until_the_failed_one_before_it_is_repaired(scenario: Scenario) -> None:
    scenario.path("done-2026-01-04").touch()
    scenario.install("depends-on-past", DEPENDS_ON_PAST)
    instance = scenario.instance
    done = instance.ctl("run", "depends-on-past", "--for", "2026-01-05..2026-01-07", "--parallel", 3)
    assert done.returncode == 0, done.stderr

    first, second, third = wait_until(
        lambda: len(runs := sorted(run["run"] for run in instance.json("history", "depends-on-past"))) == 3 and runs,
        "each day has its run",
    )
    assert [instance.wait_run(run)["state"] for run in (first, second)] == ["succeeded", "failed"]
    instance.wait_task(third, "past", "running")
    assert scenario.trace == ["2026-01-05", "2026-01-06"]
    scenario.path("repaired").touch()
    assert instance.ctl("rerun", second, "--failed").returncode == 0
    assert instance.wait_run(third)["state"] == "succeeded"
    assert scenario.trace == ["2026-01-05", "2026-01-06", "2026-01-06", "2026-01-07"]


PROMISED = """
    expect: {max_duration: 100ms}
    tasks: {slow: {run: ./await go}}
"""


@pytest.mark.scenario("kestra-sla")
def test_a_run_that_takes_longer_than_promised_is_told_and_goes_on(scenario: Scenario) -> None:
    scenario.install("promised", PROMISED)
    run = scenario.instance.run("promised")
    wait_until(
        lambda: (
            f"run {run} " in scenario.instance.ctl("status").stdout
            and "100ms" in scenario.instance.ctl("status").stdout
        ),
        "status tells of the run that is late",
    )
    scenario.path("go").touch()
    ended = scenario.instance.wait_run(run)
    assert (ended["state"], states(ended)) == ("succeeded", {"slow": "succeeded"})
    assert "100ms" not in scenario.instance.ctl("status").stdout
