"""The places that runs share, as live runs see them: what each wants, whose part it is, what it waits for.

Who is next is decided in `places`; what a run or an attempt holds follows from its state, also after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pyflowd.clock import Clock
from pyflowd.engine.holdings import RUN, Place, Sort, Who
from pyflowd.engine.places import Places
from pyflowd.engine.state import TaskRun
from pyflowd.model.states import RunState, TaskState
from pyflowd.runtime.live import PRIORITY_US, LiveRun

HOLDERS_TOLD = 3
Named = Callable[[str], str]
"""From a workflow's name to what whoever asks is told of it."""


class Sharing:
    """One for the host. `live` is the owner's; the sizes of pools are looked up whenever they are needed."""

    def __init__(self, live: Mapping[int, LiveRun], clock: Clock) -> None:
        self._live = live
        self._clock = clock
        self.places = Places(self.pool_size)
        self.settings_sizes: Mapping[str, int] = {}
        self.declared_size: Callable[[str], int | None] = lambda _: None
        """Of a pool, as the definitions in force have it."""
        self.declared_pools: Callable[[], Iterable[str]] = tuple
        self._sizes_of_runs: dict[str, int] | None = None
        """The least size that a live run gives a pool; None: to be looked up again."""

    def pool_size(self, name: str) -> int:
        """Slots of a pool: by the settings, else the least that a definition declares, else 1."""
        return self.settings_sizes.get(name) or self.declared_size(name) or self._of_runs().get(name, 1)

    def _of_runs(self) -> dict[str, int]:
        if self._sizes_of_runs is None:
            self._sizes_of_runs = {}
            for live in self._live.values():
                for name, size in live.workflow.pools.items():
                    self._sizes_of_runs[name] = min(size, self._sizes_of_runs.get(name, size))
        return self._sizes_of_runs

    def came_or_went(self, live: LiveRun) -> None:
        """A run is live, or is no longer: pools may have other sizes."""
        if live.workflow.pools:
            self._sizes_of_runs = None
            self.places.stir()

    # ---- Asking, holding, giving back

    def ask(self, live: LiveRun) -> bool:
        """Let a run ask for what it holds from its start on; False where that is nothing."""
        if live.want is None:
            return False
        key = live.meta.created_us - live.workflow.priority * PRIORITY_US
        self.places.ask(Who(live.meta.run, RUN), live.want, key, self._callers(live))
        return True

    def leave(self, live: LiveRun) -> None:
        """The run has ended, or has to wait for something else."""
        self.places.leave(Who(live.meta.run, RUN))

    def changed(self, live: LiveRun, task: TaskRun) -> None:
        """A task that takes places is in another state: it asks, or gives back (rule R7)."""
        if task.state is TaskState.RUNNING:
            return
        who = Who(live.meta.run, task.index)
        self.places.leave(who)
        if task.state is TaskState.QUEUED:
            key = self._clock.wall_us() - task.definition.priority * PRIORITY_US
            want, chain = live.want_of(task.definition), self._part_of(live)
            self.places.ask(who, want, key, chain, needs_host=task.holds_host)

    def take_up(self, live: LiveRun) -> None:
        """After a restart, callers before those whom they called: whatever is under way holds its places."""
        chain = self._callers(live)
        if live.run.state is RunState.RUNNING and live.want and live.run.refused is None:
            self.places.hold(Who(live.meta.run, RUN), live.want, chain)
        for task in live.by_index:
            if task.shared and task.state is TaskState.RUNNING and task.fan is None:
                self.places.hold(Who(live.meta.run, task.index), live.want_of(task.definition), self._part_of(live))
            elif task.shared and task.state is TaskState.QUEUED:
                self.changed(live, task)

    def join(self, live: LiveRun, task: TaskRun, run: int) -> None:
        """A task waits for the end of a run that it has not called itself."""
        self.places.join(Who(live.meta.run, task.index), run, self._part_of(live))

    def part(self, live: LiveRun, task: TaskRun, run: int) -> None:
        """It does not any more; safe for one that did not."""
        self.places.part(Who(live.meta.run, task.index), run)

    def _part_of(self, live: LiveRun) -> list[Who]:
        return [Who(live.meta.run, RUN), *self._callers(live)]

    def _callers(self, live: LiveRun) -> list[Who]:
        """The attempt that called a run, that one's run, and so on."""
        chain: list[Who] = []
        while live.caller is not None:
            parent, task = live.caller
            chain += (Who(parent.meta.run, task.index), Who(parent.meta.run, RUN))
            live = parent
        return chain

    # ---- For people

    def waits_for(self, run: int, named: Named, node: int = RUN) -> str:
        """What a run or a task waits for, and who has it; empty where it waits for no place."""
        parts = []
        for obstacle in self.places.obstacles(Who(run, node)):
            how = "held by" if obstacle.holders else "kept for"
            parts.append(f"{self.named(obstacle.place)}, {how} {self.told(obstacle.holders or obstacle.before, named)}")
        return "; ".join(parts)

    def named(self, place: Place) -> str:
        if place.sort is Sort.POOL:
            return f"pool {place.name} ({self.places.used(place)} of {self.pool_size(place.name)} slots in use)"
        return f"group {place.name}" if place.sort is Sort.GROUP else f"lock {place.name}"

    def told(self, some: tuple[Who, ...], named: Named) -> str:
        """The runs that hold places or wait, a few of them; of one whose workflow may not be named not its number."""
        runs = list(dict.fromkeys(who.run for who in some))
        few = ", ".join(self._run_text(run, named) for run in runs[:HOLDERS_TOLD])
        return few + (f" and {len(runs) - HOLDERS_TOLD} more" if len(runs) > HOLDERS_TOLD else "")

    def _run_text(self, run: int, named: Named) -> str:
        workflow = self._live[run].meta.workflow
        told = named(workflow)
        return f"run {run} ({workflow})" if told == workflow else f"a run of {told}"

    def sized_pools(self) -> set[str]:
        """Pools that the settings, a definition in force or a live run gives a size."""
        return {*self.settings_sizes, *self.declared_pools(), *self._of_runs()}
