"""The scheduler as the daemon has it: definitions, timetable, runs and store together, driven by a clock that is told.

No process is started; a run that fires is ended by hand. What must hold is rule T1: every planned firing ends as
exactly one row, over restarts, pauses, edits, removals and clocks that are set.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.clock import US, from_us, to_us
from pyflowd.model.ends import Exit
from pyflowd.model.kinds import Shell
from pyflowd.model.states import RunState
from pyflowd.model.triggers import Catchup, CatchupPolicy, Dst, Schedule
from pyflowd.model.workflow import Overlap, Param, ParamType, Task, Workflow
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.workflows import Workflows
from pyflowd.schedules.calendars import Almanac, Blackout, Calendar, Entries
from pyflowd.schedules.schedule import jitter_us
from pyflowd.store.store import Store
from tests.fakes import FakeClock

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE, HOUR = 60.0, 3600.0
EVERY_MINUTE = Schedule(name="cron", cron="* * * * *")
HOURLY = Schedule(name="cron", cron="0 * * * *")
Row = tuple[str, str, str | None, int | None]


class Host:
    """The parts of a daemon that schedule, over restarts."""

    def __init__(self, folder: Path, at_us: int = to_us(NOON)) -> None:
        self.folder = folder
        self.clock = FakeClock(at_us)
        self.start()

    def start(self, *, held: bool = False) -> None:
        self.timers = Timers()
        self.store = Store(str(self.folder))
        self.runs = Runs(self.store, self.clock, self.timers, 100, zone("UTC"))
        self.workflows = Workflows(self.store, self.runs, Admission(self.runs, Pool(1), {}), "host", zone("UTC"))
        self.workflows.slots.held = held
        self.workflows.restore(self.clock.wall_us())
        self.runs.rebuild(self.workflows.compiled)
        assert not self.runs.aside.runs
        self.workflows.admit_all()

    def stop(self) -> None:
        self.store.close()

    def restart(self, down_s: float = 0.0) -> None:
        """A kill: what was not committed is gone."""
        self.stop()
        self.clock.advance(down_s)
        self.start()
        self.tick()

    def tick(self) -> None:
        """A turn of the dispatcher, but for processes; again while there is more to write."""
        while True:
            self.workflows.tick()
            ended, self.runs.ended = self.runs.ended, []
            self.workflows.after_runs(ended)
            self.store.commit(self.runs.batch)
            self.runs.batch, self.runs.actions = self.store.batch(), []
            if not self.workflows.has_work():
                return

    def advance(self, seconds: float, step_s: float = 30.0) -> None:
        """Time goes by, with a turn at least every `step_s`."""
        while seconds > 0:
            self.clock.advance(min(step_s, seconds))
            seconds -= step_s
            self.tick()

    def set_clock(self, at: datetime) -> None:
        self.clock.set_wall(to_us(at))
        self.tick()

    def install(self, *triggers: Schedule, overlap: Overlap | None = Overlap.ALLOW, **more: object) -> None:
        task = Task(name="a", kind=Shell(text="true"))
        made = Workflow(name="w", tasks=(task,), triggers=triggers, overlap=overlap, **more)  # type: ignore[arg-type]
        compiled = msgspec.msgpack.encode(made)
        self.workflows.put("w", "w.yaml", f"digest-{hash(compiled)}", compiled, compiled)
        self.tick()

    def remove(self) -> None:
        self.workflows.remove("w")
        self.tick()

    def pause(self, *, paused: bool = True) -> None:
        self.workflows.pause("w", "ann" if paused else "")
        self.tick()

    def end_run(self, number: int) -> None:
        live = self.runs.live[number]
        if not live.run.active:
            self.runs.fill("epoch")
        now_us = self.clock.wall_us()
        end = Exit(exit_code=0, signal=None, started_us=now_us, ended_us=now_us)
        self.runs.attempt_ended(self.runs.attempt_id(live.run, live.by_index[0]), end)
        self.tick()

    def rows(self) -> list[Row]:
        """(nominal time, fate, reason, run) of every slot, oldest first."""
        found = self.store.rows("slots", -1, "", "", 1 << 62, -1)
        return [(f"{from_us(at_us):%d %H:%M}", fate, reason, run) for _, _, at_us, fate, reason, run, _ in found]

    def fates(self) -> list[tuple[str, str]]:
        """(nominal time, what became of it)."""
        return [(at, reason or fate) for at, fate, reason, _ in self.rows()]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.stop()


def test_each_slot_is_one_row_with_the_run_that_it_fired(host: Host) -> None:
    host.install(HOURLY)
    host.advance(2.5 * HOUR)
    assert host.rows() == [("10 13:00", "fired", None, 1), ("10 14:00", "fired", None, 2)]
    scheduled = [live.meta.scheduled_us for live in host.runs.live.values()]
    assert [f"{from_us(at or 0):%H:%M}" for at in scheduled] == ["13:00", "14:00"]


def test_the_first_slot_comes_after_the_load(host: Host) -> None:
    """Noon itself is past when the file is loaded at noon: a new definition has no past."""
    host.install(HOURLY)
    host.tick()
    assert host.rows() == []


def test_slots_of_a_down_time_are_rows_and_the_newest_one_fires(host: Host) -> None:
    host.install(HOURLY)
    host.advance(1.5 * HOUR)
    host.restart(down_s=3 * HOUR)
    host.advance(HOUR)
    assert host.fates() == [
        ("10 13:00", "fired"), ("10 14:00", "down"), ("10 15:00", "down"), ("10 16:00", "fired"), ("10 17:00", "fired")
    ]  # fmt: skip


def test_a_restart_between_two_slots_leaves_no_row(host: Host) -> None:
    host.install(HOURLY)
    host.advance(1.25 * HOUR)
    host.restart()
    host.restart()
    assert host.fates() == [("10 13:00", "fired")]


def test_a_long_down_time_is_written_in_pieces_and_wholly(host: Host) -> None:
    host.install(EVERY_MINUTE)
    host.restart(down_s=2 * 86_400)
    assert Counter(fate for _, fate in host.fates()) == {"down": 2 * 1440 - 1, "fired": 1}


def test_a_paused_workflow_has_rows_and_no_runs_and_resuming_makes_up_for_nothing(host: Host) -> None:
    host.install(HOURLY)
    host.pause()
    host.advance(2.5 * HOUR)
    host.restart()
    host.pause(paused=False)
    host.advance(HOUR)
    assert host.fates() == [("10 13:00", "paused"), ("10 14:00", "paused"), ("10 15:00", "fired")]


def test_a_disabled_trigger_has_rows_that_say_so(host: Host) -> None:
    host.install(Schedule(name="cron", cron="0 * * * *", enabled=False))
    host.advance(1.5 * HOUR)
    assert host.fates() == [("10 13:00", "disabled")]


def test_a_slot_beside_a_live_run_is_skipped_and_names_the_run(host: Host) -> None:
    host.install(HOURLY, overlap=None)
    host.advance(2.5 * HOUR)
    host.end_run(1)
    host.advance(HOUR)
    assert host.rows() == [
        ("10 13:00", "fired", None, 1), ("10 14:00", "skipped", "overlap", 1), ("10 15:00", "fired", None, 2)
    ]  # fmt: skip


def test_queued_slots_run_one_after_the_other_and_a_full_queue_skips(host: Host) -> None:
    host.install(HOURLY, overlap=Overlap.QUEUE, queue_max=1)
    host.advance(3.5 * HOUR)
    assert [row[1:] for row in host.rows()] == [("fired", None, 1), ("fired", None, 2), ("skipped", "queue_full", 1)]
    host.end_run(1)
    assert host.runs.live[2].run.state is RunState.RUNNING


def test_queue_latest_keeps_the_newest_of_those_that_wait(host: Host) -> None:
    host.install(HOURLY, overlap=Overlap.QUEUE_LATEST)
    host.advance(3.5 * HOUR)
    assert sorted(host.runs.live) == [1, 3]
    assert tuple(host.store.one("run", 2)[2:4]) == ("cancelled", "replaced")


def test_replace_cancels_the_live_run_once_and_keeps_its_grace(host: Host) -> None:
    """A third slot while the first run is still stopping must not turn its grace into a kill."""
    host.install(HOURLY, overlap=Overlap.REPLACE)
    host.advance(1.5 * HOUR)
    host.runs.fill("epoch")
    host.advance(2 * HOUR)
    assert host.runs.live[1].run.cancels == 1
    assert sorted(host.runs.live) == [1, 3]
    host.end_run(1)
    assert host.runs.live[3].run.state is RunState.RUNNING


def test_params_of_a_trigger_that_do_not_fit_skip_the_slot(host: Host) -> None:
    host.install(HOURLY, params=(Param(name="x", type=ParamType.INTEGER, required=True),))
    host.advance(1.5 * HOUR)
    assert host.fates() == [("10 13:00", "bad_params")]


def test_slots_that_come_due_in_one_instant_fire_the_newest_only(host: Host) -> None:
    host.install(HOURLY)
    host.clock.advance(2.5 * HOUR)  # the machine slept, or the daemon was stopped with SIGSTOP
    host.tick()
    assert host.fates() == [("10 13:00", "late"), ("10 14:00", "fired")]


def test_a_clock_set_forward_by_hours_is_one_decision_and_no_burst(host: Host) -> None:
    host.install(HOURLY)
    host.tick()
    host.set_clock(NOON.replace(hour=17, minute=30))
    host.advance(HOUR)
    assert host.fates() == [(f"10 {hour}:00", "clock_step") for hour in range(13, 17)] + [
        ("10 17:00", "fired"), ("10 18:00", "fired")
    ]  # fmt: skip


def test_a_clock_set_back_fires_nothing_twice(host: Host) -> None:
    host.install(HOURLY)
    host.advance(2.5 * HOUR)
    host.set_clock(NOON)
    host.advance(4 * HOUR)
    assert host.fates() == [(f"10 {hour}:00", "fired") for hour in (13, 14, 15, 16)]


def test_a_clock_set_back_over_a_restart_fires_nothing_twice(host: Host) -> None:
    host.install(HOURLY)
    host.advance(2.5 * HOUR)
    host.clock.set_wall(to_us(NOON))
    host.restart()
    host.advance(4 * HOUR)
    assert host.fates() == [(f"10 {hour}:00", "fired") for hour in (13, 14, 15, 16)]


def test_a_clock_that_was_years_ahead_is_told_as_the_reason_why_nothing_fires(host: Host) -> None:
    host.install(HOURLY)
    host.advance(HOUR)
    host.clock.set_wall(to_us(NOON.replace(year=2036)))
    host.restart()
    host.advance(HOUR)
    host.clock.set_wall(to_us(NOON))
    assert host.workflows.warnings(lambda _: True) == []
    host.restart()
    (warning,) = host.workflows.warnings(lambda _: True)
    assert warning.startswith("w: nothing fires before 2036-03-10 13:00 UTC")


def test_of_a_down_time_of_years_only_the_newest_slots_are_written(host: Host) -> None:
    host.install(HOURLY)
    host.tick()
    host.restart(down_s=5 * 365 * 24 * HOUR)
    assert len(host.rows()) == 90 * 24


@pytest.mark.parametrize("restarted", [False, True])
def test_a_file_that_comes_back_after_the_clock_was_set_back_fires_nothing_twice(
    host: Host, *, restarted: bool
) -> None:
    """A slot that would be recorded a second time ended the daemon, and each of its restarts."""
    host.install(HOURLY)
    host.advance(1.5 * HOUR)
    host.remove()
    if restarted:
        host.restart()
    host.set_clock(NOON)
    host.install(HOURLY)
    host.advance(1.5 * HOUR)
    host.restart()
    host.advance(HOUR)
    assert host.fates() == [("10 13:00", "fired"), ("10 14:00", "fired")]


def test_an_edited_schedule_has_no_past(host: Host) -> None:
    host.install(HOURLY)
    host.advance(1.25 * HOUR)
    host.install(Schedule(name="cron", cron="*/10 * * * *"))
    host.advance(0.2 * HOUR)
    assert host.fates() == [("10 13:00", "fired"), ("10 13:20", "fired")]


def test_an_edited_schedule_has_no_past_over_a_restart_either(host: Host) -> None:
    """The daemon was there all the time: no slot between the last of the old schedule and the edit was ever missed."""
    host.install(Schedule(name="cron", cron="0 3 * * *"))
    host.advance(HOUR)
    host.install(HOURLY)
    host.restart()
    assert host.fates() == []
    host.advance(HOUR)
    assert host.fates() == [("10 14:00", "fired")]


def test_an_edit_while_the_clock_is_set_back_fires_nothing_twice(host: Host) -> None:
    host.install(HOURLY)
    host.advance(2.5 * HOUR)
    host.set_clock(NOON)
    host.install(Schedule(name="cron", cron="0,30 * * * *"))
    host.restart()
    host.advance(3 * HOUR)
    assert host.fates() == [
        ("10 13:00", "fired"), ("10 14:00", "fired"), ("10 14:30", "fired"), ("10 15:00", "fired")
    ]  # fmt: skip


def test_an_edit_of_the_tasks_moves_no_slot(host: Host) -> None:
    host.install(HOURLY)
    host.advance(HOUR - 1)
    host.install(HOURLY, description="other")
    host.advance(2)
    assert host.fates() == [("10 13:00", "fired")]


def test_a_removed_file_has_no_slots_and_its_runs_go_on(host: Host) -> None:
    host.install(HOURLY)
    host.advance(1.5 * HOUR)
    host.remove()
    host.advance(2 * HOUR)
    host.restart(down_s=HOUR)
    assert host.fates() == [("10 13:00", "fired")]
    assert list(host.runs.live) == [1]


def test_a_file_that_comes_back_has_no_slots_of_its_absence(host: Host) -> None:
    host.install(HOURLY)
    host.remove()
    host.advance(2.5 * HOUR)
    host.install(HOURLY)
    host.advance(HOUR)
    assert host.fates() == [("10 15:00", "fired")]


def test_a_pause_outlives_the_file(host: Host) -> None:
    host.install(HOURLY)
    host.pause()
    host.remove()
    host.restart()
    host.install(HOURLY)
    host.advance(HOUR)
    assert host.fates() == [("10 13:00", "paused")]


def test_reboot_triggers_fire_when_they_are_told_only(host: Host) -> None:
    host.install(Schedule(name="boot", cron="@reboot"))
    host.advance(HOUR)
    host.restart()
    assert host.rows() == []
    host.workflows.fire_reboot()
    host.tick()
    assert [row[1:] for row in host.rows()] == [("fired", None, 1)]


# ---- Jitter


def jittered(least_s: float) -> Schedule:
    """A trigger whose delay on this host is at least so long, and below an hour."""
    for number in range(1000):
        delay_us = jitter_us("host", "w", f"cron-{number}", HOUR)
        if delay_us > least_s * US:
            return Schedule(name=f"cron-{number}", cron="0 * * * *", jitter_s=HOUR)
    raise AssertionError("no such delay")


def test_a_slot_waits_for_its_jitter_and_keeps_its_nominal_time(host: Host) -> None:
    trigger = jittered(1800)
    host.install(trigger)
    host.advance(HOUR + 1800)
    assert host.rows() == []
    host.advance(1800)
    assert host.fates() == [("10 13:00", "fired")]


def test_a_slot_that_waits_for_its_jitter_fires_after_a_restart(host: Host) -> None:
    host.install(jittered(1800))
    host.advance(HOUR + 300)
    host.restart(down_s=60)
    host.advance(HOUR)
    assert host.fates()[0] == ("10 13:00", "fired")


def test_a_slot_whose_jitter_ended_in_a_down_time_is_down(host: Host) -> None:
    host.install(jittered(600))
    host.advance(HOUR + 300)
    host.restart(down_s=HOUR)
    assert host.fates()[0] == ("10 13:00", "down")


def test_a_slot_that_waits_for_its_jitter_starts_when_its_schedule_is_edited(host: Host) -> None:
    """Other times take its place; it need not be lost, also not over a kill right after the edit."""
    trigger = jittered(1800)
    host.install(trigger)
    host.advance(HOUR + 60)
    host.install(msgspec.structs.replace(trigger, cron="30 3 * * *"))
    host.restart()
    assert host.rows() == [("10 13:00", "fired", None, 1)]


def test_a_slot_that_waits_for_its_jitter_when_its_file_goes_is_a_row(host: Host) -> None:
    host.install(jittered(1800))
    host.advance(HOUR + 60)
    host.remove()
    assert host.fates() == [("10 13:00", "removed")]


# ---- Intervals and single times


def test_an_interval_is_counted_from_the_first_load_over_restarts_and_edits_of_other_things(host: Host) -> None:
    fifteen = Schedule(name="t", every_s=15 * MINUTE)
    host.clock.advance(7 * MINUTE)
    host.install(fifteen)
    host.advance(20 * MINUTE)
    host.restart(down_s=MINUTE)
    host.install(fifteen, description="other")
    host.advance(15 * MINUTE)
    assert [at for at, _ in host.fates()] == ["10 12:22", "10 12:37"]


def test_an_interval_is_counted_from_a_whole_second_also_over_a_restart_before_its_first_slot(host: Host) -> None:
    host.clock.advance(0.75)
    host.install(Schedule(name="t", every_s=15 * MINUTE))
    host.advance(60.5)
    host.restart()
    host.advance(30 * MINUTE)
    found = [row[2] - to_us(NOON) for row in host.store.rows("slots", -1, "", "", 1 << 62, -1)]
    assert found == [900 * US, 1800 * US]


def test_another_interval_begins_anew(host: Host) -> None:
    host.install(Schedule(name="t", every_s=15 * MINUTE))
    host.advance(10 * MINUTE)
    host.install(Schedule(name="t", every_s=20 * MINUTE))
    host.advance(25 * MINUTE)
    assert host.fates() == [("10 12:30", "fired")]


def test_single_times_fire_once_each_and_what_is_past_at_the_load_never(host: Host) -> None:
    times = ("2026-03-10 11:00", "2026-03-10T15:00:00+01:00", "2026-03-10 13:00", "2026-03-10T13:00:00Z")
    host.install(Schedule(name="t", at=times))
    host.advance(6 * HOUR)
    assert host.fates() == [("10 13:00", "fired"), ("10 14:00", "fired")]


# ---- Down times (rule T6)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (None, ["down", "down", "down", "fired"]),
        (Catchup(policy=CatchupPolicy.NONE), ["down", "down", "down", "down"]),
        (Catchup(within_s=1200), ["down", "down", "down", "down"]),
        (Catchup(policy=CatchupPolicy.ALL, within_s=86_400), ["fired", "fired", "fired", "fired"]),
        (Catchup(policy=CatchupPolicy.ALL, within_s=86_400, max=2), ["down", "down", "fired", "fired"]),
        (Catchup(policy=CatchupPolicy.ALL, within_s=2 * HOUR), ["down", "down", "fired", "fired"]),
    ],
    ids=["latest", "none", "too old", "all", "at most", "of the last hours"],
)
@pytest.mark.parametrize("of_workflow", [False, True])
def test_a_down_time_is_made_up_for_as_the_rule_says(
    host: Host, rule: Catchup | None, wanted: list[str], *, of_workflow: bool
) -> None:
    own = HOURLY if of_workflow else msgspec.structs.replace(HOURLY, catchup=rule)
    host.install(own, catchup=rule if of_workflow else None)
    host.advance(MINUTE)
    host.restart(down_s=4.5 * HOUR - MINUTE)
    assert [fate for _, fate in host.fates()] == wanted


def test_a_caught_up_run_knows_the_time_that_it_is_for(host: Host) -> None:
    host.install(HOURLY)
    host.restart(down_s=1.5 * HOUR)
    assert host.runs.live[1].meta.scheduled_us == to_us(NOON) + 3600 * US


def test_all_of_a_down_time_queue_where_the_file_says_nothing_of_overlap(host: Host) -> None:
    rule = Catchup(policy=CatchupPolicy.ALL, within_s=86_400)
    host.install(msgspec.structs.replace(HOURLY, catchup=rule), overlap=None)
    host.restart(down_s=3.5 * HOUR)
    assert [live.run.state for live in host.runs.live.values()] == ["running", "queued", "queued"]


@pytest.mark.parametrize("gone", ["paused", "disabled", "edited"])
def test_what_would_not_have_fired_is_not_made_up_for(host: Host, gone: str) -> None:
    host.install(msgspec.structs.replace(HOURLY, enabled=gone != "disabled"))
    if gone == "paused":
        host.pause()
    host.stop()
    host.clock.advance(1.5 * HOUR)
    host.start(held=True)
    if gone == "edited":
        host.install(Schedule(name="cron", cron="45 * * * *"))
    host.workflows.slots.release()
    host.tick()
    assert host.rows() == [("10 13:00", "skipped", {"edited": "down"}.get(gone, gone), None)]


def test_a_down_time_is_made_up_for_with_the_text_that_the_folder_has_now(host: Host) -> None:
    host.install(HOURLY)
    host.stop()
    host.clock.advance(1.5 * HOUR)
    host.start(held=True)
    host.tick()
    assert host.rows() == []
    host.install(HOURLY, description="other")
    host.workflows.slots.release()
    host.tick()
    assert host.runs.live[1].workflow.description == "other"


# ---- Reasons


def almanac(host: Host, **parts: object) -> None:
    host.workflows.slots.put_almanac(Almanac(Entries(**parts), zone("UTC")))  # type: ignore[arg-type]


def test_a_day_that_the_calendar_leaves_out_is_a_row_that_names_it(host: Host) -> None:
    almanac(host, calendars={"even": Calendar(rule="0 0 */2 * *")})  # 1, 3, 5 and so on
    host.install(Schedule(name="t", cron="0 18 * * *", calendars=("even",)))
    host.advance(2 * 86_400, step_s=1800)
    assert host.fates() == [("10 18:00", "calendar"), ("11 18:00", "fired")]
    assert [row[6] for row in host.store.rows("slots", -1, "", "", 1 << 62, -1)] == ["even", ""]


def test_a_blackout_for_all_keeps_every_schedule(host: Host) -> None:
    almanac(host, blackouts={"lunch": Blackout(daily=(13 * 60, 15 * 60), for_all=True)})
    host.install(HOURLY)
    host.advance(3.5 * HOUR)
    assert host.fates() == [("10 13:00", "blackout"), ("10 14:00", "blackout"), ("10 15:00", "fired")]


def test_a_slot_of_before_a_blackout_is_not_made_up_for_within_it(host: Host) -> None:
    almanac(host, blackouts={"lunch": Blackout(daily=(13 * 60 + 10, 15 * 60))})
    host.install(Schedule(name="t", cron="0 13 * * *", blackouts=("lunch",)))
    host.clock.advance(HOUR + 20 * MINUTE)  # the machine slept
    host.tick()
    assert host.fates() == [("10 13:00", "blackout")]


def test_a_schedule_whose_calendar_is_missing_is_held_and_told(host: Host) -> None:
    host.install(Schedule(name="t", cron="0 * * * *", calendars=("workdays",)))
    host.advance(1.5 * HOUR)
    assert host.fates() == [("10 13:00", "held")]
    assert host.workflows.warnings(lambda _: True) == ["w: held: t: there is no calendar workdays"]
    assert (host.workflows.upcoming("w", 5), host.workflows.idle("w")) == ([], "held")


def test_what_is_next_leaves_out_what_a_calendar_will_skip(host: Host) -> None:
    almanac(host, calendars={"monday": Calendar(rule="0 0 * * 1")})
    host.install(Schedule(name="t", cron="0 6 * * *", calendars=("monday",)))
    found = [f"{from_us(view.scheduled_us):%a %d}" for view in host.workflows.upcoming("w", 2)]
    assert found == ["Mon 16", "Mon 23"]


def test_a_condition_that_is_false_is_a_row_with_the_values_that_decided(host: Host) -> None:
    full = Param(name="full", type=ParamType.BOOLEAN, default=False)
    host.install(msgspec.structs.replace(HOURLY, condition="params.full"), params=(full,))
    host.advance(1.5 * HOUR)
    assert host.fates() == [("10 13:00", "condition_false")]
    assert [row[6] for row in host.store.rows("slots", -1, "", "", 1 << 62, -1)] == ["params.full = false"]


@pytest.mark.parametrize(
    ("condition", "fate"),
    [
        ("run.scheduled_at == '2026-03-10T13:00:00+00:00'", "fired"),
        ("run.workflow == 'w' and run.trigger == 'cron'", "fired"),
        ("params.absent", "expression_error"),
        ("1", "expression_error"),
    ],
)
def test_a_condition_is_about_params_and_the_run(host: Host, condition: str, fate: str) -> None:
    host.install(msgspec.structs.replace(HOURLY, condition=condition))
    host.advance(1.5 * HOUR)
    assert host.fates() == [("10 13:00", fate)]


def test_a_slot_that_could_start_only_after_its_deadline_is_skipped(host: Host) -> None:
    host.install(msgspec.structs.replace(HOURLY, deadline_s=600.0))
    host.clock.advance(HOUR + 11 * MINUTE)  # the machine slept
    host.tick()
    assert host.fates() == [("10 13:00", "deadline")]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_queued_run_whose_deadline_passes_is_cancelled_and_its_slot_stays_fired(
    host: Host, *, restarted: bool
) -> None:
    host.install(msgspec.structs.replace(HOURLY, deadline_s=600.0), overlap=Overlap.QUEUE)
    host.advance(2 * HOUR + MINUTE)
    if restarted:
        host.restart()
    host.advance(11 * MINUTE)
    assert host.rows() == [("10 13:00", "fired", None, 1), ("10 14:00", "fired", None, 2)]
    assert tuple(host.store.one("run", 2)[2:4]) == ("cancelled", "deadline")
    assert list(host.runs.live) == [1]


def test_what_a_clock_change_leaves_out_is_a_row(tmp_path: Path) -> None:
    host = Host(tmp_path, to_us(datetime(2026, 3, 28, 12, 0, tzinfo=UTC)))
    berlin = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    host.install(Schedule(name="a", **berlin), Schedule(name="b", dst=Dst.SKIP, **berlin))  # type: ignore[arg-type]
    host.advance(86_400, step_s=1800)
    found = [
        (row[1], f"{from_us(row[2]):%d %H:%M}", row[4]) for row in host.store.rows("slots", -1, "", "", 1 << 62, -1)
    ]
    host.stop()
    assert found == [("a", "29 01:00", None), ("b", "29 01:00", "dst")]


# ---- Any sequence

MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(1, 400)),
        st.tuples(st.just("sleep"), st.integers(1, 400)),
        st.tuples(st.just("restart"), st.integers(0, 400)),
        st.tuples(st.just("clock"), st.integers(-300, 400)),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("edit"), st.sampled_from(["*/7 * * * *", "0 * * * *", "30 */2 * * *"])),
        st.tuples(st.just("file"), st.booleans()),
    ),
    max_size=14,
)


class Oracle:
    """What rule T1 asks for, minute by minute: each matching minute that the cursor passes is owed one row."""

    def __init__(self, cron: str, now: int) -> None:
        self.cron, self.cursor, self.installed = cron, now, True
        self.floor = now
        """Where the slots of the text in force begin."""
        self.owed: list[int] = []
        self.newest = -1

    def pass_to(self, minute: int) -> None:
        if not self.installed:
            return
        for at in range(self.cursor + 1, minute + 1):
            if self.matches(at):
                self.owed.append(at)
                self.newest = max(self.newest, at)
        self.cursor = max(self.cursor, minute)

    def matches(self, at: int) -> bool:
        minute, hour = at % 60, at // 60 % 24
        return {"*/7 * * * *": minute % 7 == 0, "0 * * * *": minute == 0}.get(self.cron, minute == 30 and hour % 2 == 0)

    def install(self, minute: int) -> None:
        if not self.installed:
            self.cursor = self.floor = max(minute, self.newest)
        self.installed = True

    def edit(self, minute: int, cron: str) -> None:
        """Other times begin now, though the clock may have been further; but never before what is recorded."""
        if cron != self.cron:
            self.cursor = self.floor = max(minute, self.newest, self.floor)
        self.cron = cron


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(moves=MOVES)
def test_every_slot_has_exactly_one_row_whatever_happens(tmp_path: Path, moves: list[tuple[str, int | str]]) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    host = Host(folder)
    try:
        host.install(HOURLY)
        oracle = Oracle("0 * * * *", minute_of(host))
        for what, value in moves:
            move(host, oracle, what, value)
        found = [row[2] // (60 * US) for row in host.store.rows("slots", -1, "", "", 1 << 62, -1)]
        assert found == sorted(oracle.owed)
        fired = [row for row in host.rows() if row[1] == "fired"]
        assert len({row[3] for row in fired}) == len(fired) == host.store.one("last_run")[0]
    finally:
        host.stop()
        shutil.rmtree(folder)


def minute_of(host: Host) -> int:
    return host.clock.wall_us() // (60 * US)


def move(host: Host, oracle: Oracle, what: str, value: int | str) -> None:
    if what == "advance":
        host.advance(int(value) * MINUTE, step_s=5 * MINUTE)
    elif what == "sleep":
        host.clock.advance(int(value) * MINUTE)
        host.tick()
    elif what == "restart":
        host.restart(down_s=int(value) * MINUTE)
    elif what == "clock":
        host.clock.set_wall(host.clock.wall_us() + int(value) * 60 * US)
        host.tick()
    elif what == "pause" and oracle.installed:
        host.pause(paused=bool(value))
    elif what == "edit" and oracle.installed:
        oracle.pass_to(minute_of(host))
        oracle.edit(minute_of(host), str(value))
        host.install(Schedule(name="cron", cron=str(value)))
    elif what == "file" and bool(value) != oracle.installed:
        if value:
            oracle.install(minute_of(host))
            host.install(Schedule(name="cron", cron=oracle.cron))
        else:
            host.remove()
            oracle.installed = False
    oracle.pass_to(minute_of(host))
