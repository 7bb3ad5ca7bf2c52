"""Random lives of a host whose runs share places: starts, ends, retries, cancels, deaths of the daemon. After each step
whoever holds a place is under way and whoever is under way holds its places; in the end all have ended, and nothing is
held or kept of them.

The real `Runs`, `Admission`, `Workflows`, `InsideTasks` and `recovery` over a real store; keeper and pool are played.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pyflowd.base.pool import Cancelled
from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.clock import US
from pyflowd.engine.holdings import RUN, Place, Sort, Who
from pyflowd.errors import PyflowError
from pyflowd.language import assembly
from pyflowd.language.definition_text import Part
from pyflowd.language.params import bind
from pyflowd.model.ends import End, Exit, LostAttempt
from pyflowd.model.ends import Stop as Stopped
from pyflowd.model.states import RunState, TaskState
from pyflowd.model.workflow import Workflow
from pyflowd.runtime import recovery
from pyflowd.runtime.admission import TOKEN, Admission
from pyflowd.runtime.inside import InsideTasks
from pyflowd.runtime.keeperlink import Listing, Running
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Acknowledge, Launch, Runs, Stop
from pyflowd.runtime.workflows import Workflows
from pyflowd.store.store import Store
from tests.fakes import FakeClock

MAX_TASKS = 3
EXAMPLES = 1500 if os.environ.get("PYFLOW_LONG") else 25

WORKFLOWS = {
    "locked": "overlap: allow\nlocks: [a]\ntasks: {t: {run: x, locks: [b]}, u: {run: x, needs: t, pool: p}}\n",
    "tasks": (
        "overlap: allow\npools: {p: 2}\n"
        "tasks:\n  t: {run: x, locks: [a, b], retry: {attempts: 2, delay: 5s}, on_error: {h: {run: x, locks: [a]}}}\n"
        "  u: {run: x, pool: {p: 2}, priority: 5, undo: {run: x, pool: p}}\n  v: {run: x, pool: p, needs: u}\n"
    ),
    "items": (
        "overlap: allow\nmax_parallel: 2\n"
        "tasks: {t: {run: x, for_each: [1, 2, 3], pool: p, fail_fast: true, retry: 2}, z: {run: x, needs: t}}\n"
        "finally: {f: {run: x, locks: [b]}}\n"
    ),
    "group": "concurrency: {group: g, limit: 2}\ntasks: {t: {run: x}}\non_failure: {f: {run: x, locks: [a]}}\n",
    "gated": "overlap: allow\nlocks: [b]\ngates: {path_exists: /x, every: 5s, wait: 20s}\ntasks: {t: {run: x}}\n",
    "calls": (
        "overlap: allow\nlocks: [a]\n"
        "tasks: {c: {workflow: locked, pool: p}, d: {workflow: tasks, locks: [b], timeout: 30s}}\n"
    ),
    "callsb": "overlap: allow\nlocks: [b]\ntasks: {c: {workflow: locked}, e: {workflow: group, wait: false}}\n",
    "joined": "overlap: allow\ntasks: {c: {workflow: locked, idempotency_key: k, locks: [b]}}\n",
    "joineda": "overlap: allow\ntasks: {c: {workflow: locked, idempotency_key: k, locks: [a]}}\n",
    "asks": "overlap: allow\nlocks: [a]\ntasks: {q: {approval: {message: go}}, t: {run: x, needs: q, pool: p}}\n",
    "lowest": "overlap: allow\nmax_parallel: 1\ntasks: {a: {run: x, priority: -9, pool: p}, b: {run: x}}\n",
}


def compiled(name: str, text: str) -> Workflow:
    found = assembly.assemble(Part(label=f"{name}.yaml", data=text.encode()), stem=name)
    assert found.workflow, found.problems
    return found.workflow


class PlayedPool:
    """Looks at gates when it is told to."""

    def __init__(self) -> None:
        self.tokens: dict[str, object] = {}

    def submit(self, token: str, call: Callable[[Any], Any]) -> None:
        assert token not in self.tokens
        self.tokens[token] = None

    def cancel(self, token: str) -> None:
        if token in self.tokens:
            self.tokens[token] = Cancelled(token)


class Host:
    """One host over several lives of its daemon."""

    def __init__(self, root: Path, workflows: dict[str, str] | None = None) -> None:
        self.folder = str(root)
        self.texts = WORKFLOWS if workflows is None else workflows
        self.clock = FakeClock()
        self.running: dict[str, Running] = {}
        self.ended: dict[str, End] = {}
        self.stopped: set[str] = set()
        self.begin(first=True)

    def begin(self, *, first: bool = False) -> None:
        self.timers, self.pool, self.store = Timers(), PlayedPool(), Store(self.folder)
        self.store._writer.pragma("synchronous", "off")  # nobody pulls the plug here
        self.runs = Runs(self.store, self.clock, self.timers, MAX_TASKS, zone("UTC"))
        self.admission = Admission(self.runs, self.pool, {})  # type: ignore[arg-type]
        self.workflows = Workflows(self.store, self.runs, self.admission, "host", zone("UTC"))
        self.inside = InsideTasks(self.runs, self.workflows, lambda *_: "", lambda *_: None, lambda _: None)
        if first:
            for name, text in self.texts.items():
                definition = compiled(name, text)
                packed = msgspec.msgpack.encode(definition)
                self.workflows.put(name, f"{name}.yaml", name, text.encode(), packed)
        else:
            self.workflows.restore(self.clock.wall_us())
        self.runs.rebuild(self.workflows.compiled)
        assert not self.runs.aside.runs
        self.reconcile()
        self.inside.recover()
        self.workflows.admit_all()
        self.turn()

    def reconcile(self) -> None:
        listing = Listing(epoch="k", boot_id="b", lineage=(), running=dict(self.running), ended=dict(self.ended))
        recovery.reconcile(self.runs, listing, self.runs.attempt_ended, lambda *_: False, host_restarted=False)

    def die(self, *, committed: bool) -> None:
        """kill -9, before or after the commit of a turn; nothing of the turn has been carried out."""
        self.settle()
        if committed and self.runs.batch.writes:
            self.commit()
        self.store.close()
        self.begin()

    # ---- The turn, as the dispatcher has it

    def settle(self) -> None:
        again = True
        while again:
            ended, self.runs.ended = self.runs.ended, []
            self.workflows.after_runs(ended)
            self.runs.fill("k")
            again = self.inside.settle(ended) or bool(self.runs.ended)

    def commit(self) -> None:
        self.store.commit(self.runs.batch)
        self.runs.committed()

    def turn(self) -> None:
        self.settle()
        self.commit()
        actions, self.runs.actions = self.runs.actions, []
        for action in actions:
            match action:
                case Launch(live, task):
                    if task.state is TaskState.RUNNING:
                        attempt = self.runs.attempt_id(live.run, task)
                        assert attempt not in self.running, "an attempt is started twice"
                        self.running[attempt] = Running(attempt=attempt, pid=7, started_us=self.clock.wall_us())
                case Stop(attempt, _):
                    self.stopped.add(attempt)
                case Acknowledge(attempt):
                    self.running.pop(attempt, None)
                    self.ended.pop(attempt, None)
        self.runs.changed.clear()

    # ---- What happens

    def start(self, n: int) -> None:
        name = list(self.texts)[n % len(self.texts)]
        entry = self.workflows.find(name)
        try:
            self.workflows.start(
                name, entry.digest, entry.definition, bind((), {}, from_text=False), trigger="manual", by="me"
            )
        except PyflowError:
            pass

    def end_one(self, n: int, code: int) -> None:
        if self.running:
            attempt = sorted(self.running)[n % len(self.running)]
            self._end(attempt, code)

    def _end(self, attempt: str, code: int) -> None:
        del self.running[attempt]
        now_us = self.clock.wall_us()
        stop = Stopped.REQUEST if attempt in self.stopped else Stopped.NONE
        self.ended[attempt] = Exit(exit_code=code, signal=None, started_us=now_us, ended_us=now_us, stop=stop)
        self.runs.attempt_ended(attempt, self.ended[attempt])

    def cancel(self, n: int) -> None:
        live = self._pick(n)
        if live is not None:
            self.runs.cancel(live, "me")

    def cancel_task(self, n: int) -> None:
        live = self._pick(n)
        if live is not None and live.run.state is RunState.RUNNING:
            nodes = [
                node for node in live.by_index
                if node.state in (TaskState.QUEUED, TaskState.RUNNING, TaskState.RETRYING)
                and node.home is live.run.section
            ]  # fmt: skip
            if nodes:
                self.runs.cancel_task(live, nodes[n % len(nodes)].name, "me")

    def _pick(self, n: int) -> LiveRun | None:
        live = list(self.runs.live.values())
        return live[n % len(live)] if live else None

    def look_at_gate(self, n: int) -> None:
        if self.pool.tokens:
            token = sorted(self.pool.tokens)[n % len(self.pool.tokens)]
            result = self.pool.tokens.pop(token)
            self.admission.taken(token, result or ("" if n % 3 else "/x does not exist"))

    def answer(self, n: int) -> None:
        open_ = [
            (live, node) for live in self.runs.live.values() for node in live.by_index
            if node.name == "q" and node.state is TaskState.RUNNING
        ]  # fmt: skip
        if open_:
            live, node = open_[n % len(open_)]
            self.inside.answer(live, node, "me", "", None, approve=bool(n % 2))

    def wait(self, n: int) -> None:
        self.clock.advance(n % 40 / 2)
        self.timers.fire(self.clock.mono_us())

    # ---- What must hold

    def check(self) -> None:
        expected = self._expected()
        places = self.runs.places
        held = {who for place in places.known() for who in places.holders(place)}
        assert held == expected
        waiting = {who for place in places.known() for who in places.waiting_for(place)}
        queued = {
            Who(live.meta.run, node.index)
            for live in self.runs.live.values() for node in live.by_index
            if node.shared and node.state is TaskState.QUEUED
        }  # fmt: skip
        assert {who for who in waiting if who.node != RUN} == queued
        assert {who.run for who in waiting} <= self.runs.live.keys()
        assert self.runs.active == sum(live.run.held for live in self.runs.live.values()) <= MAX_TASKS
        for place in places.known():
            assert places.used(place) <= max(self._size(place), 1), place
            self._check_lock(place)

    def _check_lock(self, place: Place) -> None:
        """Of those who hold a lock each is within the one before."""
        if place.sort is not Sort.LOCK:
            return
        holders = self.runs.places.holders(place)
        outermost = [who for who in holders if not any(other in self._around(who) for other in holders)]
        assert len(outermost) <= 1, holders

    def _around(self, who: Who) -> list[Who]:
        live = self.runs.live[who.run]
        chain = [] if who.node == RUN else [Who(who.run, RUN)]
        while live.caller:
            live, task = live.caller
            chain += [Who(live.meta.run, task.index), Who(live.meta.run, RUN)]
        return chain

    def _size(self, place: Place) -> int:
        return {"p": 2, "g": 2}.get(place.name, 1)

    def _expected(self) -> set[Who]:
        found: set[Who] = set()
        for live in self.runs.live.values():
            looked_at = f"{TOKEN}{live.meta.run}" in self.pool.tokens
            under_way = live.run.state is RunState.RUNNING and live.run.refused is None
            if live.want and (under_way or (looked_at and live.run.state is RunState.QUEUED)):
                found.add(Who(live.meta.run, RUN))
            found |= {
                Who(live.meta.run, node.index) for node in live.by_index
                if node.shared and node.state is TaskState.RUNNING and node.fan is None
            }  # fmt: skip
        return found

    def finish(self) -> None:
        """Let everything come to its end."""
        for _ in range(2000):
            if not self.runs.live:
                break
            for attempt in list(self.running):
                self._end(attempt, 0)
            while self.pool.tokens:
                self.look_at_gate(1)
            self.answer(1)
            self.turn()
            self.clock.advance(2)
            self.timers.fire(self.clock.mono_us())
            self.turn()
            self.check()
        assert not self.runs.live, [
            (live.meta.workflow, self.runs.why_queued(live), self.runs.waits_of(run)(0))
            for run, live in self.runs.live.items()
        ]
        assert not self.runs.places.known()
        assert not self.runs.of_workflow
        assert not self.running
        assert not self.ended
        self.runs.fill("k")
        assert not self.runs._offers
        assert not any(self.runs.places._lines.values())


STEPS: dict[str, Callable[[Host, int], None]] = {
    "start": Host.start,
    "succeed": lambda host, n: host.end_one(n, 0),
    "fail": lambda host, n: host.end_one(n, 1),
    "cancel": Host.cancel,
    "cancel_task": Host.cancel_task,
    "gate": Host.look_at_gate,
    "answer": Host.answer,
    "wait": Host.wait,
    "die": lambda host, n: host.die(committed=bool(n % 2)),
    "keeper": lambda host, _: host.reconcile(),
}
step = st.tuples(st.sampled_from([*STEPS, "start", "start", "succeed"]), st.integers(0, 59))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(step, min_size=20, max_size=120))
def test_whoever_holds_a_place_is_under_way_and_everything_ends(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    host = Host(tmp_path_factory.mktemp("host"))
    try:
        for name, n in steps:
            STEPS[name](host, n)
            host.turn()
            host.check()
        host.finish()
    finally:
        host.store.close()


# ---- Places of the host ---------------------------------------------------------------------------------------------


def test_a_run_that_has_something_urgent_by_now_goes_before_others_however_little_urgent_it_was(tmp_path: Path) -> None:
    host = Host(
        tmp_path,
        {
            "plain": "overlap: allow\ntasks: {t: {run: x}}\n",
            "later": (
                "defaults: {priority: -9}\n"
                "tasks: {first: {run: x}, second: {run: x}, urgent: {run: x, needs: first, priority: 9}}\n"
            ),
        },
    )  # fmt: skip
    for workflow in (0, 0, 1, 0):
        host.start(workflow)
        host.turn()
    later = host.runs.live[3].run
    assert len(host.running) == MAX_TASKS
    host.clock.advance(1)
    host._end(host.runs.attempt_id(later, later.tasks["first"]), 0)
    host.turn()
    assert later.tasks["urgent"].state is TaskState.RUNNING
    host.store.close()


def test_an_attempt_whose_record_is_lost_ends_by_the_same_way_as_all_others(tmp_path: Path) -> None:
    host = Host(tmp_path, {"plain": "tasks: {t: {run: x}}\n"})
    host.start(0)
    host.turn()
    ends: dict[str, End] = {}
    listing = Listing(epoch="another", boot_id="b", lineage=(), running={}, ended={})
    recovery.reconcile(host.runs, listing, ends.__setitem__, lambda *_: False, host_restarted=False)
    assert [type(end) for end in ends.values()] == [LostAttempt]
    host.store.close()


def test_a_run_is_as_urgent_as_its_next_task_and_not_as_the_one_that_has_just_started(tmp_path: Path) -> None:
    host = Host(
        tmp_path,
        {
            "plain": "overlap: allow\ntasks: {t: {run: x}}\n",
            "both": "tasks: {high: {run: x, priority: 9}, low: {run: x, priority: -9}}\n",
        },
    )
    for workflow in (0, 0, 1, 0):
        host.start(workflow)
        host.turn()
    host.clock.advance(1)
    host._end(host.runs.attempt_id(host.runs.live[1].run, host.runs.live[1].by_index[0]), 0)
    host.turn()
    assert host.runs.live[4].by_index[0].state is TaskState.RUNNING
    host.store.close()


# ---- Gates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [-86_400, 86_400])
def test_a_clock_that_is_set_neither_shortens_nor_prolongs_the_wait_for_a_gate(tmp_path: Path, step_s: int) -> None:
    host = Host(tmp_path, {"gated": "gates: {path_exists: /x, every: 5s, wait: 20s}\ntasks: {t: {run: x}}\n"})
    host.start(0)
    host.turn()
    live = host.runs.live[1]
    states = []
    for _ in range(5):
        host.look_at_gate(0)
        host.turn()
        states.append(live.run.state)
        host.clock.set_wall(host.clock.wall_us() + step_s * US)
        host.clock.advance(5)
        host.timers.fire(host.clock.mono_us())
        host.turn()
    assert states == [RunState.QUEUED] * 4 + [RunState.FAILED]
    host.store.close()
