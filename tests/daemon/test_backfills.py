"""Backfills as the daemon has them: one run for each slot, in order, never two, over restarts, and behind whatever a
schedule or a person asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyflowd.clock import US, to_us
from pyflowd.errors import NotFound, Refused
from pyflowd.model.states import RunState
from pyflowd.model.workflow import Concurrency, Overlap, Param, ParamType
from pyflowd.runtime.backfill import Backfill
from tests.daemon.instance import Instance
from tests.daemon.timed_host import HOURLY, TimedHost
from tests.waiting import wait_until

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DAY_US = 86_400 * US
SLOTS = [to_us(NOON) - n * DAY_US for n in range(5, 0, -1)]
HOUR = 3600.0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[TimedHost]:
    made = TimedHost(tmp_path, NOON)
    yield made
    made.stop()


def found(host: TimedHost, number: int = 1) -> Backfill:
    return host.backfills.find(number)


def test_each_slot_becomes_one_run_the_oldest_first(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.end_all()
    assert host.slots_run() == SLOTS


def test_the_newest_slot_may_go_first(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS, newest_first=True)
    host.end_all()
    assert host.slots_run() == SLOTS[::-1]


def test_no_more_runs_are_live_at_once_than_were_asked_for(host: TimedHost) -> None:
    host.install(HOURLY, overlap=Overlap.ALLOW)
    host.backfill(SLOTS, parallel=2)
    assert len(host.runs.live) == 2
    host.end_run(1)
    assert sorted(host.runs.live) == [2, 3]


def test_it_takes_no_more_places_than_the_workflow_has(host: TimedHost) -> None:
    """The definition may change while a wide backfill is under way."""
    host.install(HOURLY, concurrency=Concurrency(limit=2))
    host.backfill(SLOTS, parallel=5)
    assert len(host.runs.live) == 2


@pytest.mark.parametrize("kill_after", range(6))
def test_it_goes_on_over_a_restart_and_no_slot_runs_twice(host: TimedHost, kill_after: int) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    for run in range(1, kill_after + 1):
        if run in host.runs.live:
            host.end_run(run)
    host.restart()
    host.end_all()
    assert host.slots_run() == SLOTS


def test_what_was_not_committed_is_done_again(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.finish(1)
    host._settle()  # the second run is recorded, and the commit does not come
    host.restart()
    host.end_all()
    assert host.slots_run() == SLOTS


def test_a_full_span_is_counted_and_told_at_its_end(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS, requested_by="ann")
    host.end_run(1, code=1)
    host.restart()
    host.end_all()
    assert host.events("backfill_recorded", "backfill_ended") == [
        "backfill 1 of w: 5 slots of cron, asked for by ann", "backfill 1 of w has ended: 4 succeeded, 1 failed"
    ]  # fmt: skip


def test_a_failed_run_does_not_stop_it(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.end_run(1, code=1)
    assert host.runs.live[2].run.state is RunState.RUNNING


def test_it_gives_way_to_a_run_that_somebody_asks_for(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    asked = host.run()
    host.end_run(1)
    assert list(host.runs.live) == [asked]
    assert host.backfills.why_waiting(found(host)) == f"run {asked} goes first"


def test_a_slot_that_comes_meanwhile_waits_for_its_turn_and_is_not_skipped(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.advance(HOUR)
    host.end_run(1)
    assert [live.meta.scheduled_us for live in host.runs.live.values()] == [to_us(NOON) + 3600 * US]


def test_a_slot_does_not_replace_the_run_of_a_backfill(host: TimedHost) -> None:
    host.install(HOURLY, overlap=Overlap.REPLACE)
    host.backfill(SLOTS)
    host.advance(HOUR)
    assert not host.runs.live[1].run.stopping


def test_it_stands_still_while_its_workflow_is_paused(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.pause()
    host.end_run(1)
    assert not host.runs.live
    assert host.backfills.why_waiting(found(host)) == "the workflow is paused"
    host.pause(paused=False)
    assert list(host.runs.live) == [2]


def test_it_waits_for_a_definition_that_has_gone(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.workflows.remove("w")
    host.end_run(1)
    assert not host.runs.live
    host.install(HOURLY)
    assert list(host.runs.live) == [2]


def test_cancelling_it_cancels_what_is_live_and_leaves_out_the_rest(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.end_run(1)
    host.backfills.cancel(1, "ann")
    host.tick()
    assert host.runs.live[2].run.stopping
    host.end_run(2, code=1)
    assert host.slots_run() == SLOTS[:2]
    assert host.backfills.open == []
    assert found(host).cancelled_by == "ann"


def test_a_cancelled_one_stays_so_over_a_restart(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.backfills.cancel(1, "ann")
    host.tick()
    host.restart()
    host.end_all()
    assert host.slots_run() == SLOTS[:1]


def test_what_has_ended_cannot_be_cancelled(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS[:1])
    host.end_all()
    with pytest.raises(Refused, match="has ended already"):
        host.backfills.cancel(1, "ann")


def test_there_is_no_backfill_that_was_never_asked_for(host: TimedHost) -> None:
    with pytest.raises(NotFound, match="no backfill 7"):
        host.backfills.find(7)


def test_a_slot_whose_params_are_refused_is_told_and_the_others_go_on(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.install(HOURLY, params=(Param(name="day", type=ParamType.DATE, required=True),))
    host.end_run(1)
    assert (found(host).refused, found(host).recorded) == (4, 1)
    assert "day: a value is required" in found(host).error
    assert len(host.events("backfill_slot_refused")) == 4


def test_params_given_go_over_those_of_the_trigger(host: TimedHost) -> None:
    host.install(HOURLY, params=(Param(name="day"),))
    host.backfill(SLOTS[:1], params={"day": "x"})
    assert host.runs.live[1].meta.params == {"day": "x"}


def test_a_run_knows_its_backfill_and_its_slot_over_a_restart(host: TimedHost) -> None:
    host.install(HOURLY)
    host.backfill(SLOTS)
    host.restart()
    meta = host.runs.live[1].meta
    assert (meta.backfill, meta.scheduled_us, meta.trigger) == (1, SLOTS[0], "cron")


def test_only_so_many_are_recorded_in_one_turn_and_all_in_the_end(host: TimedHost) -> None:
    slots = [to_us(NOON) - n * US for n in range(250, 0, -1)]
    host.install(HOURLY, overlap=Overlap.ALLOW)
    host.backfill(slots, parallel=1000)
    assert len(host.runs.live) == 250


# ---- The whole daemon ------------------------------------------------------------------------------------------------

WORKFLOW = """
schedule: {cron: "30 2 * * *", timezone: UTC}
params: {day: {type: integer, default: 1}}
tasks: {a: {run: 'test "$PARAM_DAY" = 5 || exit 1'}}
"""


def ended(instance: Instance, number: int) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        found: dict[str, object] = next(each for each in instance.json("backfills") if each["backfill"] == number)
        return found if found["state"] != "running" else None

    last: dict[str, object] = wait_until(look, f"backfill {number} ends")
    return last


def test_slots_with_a_success_are_left_out_where_only_the_missing_are_wanted(instance: Instance) -> None:
    instance.start()
    instance.install("w.yaml", WORKFLOW)
    instance.ctl("run", "w", "--for", "2026-01-01..2026-01-02", "-p", "day=5")
    assert ended(instance, 1)["succeeded"] == 2
    instance.ctl("run", "w", "--for", "2026-01-03..2026-01-03")
    assert ended(instance, 2)["failed"] == 1
    again = instance.json("run", "w", "--for", "2026-01-01..2026-01-04", "--only-missing", "-p", "day=5")
    assert (again["total"], again["left_out"]) == (2, 2)
    ended(instance, 3)
    done = instance.ctl("run", "w", "--for", "2026-01-01..2026-01-04", "--only-missing")
    assert (done.returncode, "none of 4 slots" in done.stderr) == (6, True)


def test_a_rerun_that_succeeded_makes_its_slot_a_success(instance: Instance) -> None:
    instance.start()
    instance.install(
        "w.yaml", "schedule: '30 2 * * *'\ntasks: {a: {run: 'test -e /proc/self/nothing || test -e ok'}}\n"
    )
    instance.ctl("run", "w", "--for", "2026-01-01..2026-01-01")
    assert ended(instance, 1)["failed"] == 1
    instance.install("w.yaml", "schedule: '30 2 * * *'\ntasks: {a: {run: 'true'}}\n")
    wait_until(lambda: "'true'" in instance.ctl("show", "w").stdout, "the new text")
    assert instance.ctl("rerun", "1", "--latest", "--wait").returncode == 0
    done = instance.ctl("run", "w", "--for", "2026-01-01..2026-01-01", "--only-missing")
    assert "none of 1 slots" in done.stderr


def test_a_dry_run_names_the_slots_and_records_nothing(instance: Instance) -> None:
    instance.start()
    instance.install("w.yaml", WORKFLOW)
    plan = instance.json("run", "w", "--for", "2026-01-01T02:30Z..2026-01-02T02:30Z", "--dry-run")
    assert [slot[:16] for slot in plan["slots"]] == ["2026-01-01T02:30", "2026-01-02T02:30"]
    assert instance.json("backfills") == []


def test_a_span_of_too_many_slots_is_refused(instance: Instance) -> None:
    instance.start()
    instance.install("w.yaml", "schedule: '* * * * *'\ntasks: {a: {run: 'true'}}\n")
    done = instance.ctl("run", "w", "--for", "2025-01-01..2025-12-31")
    assert (done.returncode, "more than 100000 slots" in done.stderr) == (6, True)


def test_slots_that_have_not_come_are_no_part_of_it(instance: Instance) -> None:
    instance.start()
    instance.install("w.yaml", WORKFLOW)
    done = instance.ctl("run", "w", "--for", "2999-01-01..2999-01-05")
    assert (done.returncode, "had no slot" in done.stderr) == (6, True)


def test_a_killed_daemon_goes_on_with_a_backfill(instance: Instance) -> None:
    instance.start()
    instance.install("w.yaml", WORKFLOW)
    instance.ctl("run", "w", "--for", "2026-01-01..2026-01-20", "-p", "day=5")
    wait_until(lambda: instance.json("backfills")[0]["succeeded"] > 2, "some runs")
    instance.kill()
    instance.start()
    assert ended(instance, 1)["succeeded"] == 20
    slots = [run["scheduled_at"] for run in instance.json("history", "-n", "100")]
    assert len(set(slots)) == len(slots) == 20
