"""What is expected of workflows, as the daemon watches it: told once, in time, over restarts and down times, and taken
back when it has happened after all.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyflowd.clock import US, to_us
from pyflowd.model.triggers import Expectation, Schedule
from pyflowd.model.workflow import Overlap
from pyflowd.schedules.schedule import jitter_us
from tests.daemon.instance import Instance
from tests.daemon.timed_host import DAILY, HOURLY, TimedHost
from tests.waiting import wait_until

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
STARTS = Expectation(start_within_s=15 * MINUTE)
FINISHES = Expectation(finish_by="06:00")
TAKES = Expectation(max_duration_s=2 * HOUR)
LATE = "w: not started in time, on web1"
UNFINISHED = "w: not finished in time, on web1"
NOW = "w: it has happened now, on web1"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[TimedHost]:
    made = TimedHost(tmp_path, NOON)
    yield made
    made.stop()


# ---- start_within ---------------------------------------------------------------------------------------------------


def test_a_slot_that_starts_in_time_is_told_to_nobody(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS, overlap=Overlap.ALLOW)
    host.advance(5 * HOUR)
    assert host.messages() == []


def test_a_slot_skipped_for_overlap_is_missed_when_its_time_is_over(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS)
    host.run()
    host.advance(74 * MINUTE)
    assert host.messages() == []
    host.advance(MINUTE)
    assert host.messages() == [LATE]
    assert (
        "the slot of cron at 2026-03-10 13:00 UTC has not started within 15m: a run was live (run 1)"
        in (host.texts()[0])
    )


def test_a_queued_slot_is_missed_and_taken_back_when_it_starts(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS, overlap=Overlap.QUEUE)
    host.run()
    host.advance(80 * MINUTE)
    assert host.expectations.warnings(lambda _: True) == [
        "w: the slot of cron at 2026-03-10 13:00 UTC has not started within 15m: see run 2"
    ]
    host.end_run(1)
    assert host.messages() == [LATE, NOW]
    assert host.expectations.warnings(lambda _: True) == []


def test_the_jitter_of_a_schedule_is_no_lateness(host: TimedHost) -> None:
    names = (f"t{number}" for number in range(100))
    late = next(name for name in names if jitter_us("host", "w", name, 40 * MINUTE) > 20 * MINUTE * US)
    host.install(
        Schedule(name=late, cron="0 13 * * *", jitter_s=40 * MINUTE), expect=Expectation(start_within_s=MINUTE)
    )
    host.advance(4 * HOUR)
    assert len(host.slots_run()) == 1
    assert host.messages() == []


def test_a_slot_that_waited_for_its_jitter_is_missed_after_it(host: TimedHost) -> None:
    names = (f"t{number}" for number in range(100))
    late = next(name for name in names if jitter_us("host", "w", name, 40 * MINUTE) > 20 * MINUTE * US)
    host.install(
        Schedule(name=late, cron="0 13 * * *", jitter_s=40 * MINUTE), expect=Expectation(start_within_s=MINUTE)
    )
    host.run()
    host.advance(4 * HOUR)
    assert host.messages() == [LATE]


@pytest.mark.parametrize("when", ["before the alarm", "after the alarm"])
def test_each_slot_is_told_once_over_restarts(host: TimedHost, when: str) -> None:
    host.install(HOURLY, expect=STARTS)
    host.run()
    host.advance(70 * MINUTE if when == "before the alarm" else 80 * MINUTE)
    host.restart()
    host.advance(20 * MINUTE)
    host.restart()
    assert host.messages() == [LATE]


def test_slots_of_a_down_time_are_told_at_the_start_in_one_message(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS)
    host.restart(down_s=5.5 * HOUR)
    host.advance(20 * MINUTE)
    assert len(host.messages()) == 1
    assert "slots of cron, the newest at" in host.texts()[0]
    assert len(host.events("expectation_missed")) == 1


def test_a_long_down_time_is_told_when_all_of_it_is_in_the_ledger(host: TimedHost) -> None:
    host.install(Schedule(name="cron", cron="* * * * *"), expect=STARTS)
    host.restart(down_s=20 * HOUR)
    assert len(host.messages()) == 1
    assert host.texts()[0].startswith("w on web1: 118")


def test_a_down_time_in_which_nothing_was_due_is_told_to_nobody(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS)
    host.restart(down_s=50 * MINUTE)
    assert host.messages() == []


def test_a_paused_workflow_is_not_missed(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS)
    host.pause()
    host.advance(5 * HOUR)
    host.pause(paused=False)
    host.advance(5 * MINUTE)
    assert host.messages() == []


def test_a_workflow_that_is_paused_before_its_time_is_over_is_not_missed(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS, overlap=Overlap.QUEUE)
    host.run()
    host.advance(62 * MINUTE)
    host.pause()
    host.advance(30 * MINUTE)
    assert host.messages() == []


def test_a_disabled_trigger_is_not_missed(host: TimedHost) -> None:
    host.install(Schedule(name="cron", cron="0 * * * *", enabled=False), expect=STARTS)
    host.advance(5 * HOUR)
    assert host.messages() == []


def test_a_slot_whose_condition_is_false_is_not_missed(host: TimedHost) -> None:
    host.install(Schedule(name="cron", cron="0 * * * *", condition="false"), expect=STARTS)
    host.advance(5 * HOUR)
    assert host.messages() == []


def test_a_run_that_somebody_starts_in_time_stands_in_for_its_slot(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS)
    host.run()
    host.advance(61 * MINUTE)
    host.end_run(1)
    host.run()
    host.advance(20 * MINUTE)
    assert host.messages() == []


def test_nothing_is_expected_of_slots_before_the_definition(host: TimedHost) -> None:
    host.install(HOURLY)
    host.run()
    host.advance(2.5 * HOUR)
    host.install(HOURLY, expect=STARTS)
    host.advance(20 * MINUTE)
    assert host.messages() == []


def test_what_nobody_expects_any_more_is_not_shown(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS)
    host.run()
    host.advance(80 * MINUTE)
    host.install(HOURLY)
    assert host.expectations.warnings(lambda _: True) == []
    host.restart()
    assert host.expectations.warnings(lambda _: True) == []


def test_a_backfill_of_older_slots_takes_nothing_back(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS)
    host.run()
    host.advance(80 * MINUTE)
    host.backfill([to_us(NOON) - 1])
    host.end_run(1)
    assert (host.runs.live[2].meta.backfill, host.messages()) == (1, [LATE])


def test_a_backfill_of_the_slot_itself_takes_it_back(host: TimedHost) -> None:
    host.install(HOURLY, expect=STARTS)
    host.run()
    host.advance(80 * MINUTE)
    host.backfill([to_us(NOON) + 3600 * US])
    host.end_run(1)
    assert host.messages() == [LATE, NOW]


# ---- finish_by ------------------------------------------------------------------------------------------------------


def test_a_success_before_the_hour_is_told_to_nobody(host: TimedHost) -> None:
    host.install(DAILY, expect=FINISHES)
    host.advance(15 * HOUR)
    host.end_run(1)
    host.advance(6 * HOUR)
    assert host.messages() == []


def test_a_run_that_is_not_finished_by_the_hour_is_missed_and_taken_back_at_its_end(host: TimedHost) -> None:
    host.install(DAILY, expect=FINISHES)
    host.advance(18 * HOUR)
    assert host.messages() == [UNFINISHED]
    assert (
        "no run had succeeded by 06:00 on 2026-03-11 since the slot of cron at 2026-03-11 02:30 UTC: see run 1"
        in (host.texts()[0])
    )
    host.end_run(1)
    assert host.messages() == [UNFINISHED, NOW]


def test_a_failed_run_is_not_finished_and_a_success_after_it_is(host: TimedHost) -> None:
    host.install(DAILY, expect=FINISHES)
    host.advance(15 * HOUR)
    host.end_run(1, code=1)
    host.advance(3 * HOUR)
    assert UNFINISHED in host.messages()
    again = host.run()
    assert NOW not in host.messages()
    host.end_run(again)
    assert host.messages()[-1] == NOW


def test_a_day_without_a_slot_expects_nothing(host: TimedHost) -> None:
    host.install(Schedule(name="cron", cron="30 2 1 * *"), expect=FINISHES)
    host.advance(3 * DAY, step_s=HOUR)
    assert host.messages() == []


def test_the_hour_is_one_of_the_zone_of_the_schedule(host: TimedHost) -> None:
    tokyo = Schedule(name="cron", cron="30 2 * * *", timezone="Asia/Tokyo")
    host.install(tokyo, expect=FINISHES)
    host.advance(8 * HOUR + 59 * MINUTE)
    assert host.messages() == []
    host.advance(MINUTE)
    assert host.messages() == [UNFINISHED]


def test_an_hour_that_passed_while_the_daemon_was_down_is_told_at_its_start(host: TimedHost) -> None:
    host.install(DAILY, expect=FINISHES)
    host.restart(down_s=20 * HOUR)
    assert host.messages() == [UNFINISHED]
    assert "pyflowd was not running" in host.texts()[0]


def test_a_paused_workflow_need_not_finish(host: TimedHost) -> None:
    host.install(DAILY, expect=FINISHES)
    host.pause()
    host.advance(20 * HOUR)
    assert host.messages() == []


# ---- max_duration ---------------------------------------------------------------------------------------------------


def test_a_run_that_takes_too_long_is_told_once_and_goes_on(host: TimedHost) -> None:
    host.install(expect=TAKES)
    host.run()
    host.advance(2 * HOUR - MINUTE)
    assert host.messages() == []
    host.advance(3 * HOUR)
    assert host.messages() == ["w: run 1 takes too long, on web1"]
    assert not host.runs.live[1].run.stopping
    host.end_run(1)
    assert host.messages()[1:] == [NOW]


def test_a_run_that_takes_too_long_is_told_once_over_a_restart(host: TimedHost) -> None:
    host.install(expect=TAKES)
    host.run()
    host.advance(HOUR)
    host.restart(down_s=2 * HOUR)
    host.restart()
    host.advance(2 * HOUR)
    assert host.messages() == ["w: run 1 takes too long, on web1"]


def test_a_run_that_ended_too_late_in_a_down_time_is_told(host: TimedHost) -> None:
    host.install(expect=TAKES)
    host.run()
    host.stop()
    host.clock.advance(3 * HOUR)
    host.start()
    host.finish(1)
    host._settle()  # as at a start: what ended meanwhile is taken before a timer can fire
    host.tick()
    assert host.messages() == ["w: run 1 takes too long, on web1", NOW]


def test_a_clock_that_is_set_forward_makes_no_run_too_long(host: TimedHost) -> None:
    host.install(expect=TAKES)
    host.run()
    host.set_clock(datetime(2026, 3, 10, 18, 0, tzinfo=UTC))
    host.advance(HOUR)
    assert host.messages() == []


def test_a_run_that_ends_in_time_is_told_to_nobody(host: TimedHost) -> None:
    host.install(expect=TAKES)
    host.run()
    host.advance(HOUR)
    host.end_run(1)
    host.advance(3 * HOUR)
    assert host.messages() == []


# ---- The whole daemon ------------------------------------------------------------------------------------------------


def test_what_is_missed_stands_in_the_status_and_among_the_events(instance: Instance) -> None:
    instance.start()
    instance.install("w.yaml", "expect: {max_duration: 100ms}\ntasks: {a: {run: sleep 300}}\n")
    run = instance.run("w")
    told = "run 1 takes longer than 100ms"
    wait_until(lambda: told in instance.ctl("status").stdout, "the status tells")
    assert told in instance.ctl("events").stdout
    instance.ctl("cancel", run)
    instance.wait_run(run)
    wait_until(lambda: told not in instance.ctl("status").stdout, "it is taken back")
