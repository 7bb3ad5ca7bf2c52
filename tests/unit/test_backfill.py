"""Which schedule a backfill is about, how many runs it may have at once, and which slots are its own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pyflowd.base.zones import zone
from pyflowd.clock import US, from_us, to_us
from pyflowd.engine.overlap import Enqueue, RunRef, Skip, decide
from pyflowd.errors import NotFound, Refused
from pyflowd.model.states import RunState
from pyflowd.model.triggers import Schedule
from pyflowd.model.workflow import Overlap, Param, ParamType
from pyflowd.runtime import backfill
from pyflowd.runtime.backfill import Backfill
from pyflowd.schedules.schedule import times_of

NIGHTLY, WEEKLY = Schedule(name="nightly", cron="30 2 * * *"), Schedule(name="weekly", cron="0 5 * * 0")
BOOT = Schedule(name="boot", cron="@reboot")
ASKED = Backfill(backfill=1, workflow="w", trigger="nightly", from_us=0, until_us=1, parallel=2, total=5)


def ref(number: int, *, own: bool = False, state: RunState = RunState.RUNNING) -> RunRef:
    return RunRef(id=number, state=state, by_backfill=own)


def test_the_only_schedule_is_meant() -> None:
    assert backfill.pick_trigger("w", (NIGHTLY, BOOT), "") is NIGHTLY


def test_of_several_one_must_be_named() -> None:
    with pytest.raises(Refused, match="several schedules; say which one with --trigger: nightly, weekly"):
        backfill.pick_trigger("w", (NIGHTLY, WEEKLY), "")
    assert backfill.pick_trigger("w", (NIGHTLY, WEEKLY), "weekly") is WEEKLY


def test_a_misspelt_one_comes_with_the_nearest_name() -> None:
    with pytest.raises(NotFound, match="nightly"):
        backfill.pick_trigger("w", (NIGHTLY, WEEKLY), "nightli")


def test_a_workflow_without_slots_has_none_to_make_up_for() -> None:
    with pytest.raises(Refused, match="no schedule"):
        backfill.pick_trigger("w", (BOOT,), "")


@pytest.mark.parametrize(
    ("parallel", "policy", "limit", "fits"),
    [(1, None, 1, True), (2, None, 1, False), (2, Overlap.ALLOW, 1, True), (3, None, 3, True), (4, None, 3, False)],
)
def test_more_at_once_than_the_workflow_allows_is_refused(
    parallel: int, policy: Overlap | None, limit: int, fits: bool
) -> None:
    if fits:
        backfill.check_parallel("w", parallel, policy, limit)
        return
    with pytest.raises(Refused, match="overlap: allow"):
        backfill.check_parallel("w", parallel, policy, limit)


def test_both_ends_of_the_span_belong_to_it() -> None:
    times = times_of(NIGHTLY, zone("UTC"), 0)
    assert times is not None
    first, last = (to_us(datetime(2026, 3, day, 2, 30, tzinfo=UTC)) for day in (1, 3))
    found = list(backfill.slots_between(times, first, last))
    assert [from_us(at_us).day for at_us in found] == [1, 2, 3]
    assert list(backfill.slots_between(times, first + 1, last - 1)) == found[1:2]


def test_a_time_that_the_clock_change_doubles_is_one_slot() -> None:
    times = times_of(Schedule(name="x", cron="30 2 * * *", timezone="Europe/Berlin"), zone("UTC"), 0)
    assert times is not None
    day = to_us(datetime(2026, 10, 25, tzinfo=UTC)) - 3 * 3600 * US
    assert len(list(backfill.slots_between(times, day, day + 24 * 3600 * US))) == 1


def test_params_of_the_command_line_are_read_as_declared() -> None:
    declared = (Param(name="n", type=ParamType.INTEGER),)
    assert backfill.given_params(declared, {"n": "5"}, from_text=True) == {"n": 5}
    assert backfill.given_params(declared, {"n": "5"}, from_text=False) == {"n": "5"}
    with pytest.raises(Refused, match="params: n: "):
        backfill.given_params(declared, {"n": "x"}, from_text=True)


@pytest.mark.parametrize(
    ("own", "live", "policy", "limit", "paused", "why"),
    [
        (0, [], None, 1, False, ""),
        (0, [], None, 1, True, "the workflow is paused"),
        (1, [ref(7, own=True)], None, 1, False, "run 7 is live"),
        (1, [ref(7, own=True)], None, 2, False, ""),
        (2, [ref(7, own=True), ref(8, own=True)], None, 5, False, "2 of its runs are live"),
        (0, [ref(7)], None, 2, False, "run 7 goes first"),
        (0, [ref(7)], Overlap.ALLOW, 1, False, ""),
        (0, [ref(6, own=True)], None, 1, False, "run 6 is live"),
    ],
)
def test_why_it_waits(own: int, live: list[RunRef], policy: Overlap | None, limit: int, paused: bool, why: str) -> None:
    assert backfill.why_waiting(ASKED, own, live, policy, limit, paused=paused) == why


@pytest.mark.parametrize("policy", [None, Overlap.SKIP, Overlap.REPLACE])
def test_a_slot_waits_behind_runs_of_a_backfill_alone(policy: Overlap | None) -> None:
    assert decide(policy, True, [ref(1, own=True)], 100) == Enqueue()


def test_a_slot_beside_another_live_run_is_skipped_as_ever() -> None:
    assert isinstance(decide(None, True, [ref(1, own=True), ref(2)], 100), Skip)
