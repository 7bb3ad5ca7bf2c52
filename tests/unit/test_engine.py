"""The engine over random DAGs with random outcomes in random order, and its rules one by one."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd.engine.engine import begin, step
from pyflowd.engine.rerun import taken_over
from pyflowd.engine.retry import SHORTAGE_TRIES
from pyflowd.engine.state import MOVES, IllegalEvent, Run, StopAttempt, TaskRun, WakeTask, counts_as_ok
from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    CancelRequested,
    Event,
    RetryDue,
    RunCreated,
    RunStarted,
    RunTimedOut,
    StoredEvent,
)
from pyflowd.model.ends import HostRestarted, LostAttempt, StartFailure, Stop
from pyflowd.model.kinds import Reboot
from pyflowd.model.states import TASK_TERMINAL, AttemptState, Lost, Reason, RunState, TaskState
from pyflowd.model.workflow import Jitter, OnLost, Retry, TriggerRule, Workflow
from tests.unit.engine_driver import Driver, ended, running, task, workflow

S = TaskState


# ---- Properties -----------------------------------------------------------------------------------------------------

ENDS = st.one_of(
    st.sampled_from([0, 0, 0, 0, 1, 7, 99, 126]).map(lambda code: ended(code)),
    st.just(ended(signal=9)),
    st.just(ended(stop=Stop.TIMEOUT)),
    st.just(LostAttempt(why=Lost.KEEPER_LOST, at_us=1)),
    st.just(ended(signal=15, stop=Stop.SHUTDOWN)),
    st.just(HostRestarted(boot_before="1", boot_after="2", booted_us=1, at_us=2)),
    st.just(StartFailure(step="exec", errno=2, message="no such file", at_us=1)),
    st.just(StartFailure(step="exec", errno=11, message="no process to be had", at_us=1, shortage=True)),
)


@st.composite
def dags(draw: st.DrawFn) -> Workflow:
    size = draw(st.integers(1, 12))
    tasks = []
    for index in range(size):
        parents = draw(st.lists(st.integers(0, index - 1), max_size=4, unique=True)) if index else []
        tasks.append(
            task(
                f"t{index}",
                *(f"t{parent}" for parent in parents),
                trigger_rule=draw(st.sampled_from(list(TriggerRule))),
                continue_on_error=draw(st.booleans()),
                skip_codes=(99,),
                retry=Retry(attempts=draw(st.integers(1, 3)), on_lost=draw(st.sampled_from(list(OnLost))), delay_s=1.0),
            )
        )
    order = draw(st.permutations(tasks))
    return workflow(*order, max_parallel=draw(st.integers(1, 4)))


def play(driver: Driver, data: st.DataObject) -> None:
    """Run to the end with random outcomes in a random order, checking what must hold at every step."""
    run, lost = driver.run, 0
    driver.start()
    while run.state is RunState.RUNNING:
        driver.now_us += 1_000_000
        moves = [("end", name) for name, one in run.tasks.items() if one.state is S.RUNNING]
        moves += [("wake", name) for name, one in run.tasks.items() if one.state is S.RETRYING]
        ready = run.next_ready(host_has_place=True)
        if ready:
            moves.append(("begin", ready.name))
        assert moves, "the run is stuck"
        move, name = data.draw(st.sampled_from(moves))
        match move:
            case "begin":
                driver.begin(name)
            case "wake":
                driver.feed(RetryDue(name, driver.now_us))
            case "end":
                end = data.draw(ENDS)
                if isinstance(end, LostAttempt):
                    lost += 1
                    end = end if lost < 5 else ended(0)
                driver.end(name, end)
        check_invariants(run)


def check_invariants(run: Run) -> None:
    assert run.active == sum(one.state is S.RUNNING for one in run.tasks.values())
    assert run.active <= run.workflow.max_parallel
    assert run.open == sum(one.state not in TASK_TERMINAL for one in run.tasks.values())
    for one in run.tasks.values():
        if one.attempts:
            parents = [run.tasks[need] for need in one.definition.needs]
            assert all(parent.state in TASK_TERMINAL for parent in parents), "started before a parent had ended"


@settings(max_examples=300, deadline=None)
@given(dags(), st.data())
def test_every_run_ends_and_keeps_the_rules_whatever_happens_in_whatever_order(
    definition: Workflow, data: st.DataObject
) -> None:
    driver = Driver(definition)
    play(driver, data)
    run = driver.run
    assert all(one.state in TASK_TERMINAL for one in run.tasks.values())
    bad = [one for one in run.tasks.values() if not counts_as_ok(one) and one.state is not S.SKIPPED]
    assert run.state is (RunState.FAILED if bad else RunState.SUCCEEDED)
    for one in run.tasks.values():
        assert one.tried <= one.definition.retry.attempts
        expect_join(run, one)


def expect_join(run: Run, one: TaskRun) -> None:
    """An oracle of rules J1 to J3, written as they are worded, not as they are counted."""
    parents = [run.tasks[need] for need in one.definition.needs]
    ok = [parent for parent in parents if counts_as_ok(parent)]
    skipped = [parent for parent in parents if parent.state is S.SKIPPED]
    bad = [parent for parent in parents if parent not in ok and parent not in skipped]
    eligible = {
        TriggerRule.ALL_OK: not bad and bool(ok),
        TriggerRule.ALL_SUCCESS: len(ok) == len(parents),
        TriggerRule.NONE_FAILED: not bad,
        TriggerRule.ANY_SUCCESS: bool(ok),
        TriggerRule.ANY_FAILED: bool(bad),
        TriggerRule.ALL_DONE: True,
    }[one.definition.trigger_rule]
    if not parents:
        eligible = True
    assert bool(one.attempts) == eligible
    if not eligible:
        blocked = bool(bad) and one.definition.trigger_rule is not TriggerRule.ANY_FAILED
        assert one.state is (S.UPSTREAM_FAILED if blocked else S.SKIPPED)


@settings(max_examples=150, deadline=None)
@given(dags(), st.data())
def test_a_run_is_the_fold_of_its_stored_events(definition: Workflow, data: st.DataObject) -> None:
    driver = Driver(definition)
    play(driver, data)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(driver.fed), type=list[StoredEvent])
    again = begin(1, definition, driver.created)
    for event in stored:
        assert isinstance(event, Event)
        step(again, event)
    assert snapshot(again) == snapshot(driver.run)


@settings(max_examples=150, deadline=None)
@given(dags(), st.data(), st.sampled_from(["cancel", "time_out"]))
def test_a_stopped_run_starts_nothing_more_and_ends(definition: Workflow, data: st.DataObject, how: str) -> None:
    driver = Driver(definition)
    driver.start()
    run = driver.run
    for _ in range(data.draw(st.integers(0, 10))):
        ready = run.next_ready(host_has_place=True)
        if ready is None or run.state is not RunState.RUNNING:
            break
        driver.begin(ready.name)
        if data.draw(st.booleans()):
            driver.end(ready.name, data.draw(ENDS))
    if run.state is not RunState.RUNNING:
        return
    stopped = driver.feed(CancelRequested(1, "me") if how == "cancel" else RunTimedOut(1))
    live = {one.name for one in run.tasks.values() if one.state is S.RUNNING}
    assert {effect.task for effect in stopped.effects if isinstance(effect, StopAttempt)} == live
    assert run.next_ready(host_has_place=True) is None
    for name in sorted(live):
        driver.end(name, data.draw(ENDS))
        assert run.next_ready(host_has_place=True) is None
    assert run.state is (RunState.CANCELLED if how == "cancel" else RunState.FAILED)
    assert run.reason is (Reason.CANCELLED if how == "cancel" else Reason.TIMEOUT)


def snapshot(run: Run) -> object:
    return run.state, run.reason, run.error, [
        (one.name, one.state, one.reason, one.error, one.attempts, one.tried, one.retry_us)
        for one in run.tasks.values()
    ]  # fmt: skip


ILLEGAL: list[Event] = [
    RunStarted(1, 1),
    RunCreated(1),
    AttemptStarting("b", 1, 1, 1, "k"),
    AttemptStarting("a", 2, 1, 1, "k"),
    AttemptStarting("nobody", 1, 1, 1, "k"),
    AttemptRunning("b", 1, 7, 1),
    AttemptRunning("a", 2, 7, 1),
    AttemptEnded("b", 1, 1, 1, ended()),
    AttemptEnded("a", 2, 1, 1, ended()),
    RetryDue("a", 1),
]


@pytest.mark.parametrize("event", ILLEGAL, ids=lambda event: type(event).__name__)
def test_an_illegal_event_raises_and_changes_nothing(event: Event) -> None:
    driver = running(workflow(task("a"), task("b", "a")))
    driver.begin("a")
    before = copy.deepcopy(snapshot(driver.run))
    with pytest.raises(IllegalEvent):
        step(driver.run, event)
    assert snapshot(driver.run) == before
    check_invariants(driver.run)


def test_nothing_is_legal_after_the_end() -> None:
    driver = running(workflow(task("a")))
    driver.finish("a")
    for event in (*ILLEGAL, CancelRequested(1, "me"), RunTimedOut(1)):
        with pytest.raises(IllegalEvent):
            step(driver.run, event)


# ---- Single rules ---------------------------------------------------------------------------------------------------


def test_a_failed_task_makes_the_run_failed_and_says_which_and_why() -> None:
    driver = running(workflow(task("a"), task("b", "a")))
    driver.finish("a", 7)
    assert (driver.run.state, driver.run.reason) == (RunState.FAILED, Reason.TASK_FAILED)
    assert driver.run.error == "a: exit code 7"
    assert driver.state("b") is S.UPSTREAM_FAILED


def test_continue_on_error_changes_the_effect_and_not_the_state() -> None:
    driver = running(workflow(task("a", continue_on_error=True), task("b", "a")))
    driver.finish("a", 1)
    assert driver.state("a") is S.FAILED
    driver.finish("b")
    assert driver.run.state is RunState.SUCCEEDED


def test_a_run_whose_tasks_were_all_skipped_has_succeeded() -> None:
    driver = running(workflow(task("a", skip_codes=(3,)), task("b", "a")))
    driver.finish("a", 3)
    assert (driver.state("a"), driver.state("b")) == (S.SKIPPED, S.SKIPPED)
    assert driver.run.state is RunState.SUCCEEDED


def test_success_codes_add_to_zero() -> None:
    driver = running(workflow(task("a", success_codes=(5,))))
    driver.finish("a", 5)
    assert driver.state("a") is S.SUCCEEDED


def test_a_signal_is_kept_as_a_signal() -> None:
    driver = running(workflow(task("a")))
    driver.begin("a")
    driver.end("a", ended(signal=15))
    outcome = driver.run.tasks["a"].attempt.outcome  # type: ignore[union-attr]
    assert outcome == (AttemptState.FAILED, Reason.SIGNAL, "signal 15", None, 15)


def test_the_wait_before_an_attempt_is_the_formula_of_rule_r2() -> None:
    retry = Retry(attempts=4, delay_s=2, factor=3, max_delay_s=10)
    driver = running(workflow(task("a", retry=retry)))
    delays = []
    for random in (0.5, 1.0, 1.0):
        driver.begin("a")
        (wake,) = driver.end("a", ended(1), random).effects
        assert isinstance(wake, WakeTask)
        delays.append(wake.delay_s)
        driver.feed(RetryDue("a", 0))
    assert delays == [1.0, 6.0, 10.0]
    driver.finish("a", 1)
    assert driver.run.state is RunState.FAILED


def test_a_task_that_waits_for_its_back_off_holds_no_place() -> None:
    retry = Retry(attempts=2, jitter=Jitter.NONE)
    driver = running(workflow(task("a", retry=retry), task("b"), max_parallel=1))
    driver.finish("a", 1)
    assert driver.state("a") is S.RETRYING
    assert driver.run.next_ready(host_has_place=True) is driver.run.tasks["b"]


@pytest.mark.parametrize("code", [126, 127])
def test_a_program_that_is_missing_is_not_tried_again_unless_asked_for(code: int) -> None:
    driver = running(workflow(task("a", retry=Retry(attempts=3)), task("b", retry=Retry(attempts=3, on_exit=(code,)))))
    driver.finish("a", code)
    driver.finish("b", code)
    assert (driver.state("a"), driver.state("b")) == (S.FAILED, S.RETRYING)


def test_max_elapsed_ends_the_retries() -> None:
    retry = Retry(attempts=9, delay_s=10, jitter=Jitter.NONE, max_elapsed_s=15)
    driver = running(workflow(task("a", retry=retry)))
    driver.begin("a")
    driver.now_us = 6_000_000
    driver.end("a", ended(1))
    assert driver.state("a") is S.FAILED


def test_a_start_for_which_the_host_was_short_of_something_is_tried_again_and_counts_for_nothing() -> None:
    """The nightly backup does not fail because there was no process to be had for a second; it does after minutes."""
    short = StartFailure(step="fork", errno=11, message="try again", at_us=1, shortage=True)
    driver = running(workflow(task("a", retry=Retry(attempts=1))))
    delays_s = []
    for _ in range(SHORTAGE_TRIES - 1):
        driver.begin("a")
        driver.end("a", short, random=0.0)
        found = driver.run.tasks["a"]
        assert (found.state, found.tried) == (S.RETRYING, 0)
        assert found.retry_us is not None
        delays_s.append((found.retry_us - driver.now_us) / 1_000_000)
        driver.feed(RetryDue("a", driver.now_us))
    assert delays_s[:3] == [0.125, 0.25, 0.5]
    assert 30 < sum(delays_s) < 120
    driver.begin("a")
    driver.end("a", short)
    assert (driver.state("a"), driver.run.tasks["a"].reason) == (S.FAILED, Reason.START_FAILED)


def test_a_start_after_a_shortage_is_the_first_that_counts() -> None:
    short = StartFailure(step="fork", errno=11, message="try again", at_us=1, shortage=True)
    driver = running(workflow(task("a")))
    driver.begin("a")
    driver.end("a", short)
    driver.feed(RetryDue("a", driver.now_us))
    driver.begin("a")
    driver.end("a", ended(0))
    assert (driver.state("a"), driver.run.tasks["a"].tried, driver.run.tasks["a"].short) == (S.SUCCEEDED, 1, 0)


def test_a_lost_attempt_fails_its_task_and_is_started_again_only_where_the_task_says_so() -> None:
    again = Retry(on_lost=OnLost.RETRY)
    driver = running(workflow(task("a"), task("b", retry=again)))
    for name in ("a", "b"):
        driver.begin(name)
        driver.end(name, LostAttempt(why=Lost.HOST_RESTARTED, at_us=1))
    assert (driver.state("a"), driver.run.tasks["a"].reason) == (S.FAILED, Reason.LOST)
    assert driver.state("b") is S.QUEUED
    driver.finish("b")
    assert driver.run.tasks["b"].attempts == 2
    assert driver.run.tasks["b"].tried == 1, "a lost attempt uses up no retry"


def test_a_second_cancel_kills_at_once() -> None:
    driver = running(workflow(task("a", kill_grace_s=30.0)))
    driver.begin("a")
    assert driver.feed(CancelRequested(1, "me")).effects == [StopAttempt("a", 1, 30.0)]
    assert driver.feed(CancelRequested(2, "me")).effects == [StopAttempt("a", 1, 0.0)]


def test_a_queued_run_can_be_cancelled_before_it_starts() -> None:
    driver = Driver(workflow(task("a")))
    driver.feed(CancelRequested(1, "me"))
    assert (driver.run.state, driver.state("a")) == (RunState.CANCELLED, S.CANCELLED)


def test_a_task_that_ended_by_itself_while_a_cancel_was_under_way_keeps_its_true_end() -> None:
    driver = running(workflow(task("a")))
    driver.begin("a")
    driver.feed(CancelRequested(1, "me"))
    driver.end("a", ended(0))
    assert (driver.state("a"), driver.run.state) == (S.SUCCEEDED, RunState.CANCELLED)


def test_kept_tasks_count_for_their_children_and_are_not_started() -> None:
    driver = Driver(workflow(task("a"), task("b", "a")), RunCreated(0, {"a": S.SUCCEEDED}, {"a": {"n": 1}}))
    driver.start()
    assert driver.run.tasks["a"].outputs == {"n": 1}
    assert (driver.state("a"), driver.run.tasks["a"].reason) == (S.SUCCEEDED, Reason.KEPT)
    driver.finish("b")
    assert driver.run.state is RunState.SUCCEEDED


def test_a_rerun_keeps_what_succeeded_and_does_what_is_below_a_failure_again() -> None:
    definition = workflow(task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c"))
    driver = running(definition)
    for name, code in (("a", 0), ("b", 1), ("c", 0)):
        driver.finish(name, code)
    assert taken_over(driver.run, definition, set(), 1).kept == {"a": S.SUCCEEDED, "c": S.SUCCEEDED}
    assert taken_over(driver.run, definition, {"c"}, 1).kept == {"a": S.SUCCEEDED}


def test_a_long_chain_that_falls_needs_no_recursion() -> None:
    tasks = [task("t0"), *(task(f"t{n}", f"t{n - 1}") for n in range(1, 20_000))]
    driver = running(workflow(*tasks))
    driver.finish("t0", 1)
    assert driver.state("t19999") is S.UPSTREAM_FAILED


def test_every_move_of_the_table_leads_out_of_a_state_that_is_not_terminal() -> None:
    for name, moves in MOVES.items():
        assert not TASK_TERMINAL & moves.keys(), name


# ---- The host goes down ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [ended(0, stop=Stop.SHUTDOWN), ended(signal=15, stop=Stop.SHUTDOWN)])
def test_what_the_keepers_own_end_stopped_is_lost_whatever_its_status(end: object) -> None:
    driver = running(workflow(task("a", retry=Retry(attempts=3, delay_s=1.0))))
    driver.begin("a")
    driver.end("a", end)
    a = driver.run.tasks["a"]
    assert a.attempt is not None
    assert a.attempt.outcome is not None
    assert (a.state, a.attempt.state, a.attempt.outcome.reason) == (S.FAILED, AttemptState.UNKNOWN, Reason.LOST)
    assert (a.attempt.outcome.exit_code, a.attempt.outcome.signal) in ((0, None), (None, 15))
    assert a.tried == 0


def test_what_the_keepers_own_end_stopped_is_run_again_where_the_task_says_so() -> None:
    driver = running(workflow(task("a", retry=Retry(on_lost=OnLost.RETRY))))
    driver.begin("a")
    driver.end("a", ended(signal=15, stop=Stop.SHUTDOWN))
    assert driver.state("a") is S.QUEUED


def test_a_host_that_is_up_again_is_a_success_with_its_facts() -> None:
    driver = running(workflow(task("a", kind=Reboot()), task("b", "a")))
    driver.feed(AttemptStarting("a", 1, 5, 5, "k", "boot-1"))
    assert driver.run.tasks["a"].attempt.boot_id == "boot-1"  # type: ignore[union-attr]
    driver.end("a", HostRestarted(boot_before="boot-1", boot_after="boot-2", booted_us=60_000_000, at_us=61_000_000))
    assert (driver.state("a"), driver.state("b")) == (S.SUCCEEDED, S.QUEUED)
    assert driver.run.tasks["a"].facts == {
        "boot_before": "boot-1", "boot_after": "boot-2", "booted_at": "1970-01-01T00:01:00+00:00",
    }  # fmt: skip
