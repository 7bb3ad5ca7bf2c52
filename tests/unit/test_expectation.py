"""The rules of `expect`: when a time of day comes, over changes of the clock, and what counts as in time."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pyflowd.clock import US, from_us, to_us
from pyflowd.model.states import SlotReason
from pyflowd.model.triggers import Schedule
from pyflowd.runtime.expectation import RunRow, SlotRow, deadlines, missed_finish, missed_start, next_deadline_us

BERLIN = ZoneInfo("Europe/Berlin")
CRON = Schedule(name="cron", cron="30 2 * * *")
SLOT_US = 1_000_000 * US


def utc(text: str) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=UTC))


def texts(finish_by: str, after: str, until: str) -> list[str]:
    found = deadlines(finish_by, BERLIN, utc(after), utc(until))
    return [f"{from_us(at_us):%d %H:%M}" for at_us, _ in found]


def test_a_time_of_day_comes_once_a_day_in_its_zone() -> None:
    assert texts("06:00", "2026-03-10T12:00", "2026-03-13T12:00") == ["11 05:00", "12 05:00", "13 05:00"]


def test_its_own_moment_is_past() -> None:
    assert texts("06:00", "2026-03-11T05:00", "2026-03-12T05:00") == ["12 05:00"]


def test_summer_time_moves_it_with_the_wall() -> None:
    assert texts("06:00", "2026-03-28T12:00", "2026-03-30T12:00") == ["29 04:00", "30 04:00"]


def test_a_time_that_the_clock_change_leaves_out_comes_after_it() -> None:
    assert texts("02:30", "2026-03-28T12:00", "2026-03-30T12:00") == ["29 01:30", "30 00:30"]


def test_a_time_that_comes_twice_counts_once() -> None:
    assert texts("02:30", "2026-10-24T12:00", "2026-10-26T12:00") == ["25 00:30", "26 01:30"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Apia", "Asia/Kathmandu", "America/Sao_Paulo"])
def test_the_next_one_is_always_ahead_and_at_most_two_days(zone: str) -> None:
    """Apia had no 30 December 2011."""
    at_us = utc("2011-12-25T00:00")
    for _ in range(400):
        following_us = next_deadline_us("06:00", ZoneInfo(zone), at_us)
        assert at_us < following_us <= at_us + 2 * 86_400 * US
        at_us = at_us + 7 * 3600 * US


def fired(run: int | None = 1) -> SlotRow:
    return SlotRow(SLOT_US, "fired", None, run)


def run(started_s: float | None, *, ended_s: float | None = None, state: str = "running", since_s: float = 0) -> RunRow:
    def at(seconds: float | None) -> int | None:
        return None if seconds is None else SLOT_US + round(seconds * US)

    return RunRow(1, state, SLOT_US + round(since_s * US), at(started_s), at(ended_s))


@pytest.mark.parametrize(("started_s", "missed"), [(0, False), (60, False), (60.001, True), (None, True)])
def test_a_start_is_in_time_up_to_its_last_moment(started_s: float | None, missed: bool) -> None:
    assert (missed_start(CRON, fired(), [run(started_s)], 60.0) is not None) is missed


def test_a_run_from_before_the_slot_is_no_start_of_it() -> None:
    assert missed_start(CRON, fired(None), [run(0, since_s=-1)], 60.0) is not None


@pytest.mark.parametrize("reason", list(SlotReason))
def test_what_is_skipped_on_purpose_is_not_missed_and_all_else_is(reason: SlotReason) -> None:
    on_purpose = {"paused", "disabled", "late", "blackout", "calendar", "condition_false", "dst", "removed"}
    slot = SlotRow(SLOT_US, "skipped", reason, None)
    assert (missed_start(CRON, slot, [], 60.0) is None) is (reason.value in on_purpose)
    assert (missed_finish(CRON, slot, [], SLOT_US + US) is None) is (reason.value in on_purpose)


@pytest.mark.parametrize(
    ("ended", "missed"),
    [
        (run(0, ended_s=60, state="succeeded"), False),
        (run(0, ended_s=61, state="succeeded"), True),
        (run(0, ended_s=30, state="failed"), True),
        (run(0), True),
        (run(0, ended_s=30, state="succeeded", since_s=-1), True),
    ],
)
def test_only_a_success_since_the_slot_is_a_finish(ended: RunRow, missed: bool) -> None:
    assert (missed_finish(CRON, fired(), [ended], SLOT_US + 60 * US) is not None) is missed


def test_a_finish_that_came_late_says_when() -> None:
    found = missed_finish(CRON, fired(), [run(0, ended_s=90, state="succeeded")], SLOT_US + 60 * US)
    assert found is not None
    assert found.met_us == SLOT_US + 90 * US
