"""Events of runs and tasks that are held back: gates, refusals; the engine's part of places."""

from __future__ import annotations

import pytest

from pyflowd.engine.overlap import Enqueue, RefuseFull, RunRef, Skip, Start, decide
from pyflowd.engine.state import IllegalEvent
from pyflowd.events import GateClosed, RunRefused, RunStarted, TaskRefused
from pyflowd.model.states import Reason, RunState, SlotReason, TaskState
from pyflowd.model.workflow import Overlap
from tests.unit.engine_driver import Driver, running, task, workflow

REFUSED = RunRefused(5, 5, Reason.GATE_CLOSED, "gate closed: no disk")


def test_a_refused_run_starts_none_of_its_tasks_and_goes_to_its_handlers() -> None:
    driver = Driver(workflow(task("a"), task("b", "a"), on_failure=(task("tell"),), finally_=(task("last"),)))
    driver.feed(GateClosed(1, "no disk"))
    driver.feed(REFUSED)
    assert [driver.state(name) for name in ("a", "b")] == [TaskState.CANCELLED] * 2
    driver.finish("tell")
    driver.finish("last")
    run = driver.run
    assert (run.state, run.reason, run.error) == (RunState.FAILED, Reason.GATE_CLOSED, "gate closed: no disk")


def test_the_first_time_that_a_gate_was_closed_is_kept_and_the_newest_reason() -> None:
    driver = Driver(workflow(task("a")))
    driver.feed(GateClosed(1, "no disk"))
    driver.feed(GateClosed(9, "no unit"))
    assert (driver.run.gate_us, driver.run.gate, driver.run.state) == (1, "no unit", RunState.QUEUED)
    driver.feed(RunStarted(10, 10))
    assert driver.run.gate == ""


@pytest.mark.parametrize("event", [GateClosed(1, "x"), REFUSED])
def test_a_run_under_way_is_past_its_gates(event: GateClosed | RunRefused) -> None:
    driver = running(workflow(task("a")))
    with pytest.raises(IllegalEvent):
        driver.feed(event)


def test_a_task_that_gets_no_place_fails_and_its_children_with_it() -> None:
    driver = running(workflow(task("a", locks=("x",)), task("b", "a")))
    driver.feed(TaskRefused("a", 1, Reason.DEADLOCK, "it waits for itself"))
    assert driver.run.state is RunState.FAILED
    assert (driver.run.tasks["a"].reason, driver.state("b")) == (Reason.DEADLOCK, TaskState.UPSTREAM_FAILED)


def test_a_task_that_takes_shared_places_stands_in_no_queue_of_its_run() -> None:
    driver = running(workflow(task("a", pools={"p": 1}), task("b")))
    assert driver.state("a") is TaskState.QUEUED
    assert driver.ready() == ["b"]


def test_ready_tasks_come_by_priority_and_then_in_the_order_of_the_file() -> None:
    driver = running(workflow(task("a", priority=-1), task("b"), task("c", priority=7), task("d")))
    assert driver.ready() == ["c", "b", "d", "a"]


# ---- The overlap rule with a limit ----------------------------------------------------------------------------------


def live(count: int, *, queued: int = 0) -> list[RunRef]:
    return [RunRef(id=n, state=RunState.QUEUED if n >= count - queued else RunState.RUNNING) for n in range(count)]


def test_as_many_may_be_live_as_the_limit_says() -> None:
    assert decide(None, True, live(2), 100, limit=3) == Start()
    assert decide(None, True, live(3), 100, limit=3) == Skip(reason=SlotReason.OVERLAP, because_of_run=0)
    assert decide(None, False, live(3), 100, limit=3) == Enqueue()


def test_runs_that_wait_for_places_are_bounded_though_they_may_overlap() -> None:
    waiting = live(3, queued=2)
    assert decide(Overlap.ALLOW, False, waiting, 2, may_wait=True) == RefuseFull(queued=2)
    assert decide(Overlap.ALLOW, True, waiting, 2, may_wait=True) == Skip(
        reason=SlotReason.QUEUE_FULL, because_of_run=0
    )
    assert decide(Overlap.ALLOW, False, waiting, 2) == Start()
