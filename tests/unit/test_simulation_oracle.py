"""The simulation against a model of its own: it walks minute by minute, and from end to end, and
knows the rules, not the daemon's code.

Workflows of one task, with any overlap policy, locks of the run, slots of a pool for the task, and a host that is full.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pyflowd.clock import US
from pyflowd.model.states import RunState
from pyflowd.model.workflow import Overlap, Workflow
from pyflowd.simulation.simulation import simulate
from tests.unit.simulated import NOON_US, basis, flow, task

HORIZON_S = 3 * 3600
LOCKS = ("x", "y")
POOL = "p"


@dataclass
class Plan:
    """One workflow: every `every` minutes, a task of `took_s`."""

    name: str
    every: int
    took_s: int
    policy: Overlap
    locks: tuple[str, ...]
    units: int
    queue_max: int

    def compiled(self) -> Workflow:
        pools = {POOL: self.units} if self.units else {}
        return flow(
            self.name, f"*/{self.every} * * * *", task("t", pools=pools), overlap=self.policy,
            locks=self.locks, queue_max=self.queue_max,
        )  # fmt: skip


@dataclass
class Job:
    """A run of the model."""

    plan: Plan
    slot_s: int
    number: int
    state: str = "held"
    """By its own workflow; then `locks`, `task`, `runs`, `done`."""
    began_s: int | None = None
    ends_s: int | None = None
    outcome: str = ""
    stopped: bool = False


@dataclass
class Model:
    """The whole host."""

    plans: list[Plan]
    pool_size: int
    max_tasks: int
    now_s: int = 0
    jobs: list[Job] = field(default_factory=list)
    fates: list[tuple[int, str, str]] = field(default_factory=list)
    for_locks: list[Job] = field(default_factory=list)
    for_pool: list[Job] = field(default_factory=list)
    for_host: list[Job] = field(default_factory=list)
    tied: bool = False
    """A task ended in the very instant of a slot: which of the two comes first is nobody's rule."""

    def run(self) -> None:
        while (now_s := self._next_s()) <= HORIZON_S:
            self.now_s = now_s
            ended = [job for job in self._live() if job.ends_s == self.now_s and not job.stopped]
            self.tied = self.tied or bool(ended and self.now_s % 60 == 0)
            self._end(ended, "succeeded")
            if self.now_s % 60 == 0:
                for plan in self.plans:
                    if self.now_s // 60 % 60 % plan.every == 0:
                        self._slot(plan)
            self._let_go()
            stopped = [job for job in self._live() if job.stopped]
            if stopped:
                self._end(stopped, "cancelled")
                self._let_go()

    def _next_s(self) -> int:
        """Nothing happens but on a minute, or where a task ends."""
        minute_s = (self.now_s // 60 + 1) * 60
        return min([minute_s, *(job.ends_s for job in self._live() if job.ends_s is not None)])

    def _live(self, plan: Plan | None = None) -> list[Job]:
        return [job for job in self.jobs if job.state != "done" and plan in (None, job.plan)]

    def _end(self, jobs: list[Job], outcome: str) -> None:
        for job in jobs:
            job.state, job.ends_s, job.outcome = "done", self.now_s, outcome
            for queue in (self.for_locks, self.for_pool, self.for_host):
                if job in queue:
                    queue.remove(job)

    # ---- Overlap

    def _slot(self, plan: Plan) -> None:
        live = self._live(plan)
        waiting = [job for job in live if job.state in ("held", "locks")]
        full = len(waiting) >= plan.queue_max
        if not live or plan.policy is Overlap.ALLOW:
            self._fate(plan, "queue_full" if plan.locks and full else "")
        elif plan.policy is Overlap.SKIP:
            self._fate(plan, "overlap")
        elif plan.policy is Overlap.QUEUE:
            self._fate(plan, "queue_full" if full else "")
        else:
            gone = live if plan.policy is Overlap.REPLACE else waiting
            self._fate(plan, "")
            self._end([job for job in gone if job in waiting or job.state == "task"], "cancelled")
            for job in gone:
                job.stopped = job.stopped or job.state == "runs"

    def _fate(self, plan: Plan, reason: str) -> None:
        self.fates.append((self.now_s, plan.name, reason))
        if not reason:
            self.jobs.append(Job(plan, self.now_s, len(self.jobs)))
            self._admit(plan)

    def _admit(self, plan: Plan) -> None:
        """The oldest that its own workflow holds back, if nothing of it is past that."""
        for job in self._live(plan):
            others = [each for each in self._live(plan) if each.state != "held"]
            if job.state == "held" and (not others or plan.policy is Overlap.ALLOW):
                if plan.locks:
                    job.state = "locks"
                    self.for_locks.append(job)
                else:
                    self._begin(job)

    def _begin(self, job: Job) -> None:
        job.state, job.began_s = "task", self.now_s
        (self.for_pool if job.plan.units else self.for_host).append(job)

    # ---- Places

    def _let_go(self) -> None:
        for plan in self.plans:
            self._admit(plan)
        self._give_locks()
        self._give_pool()
        while self.for_host and self._running() < self.max_tasks:
            self._start(self.for_host.pop(0))

    def _running(self) -> int:
        return sum(job.state == "runs" for job in self.jobs)

    def _start(self, job: Job) -> None:
        job.state, job.ends_s = "runs", self.now_s + job.plan.took_s

    def _give_locks(self) -> None:
        """In the order of their recording; a lock that an earlier one waits for is not taken by a later one."""
        held = {lock for job in self._live() if job.state in ("task", "runs") for lock in job.plan.locks}
        for job in sorted(self.for_locks, key=lambda job: (job.slot_s, self.for_locks.index(job))):
            if not held & set(job.plan.locks):
                self.for_locks.remove(job)
                self._begin(job)
            held |= set(job.plan.locks)

    def _give_pool(self) -> None:
        """In the order of their coming; what is missing for an earlier one is kept for it, but not from those whose run
        holds a lock: the earlier one may wait for it."""
        used, kept = sum(job.plan.units for job in self._live() if job.state == "runs"), 0
        for job in list(self.for_pool):
            if self._running() >= self.max_tasks:
                break
            taken = used if job.plan.locks else used + kept
            if taken + job.plan.units <= self.pool_size or not taken:
                self.for_pool.remove(job)
                self._start(job)
                used += job.plan.units
            else:
                kept += job.plan.units


SECONDS = st.integers(0, 25).flatmap(lambda minutes: st.integers(1, 59).map(lambda rest: 60 * minutes + rest))


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    return [
        Plan(
            name=name,
            every=draw(st.sampled_from((5, 6, 10, 12, 15, 20, 30))),
            took_s=draw(SECONDS),
            policy=draw(st.sampled_from(list(Overlap))),
            locks=tuple(sorted(draw(st.sets(st.sampled_from(LOCKS))))),
            units=draw(st.integers(0, 3)),
            queue_max=draw(st.integers(1, 4)),
        )
        for name in draw(st.sampled_from(("a", "ab", "abc", "abcd")))
    ]


def plan(name: str, took_s: int, units: int, *locks: str) -> Plan:
    return Plan(name, 5, took_s, Overlap.SKIP, locks, units, 1)


@settings(max_examples=40, deadline=None)
@given(plans(), st.integers(1, 3), st.integers(1, 4))
@example([plan("a", 1, 1), plan("b", 1, 1, "x"), plan("c", 301, 2)], 2, 2)
def test_the_simulation_and_the_model_agree(made: list[Plan], pool_size: int, max_tasks: int) -> None:
    model = Model(made, pool_size, max_tasks)
    model.run()
    assume(not model.tied)
    host = basis(
        *(plan.compiled() for plan in made), took_s={plan.name: plan.took_s for plan in made},
        pools={POOL: pool_size}, max_tasks=max_tasks,
    )  # fmt: skip
    found = simulate(host, NOON_US, NOON_US + HORIZON_S * US)
    fates = [((slot.scheduled_us - NOON_US) // US, slot.workflow, str(slot.reason or "")) for slot in found.slots]
    assert fates == model.fates
    runs = [
        (run.ref.workflow, (run.ref.at_us - NOON_US) // US, _seconds(run.started_us), _outcome(run.state))
        for run in found.runs
    ]
    assert runs == [(job.plan.name, job.slot_s, job.began_s, job.outcome) for job in model.jobs]


def _seconds(at_us: int | None) -> int | None:
    return None if at_us is None else (at_us - NOON_US) // US


def _outcome(state: RunState) -> str:
    return "" if state in (RunState.QUEUED, RunState.RUNNING) else str(state)
