"""Clocks that are set: noticed at once, told, and no slot lost or doubled (rule T8).

By a clock that is told; and by the kernel's, where this host lets us set it to what it shows already.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyflowd.clock import US, ClockWatch, StepWatch, SystemClock
from pyflowd.model.workflow import Overlap
from tests.daemon.timed_host import HOURLY, TimedHost
from tests.fakes import FakeClock

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR = 3600.0


def at(hour: int, minute: int = 0, day: int = 10) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[TimedHost]:
    made = TimedHost(tmp_path, NOON)
    made.install(HOURLY, overlap=Overlap.ALLOW)
    yield made
    made.stop()


# ---- Noticing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_s", [-7200.0, -1.0, 1.0, 7200.0])
def test_a_step_is_told_once_with_its_size(by_s: float) -> None:
    clock = FakeClock()
    watch = StepWatch(clock)
    clock.advance(5)
    clock.set_wall(clock.wall_us() + round(by_s * US))
    assert [watch.look(), watch.look()] == [round(by_s * US), 0]


def test_time_that_goes_by_is_no_step_nor_is_a_machine_that_slept() -> None:
    clock = FakeClock()
    watch = StepWatch(clock)
    for seconds in (0.1, 60, 30 * 86_400):
        clock.advance(seconds)
        assert watch.look() == 0


def test_small_steps_add_up() -> None:
    clock = FakeClock()
    watch = StepWatch(clock)
    found = []
    for _ in range(3):
        clock.set_wall(clock.wall_us() + 200_000)
        found.append(watch.look())
    assert found == [0, 0, 600_000]


class HeldUp(FakeClock):
    """A process that is held up between its two readings of a clock, once."""

    held = False

    def mono_us(self) -> int:
        if self.held:
            self.held = False
            self.advance(3)
            self.set_wall(self.wall_us() + 20)  # no two readings are the same
        return super().mono_us()


def test_a_process_that_is_held_up_between_two_readings_sees_no_step() -> None:
    clock = HeldUp()
    watch = StepWatch(clock)
    clock.held = True
    assert [watch.look(), watch.look()] == [0, 0]


def test_the_kernels_clocks_do_not_step_by_themselves() -> None:
    watch = StepWatch(SystemClock())
    assert [watch.look() for _ in range(1000)] == [0] * 1000


# ---- The descriptor -------------------------------------------------------------------------------------------------


@pytest.fixture
def watch() -> Iterator[ClockWatch]:
    made = ClockWatch()
    yield made
    made.close()
    made.close()


def wakes(watch: ClockWatch, timeout_s: float = 0.0) -> bool:
    return bool(select.select([watch], [], [], timeout_s)[0])


def test_an_instant_that_is_past_wakes_at_once(watch: ClockWatch) -> None:
    watch.arm(time.time_ns() // 1000 - US)
    assert wakes(watch, 5)


def test_without_an_instant_nothing_wakes(watch: ClockWatch) -> None:
    watch.arm(None)
    assert not wakes(watch)


def test_a_wake_up_that_was_taken_comes_again_only_when_it_is_asked_for(watch: ClockWatch) -> None:
    watch.arm(1)
    assert wakes(watch, 5)
    watch.read()
    assert not wakes(watch)
    watch.arm(1)
    assert wakes(watch, 5)


def set_clock_to_what_it_shows() -> None:
    """A step of some microseconds: the kernel tells everybody who watches, and nobody else notices."""
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))
    except PermissionError:
        pytest.skip("this account may not set the clock")


needs_leave = pytest.mark.skipif(
    not os.environ.get("PYFLOW_MAY_SET_CLOCK"), reason="set PYFLOW_MAY_SET_CLOCK=1 where the clock may be set"
)


@needs_leave
def test_a_clock_that_is_set_wakes_whoever_waits_for_a_later_instant(watch: ClockWatch) -> None:
    watch.arm(time.time_ns() // 1000 + 3600 * US)
    set_clock_to_what_it_shows()
    assert wakes(watch, 5)


@needs_leave
def test_a_clock_that_is_set_before_the_next_arming_is_told_by_it(watch: ClockWatch) -> None:
    watch.arm(time.time_ns() // 1000 + 3600 * US)
    set_clock_to_what_it_shows()
    assert not watch.arm(time.time_ns() // 1000 + 7200 * US)
    assert watch.arm(time.time_ns() // 1000 + 7200 * US)


# ---- What becomes of slots ------------------------------------------------------------------------------------------


def fates(host: TimedHost) -> list[tuple[str, str]]:
    found = host.store.rows("slots_between", "w", "cron", 0, 1 << 62)
    return [(f"{datetime.fromtimestamp(row[0] // US, UTC):%H:%M}", row[2] or row[1]) for row in found]


def test_a_step_back_fires_nothing_twice(host: TimedHost) -> None:
    host.advance(2.5 * HOUR)
    before = fates(host)
    host.set_clock(at(12, 30))
    host.advance(2 * HOUR)
    assert fates(host) == before
    host.advance(HOUR)
    assert fates(host) == [*before, ("15:00", "fired")]


def test_a_step_back_over_a_restart_fires_nothing_twice(host: TimedHost) -> None:
    host.advance(2.5 * HOUR)
    before = fates(host)
    host.set_clock(at(12, 30))
    host.restart()
    host.advance(2 * HOUR)
    assert fates(host) == before


def test_what_falls_into_a_small_step_forward_is_due_and_its_newest_fires(host: TimedHost) -> None:
    host.set_clock(at(14, 30))
    assert fates(host) == [("13:00", "late"), ("14:00", "fired")]


def test_a_step_forward_over_three_hours_is_one_decision_and_no_burst(host: TimedHost) -> None:
    host.set_clock(at(20, 30))
    found = fates(host)
    assert [time for time, _ in found] == [f"{hour}:00" for hour in range(13, 21)]
    assert sum(fate == "fired" for _, fate in found) <= 1


def test_a_machine_that_slept_has_stepped_no_clock(host: TimedHost) -> None:
    host.clock.advance(9 * HOUR)
    host.tick()
    assert host.events("clock_stepped") == []


# ---- What people are told -------------------------------------------------------------------------------------------


def test_a_step_is_an_event_and_stands_in_the_status(host: TimedHost) -> None:
    host.set_clock(at(14))
    assert host.events("clock_stepped") == ["the clock was set forward by 2 h"]
    assert host.health.warnings() == [
        "clock: it was set forward by 2h, to 2026-03-10 14:00:00 UTC; see: pyflowctl slots"
    ]


def test_a_step_stays_in_the_status_for_a_day_over_a_restart(host: TimedHost) -> None:
    host.set_clock(at(11, 50))
    host.restart()
    assert host.health.warnings() == ["clock: it was set back by 10m, to 2026-03-10 11:50:00 UTC; see: pyflowctl slots"]
    host.advance(24 * HOUR, step_s=HOUR)
    assert host.health.warnings() == []
    host.restart()
    assert host.health.warnings() == []


def test_a_step_in_a_down_time_is_told_at_the_start(host: TimedHost) -> None:
    host.stop()
    host.clock.set_wall(host.clock.wall_us() + 600 * US)
    host.start()
    host.tick()
    assert host.events("clock_stepped") == ["the clock was set forward by 10 min"]


def test_a_host_that_was_restarted_tells_of_no_step(host: TimedHost) -> None:
    """Its boot time begins anew: nobody knows what the clock did meanwhile."""
    host.stop()
    host.clock = FakeClock(host.clock.wall_us() + 3600 * US, mono_us=5 * US)
    host.boot = "boot-2"
    host.start()
    host.tick()
    assert host.events("clock_stepped") == []
