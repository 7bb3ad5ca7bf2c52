"""Scenarios of the corpus about schedules: the scheduler as the daemon has it, driven by a clock that is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowd.model.triggers import Schedule
from pyflowd.model.workflow import Overlap
from tests.daemon.test_schedules import EVERY_MINUTE, MINUTE, Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.stop()


def six_minutes(host: Host, policy: Overlap) -> int:
    """A slot every minute, runs of 90 s; the most runs that were live at once."""
    host.install(EVERY_MINUTE, overlap=policy)
    began: dict[int, int] = {}
    peak = 0
    for quarter in range(6 * 4):
        host.advance(MINUTE / 4, MINUTE / 4)
        for run in list(host.runs.live):
            began.setdefault(run, quarter)
            if quarter - began[run] == 6:
                host.end_run(run)
        peak = max(peak, len(host.runs.live))
    return peak


@pytest.mark.scenario("argo-cron-policy")
def test_runs_of_ninety_seconds_every_minute_are_two_at_once_where_that_is_allowed(host: Host) -> None:
    assert six_minutes(host, Overlap.ALLOW) == 2
    assert [fate for _, fate in host.fates()] == ["fired"] * 6


@pytest.mark.scenario("argo-cron-policy")
def test_every_second_start_is_skipped_and_recorded_where_one_run_may_be_live(host: Host) -> None:
    assert six_minutes(host, Overlap.SKIP) == 1
    assert [fate for _, fate in host.fates()] == ["fired", "overlap"] * 3


@pytest.mark.scenario("argo-cron-policy")
def test_the_older_run_is_cancelled_where_a_newer_one_replaces_it(host: Host) -> None:
    assert six_minutes(host, Overlap.REPLACE) == 1
    assert [fate for _, fate in host.fates()] == ["fired"] * 6
    ends = [tuple(host.store.one("run", run)[2:4]) for run in range(1, 6)]
    assert ends == [("cancelled", "replaced")] * 5


EVERY_SEVENTH = "timestamp(run.scheduled_at) % 420 == timestamp('2026-03-10T12:00:00Z') % 420"


@pytest.mark.scenario("argo-cron-when")
def test_minutes_whose_condition_is_false_are_recorded_as_skipped(host: Host) -> None:
    """A condition knows the slot and the params, not the last start: that is what `every` counts from."""
    host.install(Schedule(name="cron", cron="* * * * *", condition=EVERY_SEVENTH))
    host.advance(15 * MINUTE)
    assert host.fates() == [
        (f"10 12:{minute:02}", "condition_false" if minute % 7 else "fired") for minute in range(1, 16)
    ]
