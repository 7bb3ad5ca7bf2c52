"""The simulation of the host: fates, waits, peaks, what is assumed, what a changed file changes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pyflowd.clock import US
from pyflowd.errors import Refused
from pyflowd.model.kinds import Approval, Call, Wait
from pyflowd.model.states import Fate, RunState, SlotReason
from pyflowd.model.triggers import Dst, Schedule, WorkflowTrigger
from pyflowd.model.workflow import Concurrency, FanOut, Gates, Overlap, Param, Repeat, Task, Workflow
from pyflowd.schedules.calendars import Blackout, Calendar, Entries
from pyflowd.simulation import simulation
from pyflowd.simulation.simulation import simulate, with_definition
from pyflowd.simulation.simulation_changes import ChangeSort, compare
from pyflowd.simulation.simulation_model import Options
from tests.unit.simulated import HOUR_US, MINUTE_US, NOON_US, at, basis, begun, flow, row, slots, task

# ---- Fates


def test_a_slot_is_skipped_while_the_run_before_is_live_and_names_it() -> None:
    found = simulate(basis(flow("w", "*/20 * * * *"), took_s={"w": 1500}), NOON_US, NOON_US + HOUR_US)
    assert slots(found) == ["0:20 w fired", "0:40 w skipped overlap with w of 0:20", "1:00 w fired"]


def test_a_queued_run_begins_when_the_one_before_has_ended() -> None:
    given = basis(flow("w", "*/20 * * * *", overlap=Overlap.QUEUE), took_s={"w": 1500})
    found = simulate(given, NOON_US, NOON_US + HOUR_US)
    assert begun(found) == ["w of 0:20 at 0:20", "w of 0:40 at 0:45"]


def test_a_queued_run_says_behind_which_it_waits_and_since_when() -> None:
    given = basis(flow("w", "*/20 * * * *", overlap=Overlap.QUEUE), took_s={"w": 1500})
    waiting = simulate(given, NOON_US, NOON_US + HOUR_US).runs[1].waits[0]
    assert (waiting.place, waiting.since_us - NOON_US, waiting.until_us, waiting.behind[0].at_us - NOON_US) == (
        "overlap", 40 * MINUTE_US, NOON_US + 45 * MINUTE_US, 20 * MINUTE_US,
    )  # fmt: skip


def test_a_replaced_run_is_cancelled_and_the_newer_one_begins() -> None:
    given = basis(flow("w", "*/20 * * * *", overlap=Overlap.REPLACE), took_s={"w": 1500})
    found = simulate(given, NOON_US, NOON_US + 50 * MINUTE_US)
    assert [run.state for run in found.runs] == [RunState.CANCELLED, RunState.RUNNING]


def test_a_paused_workflow_fires_nothing_and_says_so() -> None:
    given = basis(flow("w", "*/20 * * * *"), paused=("w",))
    assert {slot.reason for slot in simulate(given, NOON_US, NOON_US + HOUR_US).slots} == {SlotReason.PAUSED}


def test_a_blackout_skips_slots_and_is_named() -> None:
    given = basis(flow("w", "*/20 * * * *", schedule={"blackouts": ("lunch",)}))
    lunch = Blackout(daily=(11 * 60 + 30, 11 * 60 + 50))
    found = simulate(replace(given, almanac=Entries(blackouts={"lunch": lunch})), NOON_US, NOON_US + HOUR_US)
    assert [(slot.reason, slot.detail) for slot in found.slots] == [
        (None, ""), (SlotReason.BLACKOUT, "lunch"), (None, ""),
    ]  # fmt: skip


def test_a_calendar_skips_the_days_that_it_leaves_out() -> None:
    given = basis(flow("w", "0 0 * * *", schedule={"calendars": ("work",)}))
    work = Calendar(rule="0 0 * * 1-5")
    found = simulate(replace(given, almanac=Entries(calendars={"work": work})), NOON_US, NOON_US + 7 * 24 * HOUR_US)
    assert [slot.fate for slot in found.slots] == [Fate.FIRED] * 4 + [Fate.SKIPPED] * 2 + [Fate.FIRED]


def test_a_time_that_a_change_of_the_clock_leaves_out_is_a_skipped_slot() -> None:
    night = at("2026-03-28T12:00:00+01:00")
    workflow = flow("w", "30 2 * * *", schedule={"dst": Dst.SKIP, "timezone": "Europe/Berlin"})
    found = simulate(basis(workflow, now_us=night), night, night + 36 * HOUR_US)
    assert [slot.reason for slot in found.slots] == [SlotReason.DST]


# ---- Places


def test_two_runs_with_one_lock_go_one_after_the_other() -> None:
    given = basis(
        flow("a", "0 * * * *", locks=("db",)), flow("b", "5 * * * *", locks=("db",)), took_s={"a": 600, "b": 60}
    )
    found = simulate(given, NOON_US + 30 * MINUTE_US, NOON_US + 2 * HOUR_US)
    assert "b of 1:05 at 1:10" in begun(found)


def test_who_waits_for_a_lock_names_it_and_its_holder() -> None:
    given = basis(
        flow("a", "0 * * * *", locks=("db",)), flow("b", "5 * * * *", locks=("db",)), took_s={"a": 600, "b": 60}
    )
    found = simulate(given, NOON_US, NOON_US + 90 * MINUTE_US)
    waits = [(each.place, each.behind[0].workflow) for run in found.runs for each in run.waits]
    assert waits == [("lock db", "a")]


def test_tasks_wait_for_a_full_pool() -> None:
    pooled = [flow(name, "0 * * * *", task("t", pools={"net": 1})) for name in ("a", "b", "c")]
    given = basis(*pooled, took_s={"a": 600, "b": 600, "c": 600}, pools={"net": 2})
    found = simulate(given, NOON_US, NOON_US + 90 * MINUTE_US)
    assert [(each.task, each.place) for run in found.runs for each in run.waits] == [("t", "pool net")]


def test_the_peak_of_a_pool_says_that_it_is_full() -> None:
    pooled = [flow(name, "0 * * * *", task("t", pools={"net": 1})) for name in ("a", "b", "c")]
    found = simulate(basis(*pooled, pools={"net": 2}), NOON_US, NOON_US + 90 * MINUTE_US)
    assert (found.pools["net"].used, found.pools["net"].size) == (2, 2)


def test_a_full_host_makes_tasks_wait() -> None:
    given = basis(*(flow(name, "0 * * * *") for name in "abc"), max_tasks=2)
    found = simulate(given, NOON_US, NOON_US + 90 * MINUTE_US)
    assert (found.tasks.used, [each.place for run in found.runs for each in run.waits]) == (2, ["max_tasks (2)"])


def test_the_peak_names_the_time_when_most_tasks_ran() -> None:
    given = basis(flow("a", "0 * * * *"), flow("b", "15 * * * *", task("x"), task("y")))
    found = simulate(given, NOON_US, NOON_US + 90 * MINUTE_US)
    assert (found.tasks.used, found.tasks.at_us) == (2, NOON_US + 15 * MINUTE_US)


# ---- What follows from what


def test_a_called_workflow_runs_and_its_caller_waits() -> None:
    caller = flow("a", "0 * * * *", Task(name="t", kind=Call(workflow="b")))
    found = simulate(basis(caller, flow("b"), took_s={"b": 600}), NOON_US, NOON_US + 80 * MINUTE_US)
    assert [(run.ref.workflow, run.ended_us) for run in found.runs] == [
        ("a", NOON_US + 70 * MINUTE_US), ("b", NOON_US + 70 * MINUTE_US),
    ]  # fmt: skip


def test_a_run_that_follows_another_begins_when_that_ends() -> None:
    after = Workflow(name="b", tasks=(task("t"),), events=(WorkflowTrigger(name="on", workflow="a"),))
    found = simulate(basis(flow("a", "0 * * * *"), after, took_s={"a": 600}), NOON_US, NOON_US + 80 * MINUTE_US)
    assert "b of 1:10 at 1:10" in begun(found)


def test_a_wait_takes_its_time() -> None:
    waits = flow("a", "0 * * * *", Task(name="t", kind=Wait(for_s=300)))
    found = simulate(basis(waits), NOON_US, NOON_US + 80 * MINUTE_US)
    assert found.runs[0].ended_us == NOON_US + 65 * MINUTE_US


def test_a_known_condition_is_evaluated() -> None:
    maybe = flow("a", "0 * * * *", task("t", condition="params.on"), params=(Param(name="on", default=False),))
    found = simulate(basis(maybe), NOON_US, NOON_US + 80 * MINUTE_US)
    assert found.runs[0].ended_us == found.runs[0].started_us


def test_open_gates_are_assumed() -> None:
    found = simulate(basis(flow("a", "0 * * * *", gates=Gates(path_exists=("/nowhere",)))), NOON_US, NOON_US + HOUR_US)
    assert [run.started_us for run in found.runs] == [NOON_US + HOUR_US]


def test_a_group_of_concurrency_lets_in_as_many_as_it_has_places() -> None:
    shared = flow("a", "*/10 * * * *", concurrency=Concurrency(limit=2), overlap=Overlap.QUEUE)
    found = simulate(basis(shared, took_s={"a": 1500}), NOON_US, NOON_US + 50 * MINUTE_US)
    assert found.live.used == 2


# ---- What is assumed


@pytest.mark.parametrize(
    ("made", "assumed"),
    [
        (task("t", condition="tasks.s.outputs.n > 3"), "an `if` over outputs is true"),
        (task("t", condition="default(tasks.s.outputs.n, 0) > 3"), "an `if` over outputs is true"),
        (task("t", fan_out=FanOut(items="${{ tasks.s.outputs.list }}")), "a fan-out over outputs has as many items"),
        (task("t", repeat=Repeat(max=9, until="tasks.t.outputs.done")), "`repeat` ends after one pass"),
        (Task(name="t", kind=Wait(condition="tasks.s.outputs.n > 3")), "a wait for something unknown"),
    ],
)  # fmt: skip
def test_what_only_a_run_can_tell_is_assumed_and_said(made: Task, assumed: str) -> None:
    given = basis(flow("a", "0 * * * *", task("s"), replace(made, needs=("s",))))
    found = simulate(given, NOON_US, NOON_US + 80 * MINUTE_US)
    assert [run.state for run in found.runs] == [RunState.SUCCEEDED]
    assert [text for text in found.assumptions if text.startswith(assumed)]


def test_an_approval_is_given_after_a_day_where_there_is_no_history() -> None:
    asks = flow("a", "0 12 5 * *", Task(name="t", kind=Approval(message="${{ tasks.t.outputs.x }}")))
    found = simulate(basis(asks), NOON_US, NOON_US + 48 * HOUR_US)
    assert [(run.state, run.ended_us) for run in found.runs] == [(RunState.SUCCEEDED, NOON_US + 25 * HOUR_US)]


def test_a_value_that_nobody_knows_is_a_default_or_something_of_its_type() -> None:
    called = flow("b", params=(Param(name="n", required=True),))
    call = Task(name="t", needs=("s",), kind=Call(workflow="b", arguments={"n": "${{ tasks.s.outputs.n }}"}))
    found = simulate(basis(flow("a", "0 * * * *", task("s"), call), called), NOON_US, NOON_US + 80 * MINUTE_US)
    assert [run.state for run in found.runs] == [RunState.SUCCEEDED, RunState.SUCCEEDED]


def test_without_history_a_task_takes_what_one_says() -> None:
    found = simulate(basis(flow("a", "0 * * * *")), NOON_US, NOON_US + 80 * MINUTE_US, Options(default_s=300))
    assert found.runs[0].ended_us == NOON_US + 65 * MINUTE_US


def test_slow_tasks_take_what_nine_of_ten_keep() -> None:
    given = basis(flow("a", "0 * * * *"), took_s={"a": 60})
    found = simulate(given, NOON_US, NOON_US + 80 * MINUTE_US, Options(slow=True))
    assert found.runs[0].ended_us == NOON_US + 62 * MINUTE_US


def test_no_task_is_taken_to_last_longer_than_it_may() -> None:
    found = simulate(basis(flow("a", "0 * * * *", task("t", timeout_s=10))), NOON_US, NOON_US + 80 * MINUTE_US)
    assert found.runs[0].ended_us == NOON_US + HOUR_US + 10 * US


# ---- The span


def test_a_span_long_from_now_begins_with_what_is_live_then() -> None:
    given = basis(flow("w", "0 * * * *"), took_s={"w": 3000})
    found = simulate(given, NOON_US + 30 * 24 * HOUR_US + 30 * MINUTE_US, NOON_US + 30 * 24 * HOUR_US + 90 * MINUTE_US)
    assert [run.ref.at_us - NOON_US for run in found.runs] == [30 * 24 * HOUR_US, (30 * 24 + 1) * HOUR_US]


def test_an_interval_is_counted_from_where_it_always_was() -> None:
    every = Workflow(name="w", tasks=(task("t"),), triggers=(Schedule(name="schedule", every_s=7 * 3600),))
    found = simulate(basis(every), NOON_US + 30 * 24 * HOUR_US, NOON_US + 31 * 24 * HOUR_US)
    assert {(slot.scheduled_us - NOON_US) % (7 * HOUR_US) for slot in found.slots} == {0}


def test_only_some_workflows_are_told_of_and_all_are_simulated() -> None:
    given = basis(flow("a", "0 * * * *", locks=("db",)), flow("b", "5 * * * *", locks=("db",)), took_s={"a": 600})
    found = simulate(given, NOON_US, NOON_US + 80 * MINUTE_US).of(("b",))
    assert begun(found) == ["b of 0:05 at 0:05", "b of 1:05 at 1:10"]


# ---- What a changed file changes


def changes_of(*workflows: Workflow, new: Workflow, took_s: dict[str, float] | None = None) -> list[str]:
    given = basis(*workflows, took_s=took_s)
    changed = with_definition(given, new, "new.yaml", "new")
    span = NOON_US, NOON_US + 2 * HOUR_US
    return [f"{each.sort} {each.workflow}" for each in compare(simulate(given, *span), simulate(changed, *span))]


def test_the_same_definition_changes_nothing() -> None:
    assert changes_of(flow("a", "0 * * * *"), new=flow("a", "0 * * * *")) == []


def test_another_time_moves_the_slots() -> None:
    assert changes_of(flow("a", "10 * * * *"), new=flow("a", "20 * * * *")) == ["moved a", "moved a"]


def test_a_new_workflow_adds_its_slots() -> None:
    assert changes_of(flow("a", "10 * * * *"), new=flow("b", "30 * * * *")) == ["added b", "added b"]


def test_a_schedule_that_is_taken_away_is_gone() -> None:
    assert changes_of(flow("a", "10 * * * *"), new=flow("a")) == ["gone a", "gone a"]


def test_a_longer_lock_makes_others_begin_later() -> None:
    others = flow("b", "15 * * * *", locks=("db",))
    new = flow("a", "10 * * * *", locks=("db",))
    assert changes_of(flow("a", "10 * * * *"), others, new=new, took_s={"a": 600}) == ["later b", "later b"]


def test_a_run_that_begins_later_says_for_what_it_waits() -> None:
    given = basis(flow("a", "10 * * * *"), flow("b", "15 * * * *", locks=("db",)), took_s={"a": 600})
    changed = with_definition(given, flow("a", "10 * * * *", locks=("db",)), "new.yaml", "new")
    span = NOON_US, NOON_US + HOUR_US
    change = compare(simulate(given, *span), simulate(changed, *span))[0]
    assert change.waiting is not None
    assert (change.sort, change.waiting.place) == (ChangeSort.LATER, "lock db")


def test_a_slot_that_would_be_skipped_is_told() -> None:
    before, after = flow("a", "*/20 * * * *", overlap=Overlap.ALLOW), flow("a", "*/20 * * * *")
    found = changes_of(before, new=after, took_s={"a": 1500})
    assert found == ["newly_skipped a"] * 3


def test_a_trigger_with_the_same_times_goes_on_where_it_was() -> None:
    every = Workflow(name="w", tasks=(task("t"),), triggers=(Schedule(name="schedule", every_s=3600),))
    given = basis(every)
    given.rows["triggers"][0][3] = NOON_US - 10 * MINUTE_US
    changed = with_definition(given, replace(every, description="new"), "w.yaml", "new")
    assert simulate(changed, NOON_US, NOON_US + HOUR_US).slots[0].scheduled_us == NOON_US + 50 * MINUTE_US


def test_a_pause_outlives_a_new_text() -> None:
    given = basis(flow("w", "0 * * * *"), paused=("w",))
    changed = with_definition(given, flow("w", "30 * * * *"), "w.yaml", "new")
    assert {slot.reason for slot in simulate(changed, NOON_US, NOON_US + HOUR_US).slots} == {SlotReason.PAUSED}


def test_rows_of_the_basis_are_left_as_they_were() -> None:
    given = basis(flow("w", "0 * * * *"))
    with_definition(given, flow("w", "30 * * * *"), "w.yaml", "new")
    assert given.rows["workflows"] == [row(flow("w", "0 * * * *"))]


def test_more_slots_than_anybody_can_have_meant_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "SLOTS_MAX", 10)
    with pytest.raises(Refused, match="choose a shorter one"):
        simulate(basis(flow("w", "* * * * *")), NOON_US, NOON_US + HOUR_US)
