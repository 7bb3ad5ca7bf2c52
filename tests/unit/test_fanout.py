"""Fan-out: rules F1 to F4, J5, R7."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd.engine.rerun import taken_over
from pyflowd.engine.state import IllegalEvent, StopAttempt
from pyflowd.events import Expanded, KeptItem, RetryDue, TaskCancelRequested
from pyflowd.model.ends import Given, Stop
from pyflowd.model.states import Reason, RunState, TaskState
from pyflowd.model.workflow import OnEmpty, Retry
from tests.unit.engine_driver import Driver, ended, fan, running, task, workflow

S = TaskState


def test_each_item_runs_under_its_key_and_the_whole_succeeds_when_all_have() -> None:
    driver = running(workflow(fan("f"), task("b", "f")), items={"f": ["x", "y"]})
    assert driver.state("f") is S.RUNNING
    assert driver.ready() == ["f[x]", "f[y]"]
    driver.finish("f[y]")
    assert driver.state("b") is S.WAITING
    driver.finish("f[x]")
    assert (driver.state("f"), driver.state("b")) == (S.SUCCEEDED, S.QUEUED)
    assert [item.name for item in driver.run.tasks["f"].fan.items] == ["f[x]", "f[y]"]  # type: ignore[union-attr]


def test_a_failed_item_stops_no_other_and_makes_the_whole_failed() -> None:
    driver = running(workflow(fan("f"), task("b", "f")), items={"f": ["x", "y", "z"]})
    driver.finish("f[x]", 3)
    assert driver.ready() == ["f[y]", "f[z]"]
    driver.finish("f[y]")
    driver.finish("f[z]")
    node = driver.run.tasks["f"]
    assert (node.state, node.reason) == (S.FAILED, Reason.ITEMS_FAILED)
    assert node.error == "1 of 3 items failed, x: exit code 3"
    assert driver.state("b") is S.UPSTREAM_FAILED


@pytest.mark.parametrize(("fan_out", "state"), [
    ({"max_failures": 1}, S.SUCCEEDED),
    ({"max_failures_percent": 34.0}, S.SUCCEEDED),
    ({"max_failures_percent": 33.0}, S.FAILED),
    ({"max_failures": 0}, S.FAILED),
])  # fmt: skip
def test_the_whole_fails_when_more_items_failed_than_are_allowed(fan_out: dict[str, object], state: TaskState) -> None:
    driver = running(workflow(fan("f", fan_out=fan_out)), items={"f": ["x", "y", "z"]})
    for name in ("f[x]", "f[y]", "f[z]"):
        driver.begin(name)
    driver.end("f[y]", ended(0))
    driver.end("f[z]", ended(0))
    driver.end("f[x]", ended(1))
    assert driver.state("f") is state


def test_max_failures_keeps_further_items_from_starting_and_lets_the_others_end() -> None:
    driver = running(workflow(fan("f", fan_out={"max_failures": 0, "max_parallel": 2})), items={"f": ["x", "y", "z"]})
    driver.begin("f[x]")
    driver.begin("f[y]")
    result = driver.end("f[x]", ended(1))
    assert not [effect for effect in result.effects if isinstance(effect, StopAttempt)]
    assert (driver.state("f[z]"), driver.run.tasks["f[z]"].reason) == (S.CANCELLED, Reason.MAX_FAILURES)
    driver.end("f[y]", ended(0))
    assert driver.state("f") is S.FAILED


def test_fail_fast_also_stops_what_runs() -> None:
    driver = running(workflow(fan("f", fan_out={"fail_fast": True})), items={"f": ["x", "y", "z"]})
    driver.begin("f[x]")
    driver.begin("f[y]")
    result = driver.end("f[x]", ended(1))
    assert [effect.task for effect in result.effects if isinstance(effect, StopAttempt)] == ["f[y]"]
    driver.end("f[y]", ended(None, signal=15))
    assert driver.run.tasks["f[z]"].reason is Reason.FAIL_FAST
    assert driver.run.state is RunState.FAILED


@pytest.mark.parametrize(("on_empty", "state"), [
    (OnEmpty.SKIP, S.SKIPPED), (OnEmpty.SUCCEED, S.SUCCEEDED), (OnEmpty.FAIL, S.FAILED)
])  # fmt: skip
def test_an_empty_list_is_what_on_empty_says(on_empty: OnEmpty, state: TaskState) -> None:
    driver = running(workflow(fan("f", fan_out={"on_empty": on_empty})), items={"f": []})
    assert (driver.state("f"), driver.run.tasks["f"].reason) == (state, Reason.EMPTY)
    assert driver.run.state is (RunState.FAILED if state is S.FAILED else RunState.SUCCEEDED)


def test_no_more_items_are_under_way_than_max_parallel_and_a_back_off_holds_no_place() -> None:
    retry = Retry(attempts=2)
    driver = running(workflow(fan("f", fan_out={"max_parallel": 1}, retry=retry)), items={"f": ["x", "y"]})
    assert driver.ready() == ["f[x]"]
    driver.begin("f[x]")
    assert driver.ready() == []
    driver.end("f[x]", ended(1))
    assert driver.ready() == ["f[y]"]
    driver.begin("f[y]")
    driver.feed(RetryDue("f[x]", 1))
    assert driver.ready() == []
    driver.end("f[y]", ended(0))
    assert driver.ready() == ["f[x]"]
    driver.finish("f[x]")
    assert driver.run.state is RunState.SUCCEEDED


def test_a_condition_that_names_the_item_is_asked_of_each_and_one_that_does_not_once() -> None:
    each = workflow(fan("f", condition="item != 'x'", fan_out={"if_each": True}))
    driver = running(each, items={"f": ["x", "y"]}, holds={"f[x]": False})
    assert (driver.state("f[x]"), driver.state("f[y]")) == (S.SKIPPED, S.QUEUED)
    once = running(workflow(fan("f", condition="params.go")), items={"f": ["x"]}, holds={"f": False})
    assert once.state("f") is S.SKIPPED
    assert "f[x]" not in once.run.tasks


def test_one_item_can_be_withdrawn_and_the_others_end_as_usual() -> None:
    driver = running(workflow(fan("f")), items={"f": ["x", "y"]})
    driver.begin("f[x]")
    result = driver.feed(TaskCancelRequested("f[x]", 1, "me"))
    assert [effect.task for effect in result.effects if isinstance(effect, StopAttempt)] == ["f[x]"]
    driver.end("f[x]", ended(None, signal=15, stop=Stop.REQUEST))
    driver.finish("f[y]")
    assert (driver.state("f"), driver.run.tasks["f"].reason) == (S.CANCELLED, Reason.CANCELLED)
    assert driver.run.state is RunState.FAILED


def test_a_rerun_matches_items_by_their_keys_wherever_they_stand_now() -> None:
    definition = workflow(fan("f"), task("b", "f"))
    driver = running(definition, items={"f": ["x", "y", "z"]})
    driver.finish("f[x]", given=Given(outputs={"n": 1}))
    driver.finish("f[y]", 1)
    driver.finish("f[z]")
    kept = taken_over(driver.run, definition, set(), 5)
    assert kept.items["f"] == [KeptItem("x", "x", S.SUCCEEDED, {"n": 1}), KeptItem("z", "z", S.SUCCEEDED, {})]
    again = Driver(definition, kept)
    again.items = {"f": ["y", "new", "x"]}
    again.start()
    assert again.state("f[x]") is S.SUCCEEDED
    assert again.run.tasks["f[x]"].outputs == {"n": 1}
    assert again.ready() == ["f[y]", "f[new]"]


def test_a_fan_out_whose_failures_were_allowed_does_the_failed_items_again() -> None:
    definition = workflow(fan("f", fan_out={"max_failures": 5}), task("b", "f"))
    driver = running(definition, items={"f": ["x", "y"]})
    driver.finish("f[x]", 1)
    driver.finish("f[y]")
    driver.finish("b")
    assert driver.run.state is RunState.SUCCEEDED
    kept = taken_over(driver.run, definition, set(), 5)
    assert kept.kept == {}
    assert [item.key for item in kept.items["f"]] == ["y"]


def test_items_that_nobody_asked_for_are_an_illegal_event() -> None:
    driver = running(workflow(fan("f")))
    with pytest.raises(IllegalEvent):
        driver.feed(Expanded("f", 1, [("again", 1)]))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([0, 0, 1, 9]), min_size=1, max_size=8),
    st.one_of(st.none(), st.integers(0, 3)), st.integers(1, 9), st.booleans(), st.data(),
)  # fmt: skip
def test_the_aggregate_does_not_depend_on_parallelism_or_order(
    codes: list[int], max_failures: int | None, max_parallel: int, fail_fast: bool, data: st.DataObject
) -> None:
    fan_out = {"max_failures": max_failures, "max_parallel": max_parallel, "fail_fast": fail_fast}
    keys = [f"k{index}" for index in range(len(codes))]
    driver = running(workflow(fan("f", fan_out=fan_out, skip_codes=(9,)), max_parallel=9), items={"f": keys})
    most = 0
    while driver.run.state is RunState.RUNNING:
        live = [node.name for node in driver.run.by_index if node.state is S.RUNNING and node.fan is None]
        most = max(most, len(live))
        moves = [("end", name) for name in live] + [("begin", name) for name in driver.ready()[:1]]
        move, name = data.draw(st.sampled_from(moves))
        if move == "begin":
            driver.begin(name)
        else:
            code = codes[keys.index(name[2:-1])]
            node = driver.run.tasks[name]
            driver.end(name, ended(None, signal=15) if node.stopping else ended(code))
    assert most <= max_parallel
    too_many = codes.count(1) > (max_failures or 0)
    assert driver.run.state is (RunState.FAILED if too_many else RunState.SUCCEEDED)
    if not too_many:
        assert driver.state("f") is (S.SKIPPED if set(codes) == {9} else S.SUCCEEDED)
