"""Earlier successes that are used again: what the engine makes of them, what counts as the same, what is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.clock import US
from pyflowd.engine import engine
from pyflowd.engine.state import Decide, Keep, Question, Run
from pyflowd.events import CacheDecided, Event, RunCreated, StoredEvent
from pyflowd.model.ends import Given, KeptFile
from pyflowd.model.kinds import Argv, Call, Shell
from pyflowd.model.states import Reason, RunState, TaskState
from pyflowd.model.workflow import (
    Artifact,
    Cache,
    Capture,
    Credential,
    FanOut,
    Journal,
    Leftover,
    Output,
    Resources,
    Retention,
    Retry,
    Task,
    TriggerRule,
    Workflow,
)
from pyflowd.runtime import decisions
from pyflowd.runtime.cache import KEY_MAX, Recalled, Sought, recipe_of
from pyflowd.runtime.context import Facts
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.retention import Retirement, expired
from pyflowd.runtime.runs import Launch, Runs, fold
from pyflowd.runtime.tasklogs import TaskLogs
from pyflowd.store.batch import RunMeta
from pyflowd.store.store import DATABASE, Store
from tests.daemon.checker import check_fold
from tests.fakes import FakeClock
from tests.unit.engine_driver import Driver, ended, fan, running, task, workflow

S = TaskState
HOUR = Cache(key="v1", ttl_s=3600.0)
FILE = KeptFile(size_bytes=3, sha256="ab", run=7, folder="a")


def kept(name: str = "a", **more: Any) -> CacheDecided:
    """An answer: run 7 has it, since a minute."""
    given = {"run": 7, "made_us": 0, "outputs": {"v": 1}, "artifacts": {"dist": FILE}, **more}
    return CacheDecided(name, 60 * US, "v1", "recipe", **given)


# ---- The engine -----------------------------------------------------------------------------------------------------


def test_an_earlier_success_ends_the_task_without_an_attempt() -> None:
    driver = running(workflow(task("a", cache=HOUR)), kept={"a": kept()})
    node = driver.run.tasks["a"]
    assert (node.state, node.reason, node.attempts) == (S.SUCCEEDED, Reason.CACHED, 0)


def test_an_earlier_success_gives_its_outputs_and_artifacts_and_says_where_they_are_from() -> None:
    node = running(workflow(task("a", cache=HOUR)), kept={"a": kept()}).run.tasks["a"]
    assert (node.outputs, node.artifacts) == ({"v": 1}, {"dist": FILE})
    assert node.facts == {"cache": {"run": 7, "age_s": 60, "key": "v1"}}


def test_what_its_condition_used_is_still_told_of_a_task_that_was_not_run() -> None:
    node = running(workflow(task("a", cache=HOUR, condition="x")), kept={"a": kept()}).run.tasks["a"]
    assert node.facts == {"x": 1, "cache": {"run": 7, "age_s": 60, "key": "v1"}}


def test_a_run_of_which_all_is_there_already_succeeds() -> None:
    assert running(workflow(task("a", cache=HOUR)), kept={"a": kept()}).run.state is RunState.SUCCEEDED


def test_the_children_of_a_task_that_was_not_run_come_next() -> None:
    driver = running(workflow(task("a", cache=HOUR), task("b", "a")), kept={"a": kept()})
    assert driver.ready() == ["b"]


def test_without_an_earlier_success_the_task_runs_and_its_own_is_to_be_kept() -> None:
    driver = running(workflow(task("a", cache=HOUR)))
    assert (driver.ready(), driver.run.tasks["a"].keep) == (["a"], Keep("k", "recipe"))


def test_a_key_without_a_value_fails_the_task() -> None:
    node = running(workflow(task("a", cache=HOUR)), kept={"a": CacheDecided("a", 0, error="no")}).run.tasks["a"]
    assert (node.state, node.reason, node.error) == (S.FAILED, Reason.EXPRESSION_ERROR, "cache: no")


def test_nobody_asks_for_a_task_whose_condition_is_false() -> None:
    driver = running(workflow(task("a", cache=HOUR, condition="x")), holds={"a": False})
    assert [asked.question for asked in driver.asked] == [Question.CONDITION]


def test_nobody_asks_for_a_task_that_is_not_eligible() -> None:
    driver = running(workflow(task("a"), task("b", "a", cache=HOUR)))
    driver.finish("a", 1)
    assert not driver.asked


def test_each_item_is_asked_for_and_only_what_is_not_there_runs() -> None:
    driver = running(workflow(fan("f", cache=HOUR)), kept={"f[a]": kept("f[a]")})
    asked = [each.task for each in driver.asked if each.question is Question.CACHE]
    assert (asked, driver.ready()) == (["f[a]", "f[b]"], ["f[b]"])


def test_an_item_that_is_not_run_leaves_its_place_to_the_next() -> None:
    driver = running(
        workflow(fan("f", cache=HOUR, fan_out={"max_parallel": 1})),
        items={"f": ["a", "b", "c"]},
        kept={"f[a]": kept("f[a]"), "f[b]": kept("f[b]")},
    )
    assert driver.ready() == ["f[c]"]


def test_a_fan_out_of_which_all_is_there_already_succeeds() -> None:
    driver = running(workflow(fan("f", cache=HOUR)), kept={name: kept(name) for name in ("f[a]", "f[b]")})
    assert (driver.state("f"), driver.run.held) == (S.SUCCEEDED, 0)


def test_an_item_that_was_cancelled_before_the_answer_needs_none() -> None:
    driver = running(
        workflow(fan("f", cache=HOUR, fan_out={"fail_fast": True})),
        kept={"f[a]": CacheDecided("f[a]", 0, error="no")},
    )
    assert (driver.state("f"), driver.state("f[b]")) == (S.FAILED, S.CANCELLED)


def test_an_item_that_was_cancelled_before_its_condition_was_decided_needs_no_answer() -> None:
    definition = workflow(fan("f", condition="item", fan_out={"if_each": True, "fail_fast": True}))
    assert running(definition, holds={"f[a]": "no value"}).state("f[b]") is S.CANCELLED


def test_a_retry_does_not_ask_again() -> None:
    driver = running(workflow(task("a", cache=HOUR, retry=Retry(attempts=2))))
    driver.finish("a", 1)
    assert [each.question for each in driver.asked] == [Question.CACHE]


def test_the_same_events_make_the_same_run() -> None:
    driver = running(workflow(fan("f", cache=HOUR), task("b", "f", cache=HOUR)), kept={"f[a]": kept("f[a]")})
    driver.finish("f[b]", given=Given(outputs={"v": 2}))
    driver.finish("b")
    again = refolded(driver)
    assert again.state is RunState.SUCCEEDED
    assert told(again) == told(driver.run)


def refolded(driver: Driver) -> Run:
    """The run as a restart makes it, of its events as the store has them."""
    run = engine.begin(1, driver.run.workflow, driver.created)
    decoder = msgspec.msgpack.Decoder(StoredEvent)
    for event in driver.fed:
        stored = decoder.decode(msgspec.msgpack.encode(event))
        assert isinstance(stored, Event)
        engine.step(run, stored)
    return run


def told(run: Run) -> list[tuple[Any, ...]]:
    return [(node.name, node.state, node.outputs, node.artifacts, node.facts, node.keep) for node in run.by_index]


def test_a_run_that_an_earlier_version_recorded_uses_what_there_is() -> None:
    stored = msgspec.msgpack.encode(["run_created", 5, {}, {}, {}, ["b"], {}])
    created = msgspec.msgpack.decode(stored, type=StoredEvent)
    assert isinstance(created, RunCreated)
    assert (created.not_asked, created.no_cache) == (("b",), False)


# ---- The key --------------------------------------------------------------------------------------------------------


def decided(key: str, created: RunCreated | None = None, *, seen: list[tuple[Sought, bool]] | None = None) -> Any:
    """What is decided of a task whose key is `key`; `seen` gets what was looked for."""
    definition = workflow(task("a", cache=Cache(key=key, ttl_s=60.0)))
    run = Driver(definition, created).run
    meta = RunMeta(run=1, workflow="w", digest="d", trigger="manual", params={"day": "mon", "none": None})

    def recall(sought: Sought, look: bool) -> Recalled:
        if seen is not None:
            seen.append((sought, look))
        return Recalled(recipe="r")

    return decisions.decide(Facts(meta, run), Decide(Question.CACHE, "a"), 9, recall)


def test_the_key_is_a_template() -> None:
    assert decided("v1-${{ params.day }}").key == "v1-mon"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("${{ params.none }}", "null"),
        ("${{ params.nope }}", "nope"),
        ("${{ tasks.a.outputs.x }}", "has no outputs"),
        ("${{ '' }}", "empty"),
        ("${{ secrets.token }}", "a secret may stand only"),
        ("x" * (KEY_MAX + 1), "characters"),
    ],
)
def test_a_key_that_is_none_is_said_to_be_so(key: str, reason: str) -> None:
    assert reason in decided(key).error


def test_a_run_that_may_use_nothing_looks_for_nothing_but_learns_what_to_keep_it_under() -> None:
    seen: list[tuple[Sought, bool]] = []
    answer = decided("k", RunCreated(0, no_cache=True), seen=seen)
    assert ([look for _, look in seen], answer.recipe) == ([False], "r")


def test_an_item_is_looked_for_by_its_own_key() -> None:
    definition = workflow(fan("f", cache=Cache(key="${{ item }}", ttl_s=60.0)))
    run = running(definition).run
    seen: list[tuple[str, str]] = []

    def recall(sought: Sought, _: bool) -> Recalled:
        seen.append((sought.item, sought.key))
        return Recalled(recipe="r")

    facts = Facts(RunMeta(run=1, workflow="w", digest="d", trigger="manual"), run)
    decisions.decide(facts, Decide(Question.CACHE, "f[b]"), 0, recall)
    assert seen == [("b", "b")]


# ---- What counts as the same ----------------------------------------------------------------------------------------

TASK = Task(name="a", kind=Shell(text="make"), cache=HOUR)
AROUND = Workflow(name="w", tasks=(TASK,))
MATTERS: dict[str, Any] = {
    "kind": Shell(text="make all"),
    "success_codes": (3,),
    "skip_codes": (4,),
    "env": {"A": "1"},
    "cwd": "/srv",
    "user": "anna",
    "stdin": "x",
    "outputs": (Output(name="v"),),
    "capture": Capture.STDOUT,
    "artifacts": (Artifact(name="dist", path="d"),),
    "credentials": (Credential(name="t", secret="token"),),
}
DOES_NOT: dict[str, Any] = {
    "name": "b",
    "needs": ("z",),
    "trigger_rule": TriggerRule.ALL_DONE,
    "retry": Retry(attempts=3),
    "timeout_s": 5.0,
    "kill_grace_s": 1.0,
    "leftover": Leftover.ALLOW,
    "continue_on_error": True,
    "log_max_bytes": 5,
    "journal": Journal.ALL,
    "resources": Resources(nice=5),
    "condition": "params.x",
    "fan_out": FanOut(items=[1]),
    "locks": ("l",),
    "pools": {"p": 1},
    "priority": 5,
    "cache": Cache(key="other", ttl_s=1.0),
    "on_error": (Task(name="h", kind=Shell(text="x")),),
}
REFUSED = {"repeat", "undo", "undo_after"}
"""They do not go with a cache at all."""


@pytest.mark.parametrize("field", MATTERS)
def test_an_edit_of_what_a_task_runs_makes_it_another_one(field: str) -> None:
    assert recipe_of(AROUND, replace(TASK, **{field: MATTERS[field]})) != recipe_of(AROUND, TASK)


@pytest.mark.parametrize("field", sorted(set(DOES_NOT) - {"fan_out"}))
def test_an_edit_of_when_it_runs_does_not(field: str) -> None:
    assert recipe_of(AROUND, replace(TASK, **{field: DOES_NOT[field]})) == recipe_of(AROUND, TASK)


def test_how_the_items_come_to_be_does_not_matter_but_what_they_are_called_does() -> None:
    of = [recipe_of(AROUND, replace(TASK, fan_out=FanOut(items=items, variable=name))) for items, name in (
        ([1], "item"), ([1, 2], "item"), ([1], "host"))]  # fmt: skip
    assert of[0] == of[1] != of[2]


@pytest.mark.parametrize("change", [{"env": {"A": "1"}}, {"env_files": ("/e",)}, {"cwd": "/srv"}, {"user": "anna"}])
def test_an_edit_of_what_the_workflow_gives_its_tasks_makes_them_other_ones(change: dict[str, Any]) -> None:
    assert recipe_of(replace(AROUND, **change), TASK) != recipe_of(AROUND, TASK)


def test_every_field_of_a_task_is_judged() -> None:
    judged = set(MATTERS) | set(DOES_NOT) | REFUSED
    assert judged == {field.name for field in fields(Task)}


def test_a_task_that_calls_a_workflow_is_another_one_when_that_is_edited() -> None:
    call = replace(TASK, kind=Call(workflow="other"))
    assert recipe_of(AROUND, call, "d1") != recipe_of(AROUND, call, "d2")


# ---- The store ------------------------------------------------------------------------------------------------------


class Host:
    """Runs over a real store; tasks end at once, with what they are told to give."""

    def __init__(self, root: Path) -> None:
        (root / "state").mkdir()
        self.root = root
        self.clock, self.timers = FakeClock(), Timers()
        self.store = Store(str(root / "state"))
        self.runs = Runs(self.store, self.clock, self.timers, 100, zone("UTC"))
        self.logs = TaskLogs(str(root / "log"))

    def commit(self) -> None:
        self.store.commit(self.runs.batch)
        self.runs.committed()
        self.runs.actions, self.runs.ended = [], []

    def begin(self, definition: Workflow, *, no_cache: bool = False) -> LiveRun:
        compiled = msgspec.msgpack.encode(definition)
        digest = hashlib.sha256(compiled).hexdigest()
        meta = RunMeta(
            run=self.runs.next_run(), workflow=definition.name, digest=digest, trigger="manual",
            created_us=self.clock.wall_us(),
        )  # fmt: skip
        self.runs.batch.add("definition", digest, b"text", compiled, self.clock.wall_us())
        live = self.runs.create(meta, definition, RunCreated(meta.created_us, no_cache=no_cache))
        self.runs.start(live)
        self.runs.fill("k")
        return live

    def go(self, definition: Workflow, code: int = 0, **how: bool) -> LiveRun:
        """A whole run, committed."""
        live = self.begin(definition, **how)
        self.finish(code)
        return live

    def finish(self, code: int = 0) -> None:
        while launches := [action for action in self.runs.actions if isinstance(action, Launch)]:
            self.runs.actions = []
            for launch in launches:
                self._end(launch, code)
            self.runs.fill("k")
        self.commit()

    def _end(self, launch: Launch, code: int) -> None:
        live, node = launch
        now_us = self.clock.wall_us()
        given = Given(
            outputs={"by": live.meta.run}, artifacts={"dist": KeptFile(size_bytes=3, sha256="ab")} if not code else {}
        )
        end = replace(ended(code), started_us=now_us, ended_us=now_us)
        self.runs.attempt_ended(self.runs.attempt_id(live.run, node), end, given)

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def retire(self, *, commit: bool = True) -> None:
        """Retention keeps one run of each workflow; without `commit` it has only written what is to go."""
        nothing: Any = SimpleNamespace(entries={})
        janitor: Any = SimpleNamespace(remove=lambda _: None)
        Retirement(self.runs, nothing, self.logs, janitor, Retention(runs=1)).begin()
        self._turn()
        while commit and self.timers.next_due_us() is not None:
            self.commit()
            self._turn()
        if commit:
            self.commit()

    def _turn(self) -> None:
        self.clock.advance(1)
        self.timers.fire(self.clock.mono_us())

    def entries(self) -> list[tuple[Any, ...]]:
        return list(self.store.rows("cache_entries", "", "", "", "", 1000))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.store.close()
    assert check_fold(tmp_path)


ONE = workflow(Task(name="a", kind=Argv(argv=("true",)), artifacts=(Artifact(name="dist", path="dist"),), cache=HOUR))


def outcome(live: LiveRun, name: str = "a") -> tuple[Any, ...]:
    node = live.run.tasks[name]
    return node.reason, node.outputs


def test_the_next_run_takes_over_what_the_first_gave(host: Host) -> None:
    first = host.go(ONE)
    second = host.go(ONE)
    assert outcome(second) == (Reason.CACHED, {"by": first.meta.run})
    assert second.run.tasks["a"].artifacts == {"dist": KeptFile(size_bytes=3, sha256="ab", run=1, folder="a")}


def test_a_third_run_takes_it_over_from_the_first_too(host: Host) -> None:
    host.go(ONE)
    host.later(60)
    host.go(ONE)
    host.later(60)
    third = host.go(ONE)
    assert third.run.tasks["a"].facts == {"cache": {"run": 1, "age_s": 120, "key": "v1"}}


def test_a_failure_is_not_kept(host: Host) -> None:
    host.go(ONE, 1)
    assert outcome(host.go(ONE)) == (None, {"by": 2})


def test_another_key_another_task_another_workflow_have_nothing_to_do_with_it(host: Host) -> None:
    host.go(ONE)
    others = [
        workflow(replace(ONE.tasks[0], cache=Cache(key="v2", ttl_s=3600.0))),
        workflow(replace(ONE.tasks[0], name="b")),
        replace(ONE, name="other"),
    ]
    reasons = [host.go(other).run.by_index[0].reason for other in others]
    assert reasons == [None, None, None]


def test_an_edited_script_does_not_use_what_the_old_one_gave(host: Host) -> None:
    host.go(ONE)
    edited = workflow(replace(ONE.tasks[0], kind=Argv(argv=("false",))))
    assert outcome(host.go(edited)) == (None, {"by": 2})
    assert outcome(host.go(edited)) == (Reason.CACHED, {"by": 2})


@pytest.mark.parametrize(("age_s", "reason"), [(3599, Reason.CACHED), (3600, None)])
def test_what_is_older_than_its_time_to_live_is_not_used(host: Host, age_s: int, reason: Reason | None) -> None:
    host.go(ONE)
    host.later(age_s)
    assert host.go(ONE).run.tasks["a"].reason is reason


def test_a_shorter_time_to_live_in_the_file_counts_at_once_a_longer_one_for_what_comes(host: Host) -> None:
    host.go(ONE)
    host.later(1800)
    shorter = workflow(replace(ONE.tasks[0], cache=Cache(key="v1", ttl_s=60.0)))
    longer = workflow(replace(ONE.tasks[0], cache=Cache(key="v1", ttl_s=86_400.0)))
    assert outcome(host.go(longer))[0] is Reason.CACHED
    assert outcome(host.begin(shorter))[0] is None
    host.finish()
    host.later(61)
    assert outcome(host.go(longer))[0] is None


def test_what_seems_to_be_from_the_future_is_not_used(host: Host) -> None:
    host.go(ONE)
    host.clock.set_wall(host.clock.wall_us() - 60 * US)
    assert outcome(host.go(ONE))[0] is None


def test_each_item_has_its_own(host: Host) -> None:
    definition = workflow(fan("f", fan_out={"items": ["a", "b"]}, cache=HOUR))
    host.go(definition)
    more = workflow(fan("f", fan_out={"items": ["b", "c"]}, cache=HOUR))
    run = host.go(more).run
    assert (run.tasks["f[b]"].reason, run.tasks["f[c]"].reason) == (Reason.CACHED, None)


def test_a_run_that_may_use_nothing_keeps_what_it_gives(host: Host) -> None:
    host.go(ONE)
    assert outcome(host.go(ONE, no_cache=True)) == (None, {"by": 2})
    assert outcome(host.go(ONE)) == (Reason.CACHED, {"by": 2})


def test_a_success_counts_although_its_run_fails(host: Host) -> None:
    definition = workflow(ONE.tasks[0], task("b", "a"))
    live = host.begin(definition)
    host.runs.actions, launches = [], list(host.runs.actions)
    host._end(launches[0], 0)  # type: ignore[arg-type]
    host.runs.fill("k")
    host.finish(1)
    assert live.run.state is RunState.FAILED
    assert outcome(host.go(definition))[0] is Reason.CACHED


def test_items_that_fail_fast_cancels_are_not_answered(host: Host) -> None:
    limit = {"items": ["a", "b", "c"], "fail_fast": True}
    live = host.go(workflow(fan("f", fan_out=limit, cache=Cache(key="${{ params.none }}", ttl_s=60.0))))
    assert [node.state for node in live.run.by_index] == [S.FAILED, S.FAILED, S.CANCELLED, S.CANCELLED]


def test_a_run_is_the_same_after_a_restart(host: Host) -> None:
    host.go(ONE)
    live = host.go(ONE)
    again = fold(live.meta.run, ONE, host.runs.stored_events(live.meta.run))
    assert told(again) == told(live.run)


def test_a_run_that_is_removed_takes_its_entries_with_it(host: Host) -> None:
    host.go(ONE)
    host.go(workflow(task("b")))
    host.retire()
    assert (host.store.one_or_none("run", 1), host.entries()) == (None, [])
    assert outcome(host.go(ONE))[0] is None


def test_the_turn_in_which_a_run_is_removed_does_not_use_what_it_gave(host: Host) -> None:
    host.go(ONE)
    host.go(workflow(task("b")))
    host.retire(commit=False)
    live = host.begin(ONE)
    host.finish()
    assert outcome(live)[0] is None


def test_a_run_is_kept_while_a_live_one_has_its_files(host: Host) -> None:
    definition = workflow(ONE.tasks[0], task("b", "a"))
    host.go(definition)
    host.go(workflow(task("b")))
    live = host.begin(definition)
    assert expired(host.runs, host.logs, "w", Retention(runs=1)) == []
    host.finish()
    assert live.run.state is RunState.SUCCEEDED
    assert expired(host.runs, host.logs, "w", Retention(runs=1)) == [1, 2]


def test_what_is_older_than_its_time_to_live_is_cleared_away(host: Host) -> None:
    host.go(ONE)
    host.later(3601)
    host.retire()
    assert (host.store.one_or_none("run", 1) is None, host.entries()) == (False, [])


@pytest.mark.parametrize("change", ["recipe = 'x'", "key = 'x'", "task = 'x'"])
def test_a_changed_entry_is_noticed_by_the_checker_of_the_fold(tmp_path: Path, change: str) -> None:
    made = Host(tmp_path)
    made.go(ONE)
    made.store.close()
    database = apsw.Connection(str(tmp_path / "state" / DATABASE))
    database.execute(f"UPDATE cache SET {change}")
    database.close()
    with pytest.raises(AssertionError):
        check_fold(tmp_path)


# ---- Any run --------------------------------------------------------------------------------------------------------


@st.composite
def chains(draw: st.DrawFn) -> tuple[Workflow, dict[str, CacheDecided]]:
    """Tasks and fan-outs, each needing some before it, some with a cache; and what there is of earlier successes."""
    tasks: list[Task] = []
    answers: dict[str, CacheDecided] = {}
    for index in range(draw(st.integers(1, 6))):
        needs = draw(st.lists(st.sampled_from([each.name for each in tasks]), unique=True)) if tasks else []
        how: dict[str, Any] = {"cache": HOUR} if draw(st.booleans()) else {}
        name = f"t{index}"
        if draw(st.booleans()):
            limit = {"max_parallel": draw(st.integers(1, 2)), "fail_fast": draw(st.booleans())}
            tasks.append(fan(name, *needs, fan_out=limit, **how))
            nodes = [f"{name}[a]", f"{name}[b]"]
        else:
            tasks.append(task(name, *needs, **how))
            nodes = [name]
        for node in nodes:
            answer = draw(st.sampled_from([None, kept(node), CacheDecided(node, 0, error="no")]))
            if answer is not None:
                answers[node] = answer
    return workflow(*tasks), answers


@given(chains(), st.lists(st.integers(0, 1), max_size=20))
def test_any_run_ends_is_folded_to_the_same_and_runs_nothing_that_is_there(
    made: tuple[Workflow, dict[str, CacheDecided]], codes: list[int]
) -> None:
    definition, answers = made
    driver = running(definition, kept=answers)
    left = iter(codes)
    while ready := driver.ready():
        driver.finish(ready[0], next(left, 0))
    assert driver.run.state in (RunState.SUCCEEDED, RunState.FAILED)
    assert driver.run.held == 0
    assert told(refolded(driver)) == told(driver.run)
    for node in driver.run.by_index:
        if node.name in answers and node.definition.cache is not None:
            assert node.attempts == 0
