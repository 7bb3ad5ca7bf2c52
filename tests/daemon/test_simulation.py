"""`simulate` and `next` against what then happens: the daemon's parts and a real store, driven through two days.

The first day makes history, and leaves runs that are under way or wait; what was said of the second is compared with
it slot by slot and run by run.
"""

from __future__ import annotations

import heapq
import select
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest

from pyflowctl.simulating import ask_basis
from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.clock import US
from pyflowd.handlers.handlers_simulation import SimulationHandlers
from pyflowd.model.ends import CallEnd, Exit, Stop
from pyflowd.model.kinds import Approval, Argv, Call, Http, Wait
from pyflowd.model.triggers import Dst, Schedule, WorkflowTrigger
from pyflowd.model.workflow import Concurrency, Gates, Overlap, Task, Workflow
from pyflowd.protocol.requests import GetSimulationBasis
from pyflowd.protocol.views_workflows import NextView
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.event_starts import EventStarts
from pyflowd.runtime.inside import InsideTasks
from pyflowd.runtime.runs import Launch, Runs
from pyflowd.runtime.runs import Stop as StopAttempt
from pyflowd.runtime.workflows import Workflows
from pyflowd.schedules.calendars import Almanac, Blackout, Calendar, Entries
from pyflowd.simulation.simulation import simulate
from pyflowd.simulation.simulation_model import Basis, Duration, Simulation
from pyflowd.store.store import Store
from tests.fakes import FakeClock
from tests.unit.simulated import HOUR_US, at

BEGIN_US = at("2026-03-27T12:00:30+00:00")
ASKED_US = BEGIN_US + 24 * HOUR_US
END_US = ASKED_US + 30 * HOUR_US
"""With the night in which the clocks of Europe go forward."""
APPROVED_AFTER_S = 1807

TOOK_S = {
    "backup/dump": 1013, "backup/ship": 307, "report/t": 1511, "slow/t": 2707, "latest/t": 2411, "replaced/t": 5413,
    "pooled-a/t": 619, "pooled-b/t": 743, "pooled-c/t": 877, "child/t": 433, "hook/t": 97, "grouped/t": 2203,
}  # fmt: skip
OTHERS_TOOK_S = 61


def process(name: str, *needs: str, **given: Any) -> Task:
    return Task(name=name, kind=Argv(argv=("true",)), needs=needs, **given)


def flow(name: str, *tasks: Task, cron: str = "", **given: Any) -> Workflow:
    times = {key: given.pop(key) for key in list(given) if key in Schedule.__struct_fields__ and key != "name"}
    triggers = (Schedule(name="schedule", cron=cron, **times),) if cron or times else ()
    return Workflow(name=name, tasks=tasks or (process("t"),), triggers=triggers, **given)


PLAN = (
    flow("backup", process("dump"), process("ship", "dump"), cron="*/30 * * * *", locks=("db",), priority=5),
    flow("report", cron="10 * * * *", locks=("db",), overlap=Overlap.QUEUE),
    flow("slow", cron="*/20 * * * *"),
    flow("latest", cron="*/15 * * * *", overlap=Overlap.QUEUE_LATEST),
    flow("replaced", cron="5 0-20 * * *", overlap=Overlap.REPLACE),
    flow("pooled-a", process("t", pools={"net": 1}), cron="*/10 * * * *", overlap=Overlap.QUEUE),
    flow("pooled-b", process("t", pools={"net": 1}), cron="*/12 * * * *", overlap=Overlap.QUEUE, queue_max=2),
    flow("pooled-c", process("t", pools={"net": 2}), cron="*/45 * * * *"),
    flow("interval", every_s=2221.0),
    flow("caller", Task(name="t", kind=Call(workflow="child")), cron="3 */2 * * *"),
    flow("child"),
    flow("waits", Task(name="t", kind=Wait(for_s=600)), Task(name="u", kind=Wait(until="18:15"), needs=("t",)),
         cron="0 */6 * * *"),
    flow("asks", Task(name="t", kind=Approval(message="go?")), process("u", "t"), cron="40 */4 * * *"),
    flow("spread", cron="0 * * * *", jitter_s=1200.0),
    flow("scattered", cron="30 * * * *", jitter_s=1200.0, random_jitter=True),
    flow("night", cron="30 2 * * *", timezone="Europe/Berlin", dst=Dst.SKIP),
    flow("gap", cron="30 2 * * *", timezone="Europe/Berlin"),
    flow("office", cron="20 * * * *", calendars=("work",), blackouts=("lunch",)),
    flow("dark", cron="*/50 * * * *", blackouts=("lunch",)),
    flow("paused", cron="*/25 * * * *"),
    flow("off", cron="7 * * * *", enabled=False),
    flow("grouped", cron="*/11 * * * *", concurrency=Concurrency(limit=2, queue_max=3), overlap=Overlap.QUEUE),
    flow("hook", Task(name="t", kind=Http(url="http://localhost/")), cron="17 * * * *", priority=-10),
    flow("gated", cron="22 * * * *", gates=Gates(path_exists=("/",))),
    flow("deadline", cron="12 * * * *", locks=("db",), overlap=Overlap.QUEUE, deadline_s=900.0),
    Workflow(name="follower", tasks=(process("t"),), events=(WorkflowTrigger(name="on", workflow="backup"),)),
)  # fmt: skip
ALMANAC = Entries(
    calendars={"work": Calendar(rule="0 0 * * 1-5")}, blackouts={"lunch": Blackout(daily=(12 * 60, 13 * 60))}
)


Slots = list[tuple[int, str, str, str, str | None]]


class Told(NamedTuple):
    """What was said of the second day, and what came."""

    said: Simulation
    coming: list[NextView]
    """What `next` named."""
    slots: Slots
    runs: list[tuple[str, int, int | None, int | None, str]]
    durations: dict[tuple[str, str], Duration]


class Day:
    """The parts that decide, on a real store and a clock that jumps; what leaves the daemon ends after its time."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.timers = FakeClock(BEGIN_US), Timers()
        self.store = Store(str(folder))
        self.pool = Pool(1)
        self.runs = Runs(self.store, self.clock, self.timers, 40, zone("UTC"))
        self.runs.sharing.settings_sizes = {"net": 2}
        self.admission = Admission(self.runs, self.pool, {})
        self.workflows = Workflows(self.store, self.runs, self.admission, self.store.instance, zone("UTC"))
        self.workflows.slots.almanac = Almanac(ALMANAC, zone("UTC"))
        EventStarts(self.workflows)
        self.inside = InsideTasks(self.runs, self.workflows, lambda *_: "", lambda *_: None, lambda _: None)
        self._ends: list[tuple[int, int, str, bool]] = []
        self._numbers = count()
        self._asked: set[str] = set()

    def close(self) -> None:
        self.pool.stop(0)
        self.pool.close()
        self.store.close()

    def install(self) -> None:
        for each in PLAN:
            encoded = msgspec.msgpack.encode(each)
            self.workflows.put(each.name, f"{each.name}.yaml", f"digest-{each.name}", b"text", encoded)
        self.workflows.pause("paused", "root")
        self.turn()

    def go_to(self, until_us: int) -> None:
        while (due_us := self._next_us()) <= until_us:
            self.clock.advance(max(0, due_us - self.clock.wall_us()) / US)
            self._end_what_is_due()
            self.timers.fire(self.clock.mono_us())
            self.turn()
        self.clock.advance((until_us - self.clock.wall_us()) / US)

    def _next_us(self) -> int:
        ahead_us = self.clock.wall_us() - self.clock.mono_us()
        slot_us, timer_us = self.workflows.next_due_us(), self.timers.next_due_us()
        due = [END_US + 1] if slot_us is None else [slot_us]
        due += [] if timer_us is None else [timer_us + ahead_us]
        return min([*due, *(end[0] for end in self._ends[:1])])

    def turn(self) -> None:
        self.workflows.tick()
        again = True
        while again:
            ended, self.runs.ended = self.runs.ended, []
            self.workflows.after_runs(ended)
            self.runs.fill("epoch")
            again = self.inside.settle(ended) or bool(self.runs.ended)
            for token, result in self._looks():
                self.admission.taken(token, result)
                again = True
        self.store.commit(self.runs.batch)
        self.runs.committed()
        actions, self.runs.actions = self.runs.actions, []
        for action in actions:
            if isinstance(action, Launch):
                name = f"{action.live.meta.workflow}/{action.task.definition.name}"
                took_s = TOOK_S.get(name, OTHERS_TOOK_S)
                self._end_at(took_s, self.runs.attempt_id(action.live.run, action.task))
            elif isinstance(action, StopAttempt):
                self._end_at(0, action.attempt_id, stopped=True)
        self._answer()

    def _looks(self) -> list[tuple[str, Any]]:
        """Gates are looked at by threads: nothing else happens meanwhile."""
        found: list[tuple[str, Any]] = []
        while True:
            active = self.pool.active
            found += self.pool.receive()
            if not active:
                return found
            assert select.select([self.pool], [], [], 30)[0], "a look at a gate has not ended"

    def _end_at(self, after_s: float, attempt_id: str, *, stopped: bool = False) -> None:
        due_us = self.clock.wall_us() + round(after_s * US)
        heapq.heappush(self._ends, (due_us, next(self._numbers), attempt_id, stopped))

    def _end_what_is_due(self) -> None:
        now_us = self.clock.wall_us()
        while self._ends and self._ends[0][0] <= now_us:
            _, _, attempt_id, stopped = heapq.heappop(self._ends)
            found = self.runs.under_way(attempt_id)
            if found is None:
                continue
            task = found[1]
            began_us = task.attempt.started_us if task.attempt else now_us
            if stopped:
                end: Any = Exit(exit_code=None, signal=15, started_us=began_us, ended_us=now_us, stop=Stop.REQUEST)
            elif isinstance(task.definition.kind, Http):
                end = CallEnd(started_us=began_us, ended_us=now_us, status=200)
            else:
                end = Exit(exit_code=0, signal=None, started_us=began_us, ended_us=now_us)
            self.runs.attempt_ended(attempt_id, end)

    def _answer(self) -> None:
        """Somebody looks at approvals, and takes his time."""
        for live in self.runs.of_workflow.get("asks", ()):
            task = live.by_index[0]
            name = self.runs.attempt_id(live.run, task)
            if task.state == "running" and name not in self._asked:
                self._asked.add(name)
                due_us = self.clock.mono_us() + APPROVED_AFTER_S * US
                self.timers.at(due_us, partial(self._approve, live, task))

    def _approve(self, live: Any, task: Any) -> None:
        self.inside.answer(live, task, "root", "", None, approve=True)

    # ---- What was said, and what came

    def basis(self) -> Basis:
        everything = SimpleNamespace(sight=lambda _: SimpleNamespace(sees=lambda _: True), workflow_of_run=lambda _: "")
        of_runs: Any = SimpleNamespace(
            store=self.store, runs=self.runs, workflows=self.workflows, access=everything
        )  # fmt: skip
        nobody: Any = None
        replies = SimulationHandlers(of_runs).basis(GetSimulationBasis(), nobody)
        client: Any = SimpleNamespace(ask=lambda _: replies)
        return ask_basis(client)

    def slots(self) -> Slots:
        """All that are accounted for, those before what was asked among them."""
        rows = self.store.rows("slots", 0, "", "", 1 << 62, 100_000)
        return sorted(
            (at_us, workflow, trigger, str(fate), reason) for workflow, trigger, at_us, fate, reason, *_ in rows
        )

    def runs_of(self) -> list[tuple[str, int, int | None, int | None, str]]:
        found = []
        for run, *_ in list(self.store.rows("runs_for_check")):
            row = next(iter(self.store.rows("run", run)))
            _, workflow, state, _, _, _, _, created_us, started_us, ended_us, *_ = row
            if ended_us is None or ended_us >= ASKED_US:
                found.append((workflow, created_us, started_us, ended_us, state))
        return sorted(found, key=str)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    day = Day(tmp_path_factory.mktemp("store"))
    try:
        day.install()
        day.go_to(ASKED_US)
        before = set(day.slots())
        basis = day.basis()
        said = simulate(basis, ASKED_US, END_US)
        coming = day.workflows.upcoming(None, 3000)
        day.go_to(END_US)
        came = sorted(set(day.slots()) - before)
        return Told(said, coming, came, day.runs_of(), dict(basis.durations))
    finally:
        day.close()


def test_there_were_live_and_waiting_runs_when_it_was_asked(told: Told) -> None:
    """Else what follows would prove little."""
    before = [run for run in told.said.runs if run.created_us < ASKED_US]
    assert {run.started_us is None or run.started_us > ASKED_US for run in before} == {True, False}


def test_every_slot_has_the_fate_that_was_simulated(told: Told) -> None:
    said = [(each.scheduled_us, each.workflow, each.trigger, str(each.fate), each.reason) for each in told.said.slots]
    assert sorted(said) == told.slots


def test_slots_of_every_sort_of_fate_were_among_them(told: Told) -> None:
    reasons = {str(slot.reason) for slot in told.said.slots}
    assert reasons >= {"None", "overlap", "queue_full", "paused", "disabled", "blackout", "calendar", "dst"}


def test_every_run_begins_and_ends_when_it_was_simulated_to(told: Told) -> None:
    simulated = [
        (run.ref.workflow, run.created_us, run.started_us, run.ended_us, str(run.state)) for run in told.said.runs
    ]
    assert sorted(simulated, key=str) == told.runs


def test_next_names_the_slots_that_come_and_no_others(told: Told) -> None:
    """All that fire, and those that something live was in the way of, which nobody can know before."""
    named = {(each.scheduled_us, each.workflow) for each in told.coming if each.scheduled_us <= END_US}
    unforeseen = (None, "overlap", "queue_full", "deadline")
    came = {(at_us, workflow) for at_us, workflow, _, _, reason in told.slots if reason in unforeseen}
    foreseen = {(at_us, workflow) for at_us, workflow, _, _, reason in told.slots if reason not in unforeseen}
    assert (came - named, foreseen & named) == (set(), set())


def test_what_tasks_took_is_their_median(told: Told) -> None:
    names = (("backup", "dump"), ("hook", "t"), ("asks", "t"))
    assert [told.durations[name].median_s for name in names] == [1013, 97, APPROVED_AFTER_S]
