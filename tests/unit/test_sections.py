"""Handlers: rules H1 to H4, and what a stop means to them (R3, S7)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd.engine.engine import begin, step
from pyflowd.engine.rerun import taken_over
from pyflowd.engine.state import IllegalEvent, StopAttempt, WatchHandlers
from pyflowd.events import (
    AttemptEnded,
    CancelRequested,
    Event,
    HandlersTimedOut,
    RetryDue,
    RunTimedOut,
    StoredEvent,
    TaskCancelRequested,
)
from pyflowd.model.ends import Given, Stop
from pyflowd.model.states import TASK_TERMINAL, Reason, RunState, Section, TaskState
from pyflowd.model.workflow import Repeat, Retry, UndoAfter, Workflow
from tests.unit.engine_driver import Driver, ended, fan, running, task, workflow

S = TaskState


def full(**more: object) -> Workflow:
    """One task and a handler of each sort."""
    return workflow(
        task("a", undo=task("a.undo")),
        on_success=(task("glad"),),
        on_failure=(task("sad"),),
        on_cancel=(task("stopped"),),
        finally_=(task("last"),),
        **more,
    )


def walk(driver: Driver, codes: dict[str, int] | None = None) -> list[str]:
    """Run whatever is ready, one after the other, until the run has ended; the names in order."""
    seen = []
    while (name := driver.next()) is not None:
        seen.append(name)
        driver.finish(name, (codes or {}).get(name, 0))
    return seen


def test_after_success_come_on_success_and_finally_and_nothing_is_undone() -> None:
    driver = running(full())
    assert walk(driver) == ["a", "glad", "last"]
    assert driver.run.state is RunState.SUCCEEDED


def test_after_failure_come_on_failure_undo_newest_first_and_finally() -> None:
    definition = workflow(
        task("a", undo=task("a.undo")), task("b", "a", undo=task("b.undo")), task("c", "b", undo=task("c.undo")),
        on_success=(task("glad"),), on_failure=(task("sad"),), finally_=(task("last"),),
    )  # fmt: skip
    driver = running(definition)
    assert walk(driver, {"c": 1}) == ["a", "b", "c", "sad", "b.undo", "a.undo", "last"]
    assert (driver.run.state, driver.run.reason) == (RunState.FAILED, Reason.TASK_FAILED)


def test_undo_after_started_takes_back_what_failed_midway_too() -> None:
    definition = workflow(task("a", undo=task("a.undo"), undo_after=UndoAfter.STARTED))
    assert walk(running(definition), {"a": 1}) == ["a", "a.undo"]


def test_each_item_of_a_fan_out_is_undone_newest_first() -> None:
    definition = workflow(fan("f", undo=task("f.undo")), task("b", "f"))
    driver = running(definition, items={"f": ["x", "y"]})
    assert walk(driver, {"b": 1}) == ["f[x]", "f[y]", "b", "f.undo[y]", "f.undo[x]"]
    assert driver.run.tasks["f.undo[x]"].item == driver.run.tasks["f[x]"].item


def test_an_undo_that_fails_keeps_no_other_from_being_tried() -> None:
    definition = workflow(task("a", undo=task("a.undo")), task("b", "a", undo=task("b.undo")), task("c", "b"))
    assert walk(running(definition), {"c": 1, "b.undo": 1}) == ["a", "b", "c", "b.undo", "a.undo"]


def test_after_a_cancel_come_on_cancel_undo_and_finally() -> None:
    driver = running(full())
    driver.begin("a")
    driver.cancel()
    driver.end("a", ended(None, signal=15, stop=Stop.REQUEST))
    assert walk(driver) == ["stopped", "last"]
    assert driver.run.state is RunState.CANCELLED


def test_a_run_that_never_began_has_nothing_to_handle() -> None:
    driver = Driver(full())
    driver.cancel()
    assert driver.run.state is RunState.CANCELLED
    assert walk(driver) == []


def test_after_the_time_of_the_run_has_run_out_its_handlers_run_in_a_time_of_their_own() -> None:
    driver = running(full(timeout_s=5))
    driver.begin("a")
    driver.feed(RunTimedOut(1))
    result = driver.end("a", ended(None, signal=15, stop=Stop.REQUEST))
    assert any(isinstance(effect, WatchHandlers) for effect in result.effects)
    assert walk(driver) == ["sad", "last"]
    assert (driver.run.state, driver.run.reason) == (RunState.FAILED, Reason.TIMEOUT)
    with pytest.raises(IllegalEvent):
        driver.feed(RunTimedOut(1))


def test_handlers_whose_budget_is_used_up_are_stopped_and_the_next_section_goes_on() -> None:
    driver = running(full())
    driver.finish("a", 1)
    driver.begin("sad")
    result = driver.feed(HandlersTimedOut(1))
    assert [effect.task for effect in result.effects if isinstance(effect, StopAttempt)] == ["sad"]
    driver.end("sad", ended(None, signal=15, stop=Stop.REQUEST))
    assert driver.run.tasks["sad"].reason is Reason.TIMEOUT
    assert walk(driver) == ["last"]


def test_a_failing_finally_makes_the_run_failed_unless_it_may_fail() -> None:
    driver = running(full())
    walk(driver, {"last": 1})
    assert (driver.run.state, driver.run.reason) == (RunState.FAILED, Reason.FINALLY_FAILED)
    assert driver.run.error == "last: exit code 1"
    allowed = running(workflow(task("a"), finally_=(task("last", continue_on_error=True),)))
    walk(allowed, {"last": 1})
    assert allowed.run.state is RunState.SUCCEEDED


def test_finally_never_turns_failure_into_success_nor_changes_its_reason() -> None:
    driver = running(full())
    walk(driver, {"a": 1, "last": 1})
    assert (driver.run.state, driver.run.reason, driver.run.error) == (
        RunState.FAILED, Reason.TASK_FAILED, "a: exit code 1",
    )  # fmt: skip


def test_a_failing_on_success_makes_the_run_failed() -> None:
    driver = running(full())
    assert walk(driver, {"glad": 1}) == ["a", "glad", "last"]
    assert (driver.run.state, driver.run.reason) == (RunState.FAILED, Reason.HANDLER_FAILED)


def test_a_cancel_during_handlers_stops_that_section_and_the_later_ones_still_run() -> None:
    driver = running(full())
    driver.finish("a")
    driver.begin("glad")
    driver.cancel()
    driver.end("glad", ended(None, signal=15, stop=Stop.REQUEST))
    assert walk(driver) == ["a.undo", "last"]
    assert driver.run.state is RunState.CANCELLED


def test_a_cancel_while_something_is_undone_lets_it_go_on_and_a_second_one_stops_it() -> None:
    definition = workflow(task("a", undo=task("a.undo")), task("b", "a"), finally_=(task("last"),))
    for cancels, undone in ((1, S.SUCCEEDED), (2, S.CANCELLED)):
        driver = running(definition)
        driver.finish("a")
        driver.finish("b", 1)
        driver.begin("a.undo")
        effects = [effect for _ in range(cancels) for effect in driver.cancel().effects]
        assert [effect.task for effect in effects if isinstance(effect, StopAttempt)] == ["a.undo"] * (cancels - 1)
        driver.end("a.undo", ended() if cancels == 1 else ended(None, signal=9, stop=Stop.REQUEST))
        assert driver.state("a.undo") is undone
        assert walk(driver) == ["last"]
        assert (driver.run.state, driver.run.error) == (RunState.CANCELLED, "b: exit code 1")


def test_handlers_see_the_outcome_and_depend_on_each_other_within_their_section() -> None:
    driver = running(workflow(task("a"), finally_=(task("x"), task("y", "x"), task("z", "y"))))
    driver.finish("a", 1)
    assert driver.run.outcome is RunState.FAILED
    assert walk(driver, {"x": 1}) == ["x"]
    assert driver.state("y") is S.UPSTREAM_FAILED


def test_on_error_tasks_run_before_the_children_are_told() -> None:
    handled = task("a", continue_on_error=True, on_error=(task("h1"), task("h2", "h1")))
    driver = running(workflow(handled, task("b", "a"), on_failure=(task("sad"),)))
    driver.finish("a", 1)
    assert driver.state("b") is S.WAITING
    assert walk(driver) == ["h1", "h2", "b"]
    assert driver.run.state is RunState.SUCCEEDED


def test_on_error_hands_on_to_on_failure_unless_the_task_may_fail() -> None:
    driver = running(workflow(task("a", on_error=(task("h"),)), task("b", "a"), on_failure=(task("sad"),)))
    assert walk(driver, {"a": 1}) == ["a", "h", "sad"]
    assert driver.state("b") is S.UPSTREAM_FAILED


def test_on_error_comes_after_the_last_retry_and_once_for_a_fan_out() -> None:
    retried = task("a", retry=Retry(attempts=2), on_error=(task("h"),))
    driver = running(workflow(retried))
    driver.finish("a", 1)
    assert driver.next() is None
    driver.feed(RetryDue("a", 1))
    assert walk(driver, {"a": 1}) == ["a", "h"]
    fanned = running(workflow(fan("f", on_error=(task("h"),))), items={"f": ["x", "y"]})
    assert walk(fanned, {"f[x]": 1, "f[y]": 1}) == ["f[x]", "f[y]", "h"]


def test_a_cancel_stops_the_items_of_an_on_error_task_and_one_of_them_can_be_withdrawn() -> None:
    definition = workflow(task("a", on_error=(fan("h"),)), finally_=(task("last"),))
    for stop in (CancelRequested(1, "me"), TaskCancelRequested("h", 1, "me"), TaskCancelRequested("h[x]", 1, "me")):
        driver = running(definition, items={"h": ["x", "y"]})
        driver.finish("a", 1)
        driver.begin("h[x]")
        result = driver.feed(stop)
        assert [effect.task for effect in result.effects if isinstance(effect, StopAttempt)] == ["h[x]"]
        driver.end("h[x]", ended(None, signal=15, stop=Stop.REQUEST))
        assert driver.state("h[x]") is S.CANCELLED
        assert walk(driver) == (["h[y]", "last"] if stop == TaskCancelRequested("h[x]", 1, "me") else ["last"])


def test_a_task_without_an_error_leaves_its_on_error_tasks_alone() -> None:
    driver = running(workflow(task("a", on_error=(task("h"),))))
    assert walk(driver) == ["a"]
    assert driver.state("h") is S.WAITING
    assert driver.run.state is RunState.SUCCEEDED


def test_what_was_undone_is_done_again_by_a_rerun_of_what_failed() -> None:
    definition = workflow(task("a", undo=task("a.undo")), task("b", "a"), task("c"))
    driver = running(definition)
    walk(driver, {"b": 1})
    assert taken_over(driver.run, definition, set(), 1).kept == {"c": S.SUCCEEDED}


def test_repeat_makes_passes_until_it_holds_and_fails_when_they_are_used_up() -> None:
    definition = workflow(task("a", repeat=Repeat(max=3, until="x", delay_s=2.0)))
    driver = running(definition, again={"a": [True, False]})
    driver.finish("a")
    assert driver.state("a") is S.RETRYING
    driver.feed(RetryDue("a", 1))
    driver.finish("a")
    assert (driver.state("a"), driver.run.tasks["a"].attempts) == (S.SUCCEEDED, 2)
    never = running(definition, again={"a": [True, True, True]})
    for _ in range(3):
        never.finish("a")
        if never.state("a") is S.RETRYING:
            never.feed(RetryDue("a", 1))
    assert (never.state("a"), never.run.tasks["a"].reason) == (S.FAILED, Reason.REPEAT_EXHAUSTED)


def test_a_pass_that_ended_well_while_its_task_was_being_stopped_is_the_last() -> None:
    driver = running(workflow(task("a", repeat=Repeat(max=9, until="x"))), again={"a": [True]})
    driver.begin("a")
    driver.feed(TaskCancelRequested("a", 1, "me"))
    driver.end("a", ended(0))
    assert driver.state("a") is S.SUCCEEDED
    assert driver.run.state is RunState.SUCCEEDED


def test_an_expression_without_a_value_fails_its_task_and_is_not_retried() -> None:
    driver = running(workflow(task("a", condition="params.x", retry=Retry(attempts=5))), holds={"a": "no param x"})
    node = driver.run.tasks["a"]
    assert (node.state, node.reason, node.error) == (S.FAILED, Reason.EXPRESSION_ERROR, "if: no param x")


def test_outputs_of_the_run_are_asked_for_when_its_tasks_have_succeeded_and_only_then() -> None:
    driver = running(workflow(task("a"), outputs={"result": "${{ 1 }}"}, on_success=(task("glad"),)))
    assert walk(driver) == ["a", "glad"]
    assert driver.run.outputs == {"result": 1}
    failed = running(workflow(task("a"), outputs={"result": "${{ 1 }}"}))
    walk(failed, {"a": 1})
    assert failed.run.outputs is None


def test_a_success_whose_outputs_are_not_as_declared_is_a_failure() -> None:
    driver = running(workflow(task("a")))
    driver.finish("a", 0, Given(error="it did not give digest"))
    node = driver.run.tasks["a"]
    assert (node.state, node.reason, node.error) == (S.FAILED, Reason.OUTPUT_INVALID, "it did not give digest")


# ---- Properties -----------------------------------------------------------------------------------------------------


@st.composite
def definitions(draw: st.DrawFn) -> Workflow:
    def tasks(prefix: str, most: int, *, main: bool) -> list[object]:
        found = []
        for index in range(draw(st.integers(1 if main else 0, most))):
            parents = draw(st.lists(st.integers(0, index - 1), max_size=2, unique=True)) if index else []
            name = f"{prefix}{index}"
            more: dict[str, object] = {"continue_on_error": draw(st.booleans())}
            if draw(st.booleans()):
                more["condition"] = "x"
            if main and draw(st.booleans()):
                more |= {"undo": task(f"{name}.undo"), "undo_after": draw(st.sampled_from(list(UndoAfter)))}
            if main and draw(st.integers(0, 3)) == 0:
                make = fan if draw(st.booleans()) else task
                more["on_error"] = (make(f"{name}-err"),)
            if draw(st.integers(0, 4)) == 0:
                more["repeat"] = Repeat(max=2, until="x")
            make = fan if draw(st.integers(0, 3)) == 0 else task
            found.append(make(name, *(f"{prefix}{parent}" for parent in parents), **more))
        return found

    return workflow(
        *tasks("t", 5, main=True),  # type: ignore[arg-type]
        on_success=tuple(tasks("s", 2, main=False)),
        on_failure=tuple(tasks("f", 2, main=False)),
        on_cancel=tuple(tasks("c", 2, main=False)),
        finally_=tuple(tasks("z", 2, main=False)),
        outputs={"x": 1} if draw(st.booleans()) else {},
        max_parallel=draw(st.integers(1, 3)),
    )


ORDER = {Section.TASKS: 0, Section.ON_SUCCESS: 1, Section.ON_FAILURE: 1, Section.ON_CANCEL: 1, Section.UNDO: 2,
         Section.FINALLY: 3}  # fmt: skip


def play(driver: Driver, data: st.DataObject) -> None:
    run = driver.run
    names = [node.name for node in run.by_index]
    driver.holds = {name: data.draw(st.sampled_from([True, True, False, "error"])) for name in names}
    driver.again = {name: [data.draw(st.booleans())] for name in names}
    driver.items = {name: data.draw(st.sampled_from([[], ["a"], ["a", "b", "c"]])) for name in names}
    driver.start()
    stops, reached = 0, 0
    while run.state is RunState.RUNNING:
        driver.now_us += 1
        live = [node.name for node in run.by_index if node.state is S.RUNNING and node.fan is None]
        moves = [("end", name) for name in live]
        moves += [("wake", node.name) for node in run.by_index if node.state is S.RETRYING]
        ready = driver.next()
        moves += [("begin", ready)] if ready else []
        moves += [("stop", "")] if stops < 2 and data.draw(st.integers(0, 9)) == 0 else []
        assert moves, "the run is stuck"
        move, name = data.draw(st.sampled_from(moves))
        if move == "begin":
            place = ORDER[run.tasks[name].home]
            assert place >= reached, "a section began before the one before it had ended"
            reached = place
            assert not run.stopping, "something began in a section that is being stopped"
            driver.begin(name)
        elif move == "wake":
            driver.feed(RetryDue(name, driver.now_us))
        elif move == "end":
            stopping = run.stopping or run.tasks[name].stopping
            driver.end(name, ended(None, signal=15, stop=Stop.REQUEST) if stopping else ended(data.draw(CODES)))
        else:
            stops += 1
            driver.feed(_stop(driver, data))


CODES = st.sampled_from([0, 0, 0, 1])


def _stop(driver: Driver, data: st.DataObject) -> Event:
    run = driver.run
    if run.stopping or data.draw(st.booleans()):
        return CancelRequested(driver.now_us, "me")
    return RunTimedOut(driver.now_us) if run.section is Section.TASKS else HandlersTimedOut(driver.now_us)


@settings(max_examples=400, deadline=None)
@given(definitions(), st.data())
def test_whatever_happens_the_run_ends_with_its_sections_in_order_and_its_counts_right(
    definition: Workflow, data: st.DataObject
) -> None:
    driver = Driver(definition)
    play(driver, data)
    run = driver.run
    assert run.open == run.active == run.held == 0
    assert run.section is Section.FINALLY
    begun = {node.home for node in run.by_index if node.attempts}
    assert len(begun & {Section.ON_SUCCESS, Section.ON_FAILURE, Section.ON_CANCEL}) <= 1
    for node in run.by_index:
        if node.home in (Section.TASKS, Section.UNDO, Section.FINALLY) and node.section is not Section.ON_ERROR:
            assert node.state in TASK_TERMINAL, node.name
    if run.state is RunState.SUCCEEDED:
        assert Section.UNDO not in begun
        assert run.first_bad is None


@settings(max_examples=200, deadline=None)
@given(definitions(), st.data())
def test_such_a_run_too_is_the_fold_of_its_stored_events(definition: Workflow, data: st.DataObject) -> None:
    driver = Driver(definition)
    play(driver, data)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(driver.fed), type=list[StoredEvent])
    again = begin(1, definition, driver.created)
    for event in stored:
        assert isinstance(event, Event)
        step(again, event)
    assert [(node.name, node.index, node.state, node.reason, node.error, node.outputs) for node in again.by_index] == [
        (node.name, node.index, node.state, node.reason, node.error, node.outputs) for node in driver.run.by_index
    ]
    assert (again.state, again.reason, again.outputs, again.section) == (
        driver.run.state, driver.run.reason, driver.run.outputs, driver.run.section,
    )  # fmt: skip
    assert any(isinstance(event, AttemptEnded) for event in stored) or not driver.run.by_index[0].attempts
