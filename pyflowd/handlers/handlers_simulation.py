"""The request for what a simulation starts from. See `handlers` for when what is done.

The daemon gives rows and figures and simulates nothing: that takes seconds, and is the client's. Everything is read
piece by piece, as the client takes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.control.replies import Replies
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.protocol.requests import GetSimulationBasis
from pyflowd.protocol.views_workflows import BasisPage, SimulationBasis

RUNS_LOOKED_AT = 20
"""Of each workflow; what was longer ago tells less of what comes."""
TIMES_MAX = 5_000
"""Of the tasks and items of those runs."""
WORKFLOWS_A_PAGE = 50
WORKFLOWS_MEASURED_A_PAGE = 10
EVENTS_A_PAGE = 1_000
_PARENT = 9
"""Its column in `live_runs`; the name of its task comes after it."""


class SimulationHandlers:
    """As `Handlers`: answers when pulled."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.store = of_runs.store
        self.runs = of_runs.runs
        self.workflows = of_runs.workflows
        self.access = of_runs.access

    def basis(self, _: GetSimulationBasis, peer: Peer) -> Replies:
        """What has to be of one instant is read at once; the rest can wait for the client. What he may not see is not
        in it: neither the workflows nor their runs.
        """
        sees = self.access.sight(peer).sees
        last_event = self.store.next_event - 1
        triggers = [list(row) for row in self.store.rows("triggers") if sees(row[0])]
        live = [self._alone(list(row), sees) for row in self.store.rows("live_runs") if sees(row[1])]
        yield SimulationBasis(
            now_us=self.runs.clock.wall_us(),
            mono_us=self.runs.clock.mono_us(),
            host=self.store.instance,
            timezone=self.workflows.zone.name,
            max_tasks=self.runs.max_tasks,
            pools=dict(self.runs.sharing.settings_sizes),
            next_run=self.store.next_run,
            almanac=msgspec.msgpack.encode(self.workflows.slots.almanac.entries),
        )
        yield BasisPage(read="triggers", rows=triggers)
        yield BasisPage(read="live_runs", rows=live)
        for row in live:
            yield from self._events(row[0], last_event)
        yield from self._texts({row[2] for row in live})
        names = sorted(filter(sees, self.workflows.entries))
        for at in range(0, len(names), WORKFLOWS_A_PAGE):
            yield BasisPage(read="workflows", rows=list(self._in_force(names[at : at + WORKFLOWS_A_PAGE])))
        for at in range(0, len(names), WORKFLOWS_MEASURED_A_PAGE):
            some = names[at : at + WORKFLOWS_MEASURED_A_PAGE]
            yield BasisPage(read="durations", rows=[row for name in some for row in self._durations(name)])

    def _alone(self, row: list[Any], sees: Callable[[str], bool]) -> list[Any]:
        """A live run without the one that called it, where that is of a workflow that may not be seen."""
        parent = row[_PARENT]
        if parent is not None and not sees(self.access.workflow_of_run(parent)):
            row[_PARENT : _PARENT + 2] = [None, None]
        return row

    def _events(self, run: int, last_event: int) -> Iterator[BasisPage]:
        """What made a live run what it was in that instant."""
        started_by = [[run, *row] for row in self.store.rows("run_event", run)]
        if started_by:
            yield BasisPage(read="run_event", rows=started_by)
        after = 0
        while rows := list(self.store.rows("events_of_run_after", run, after, EVENTS_A_PAGE)):
            bodies = [[run, body] for number, _, _, body in rows if number <= last_event]
            yield BasisPage(read="events_of_run", rows=bodies)
            after = rows[-1][0]

    def _texts(self, digests: set[str]) -> Iterator[BasisPage]:
        """The definitions to which live runs are bound (rule D1)."""
        for digest in sorted(digests):
            yield BasisPage(read="compiled", rows=[[digest, *row] for row in self.store.rows("compiled", digest)])

    def _in_force(self, names: list[str]) -> Iterator[list[Any]]:
        """As the statement `workflows` has them."""
        for name in names:
            entry = self.workflows.entries.get(name)
            if entry is not None:
                paused_us, paused_by = self.workflows.paused(name)
                yield [name, entry.file, entry.digest, entry.loaded_us, paused_us, paused_by, entry.compiled]

    def _durations(self, workflow: str) -> Iterator[list[Any]]:
        """Workflow, task, how many times, their median and what nine of ten keep, in us; its usual number of items.

        Of a task that never succeeded: how long it was under way until it failed, or was stopped.
        """
        from statistics import median  # costs memory; only a simulation needs it

        good: dict[str, list[int]] = {}
        bad: dict[str, list[int]] = {}
        items: dict[str, Counter[int]] = {}
        rows = self.store.rows("task_times", workflow, RUNS_LOOKED_AT, TIMES_MAX)
        for run, node, position, taken_us, succeeded in rows:
            task = node if position is None else node.partition("[")[0]
            (good if succeeded else bad).setdefault(task, []).append(max(0, taken_us))
            if position is not None:
                items.setdefault(task, Counter())[run] += 1
        for task, taken in sorted({**bad, **good}.items()):
            taken.sort()
            count = round(median(items[task].values())) if task in items else 0
            yield [workflow, task, len(taken), round(median(taken)), taken[(len(taken) - 1) * 9 // 10], count]
