"""A store that keeps nothing: it answers with the rows of a basis, and tells a record what would have been written.

`Runs` and `Workflows` take it for the real one, so the decisions of a simulation are theirs.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from pyflowd.engine.outcomes import Outcome
from pyflowd.engine.state import Run, TaskRun
from pyflowd.events import RunCreated, StoredEvent
from pyflowd.model.states import Fate
from pyflowd.simulation.simulation_model import Basis
from pyflowd.store.batch import Batch, RunMeta, Value
from pyflowd.store.store import Row, Store

KEYED = frozenset({"compiled", "events_of_run", "run_event"})
"""Statements that ask for one key: the first entry of a basis' row."""


class Witness(Protocol):
    """Who is told of what happens."""

    def slot(
        self,
        workflow: str,
        trigger: str,
        scheduled_us: int,
        fate: Fate,
        reason: str | None,
        run: int | None,
        detail: str,
    ) -> None: ...

    def run_created(self, meta: RunMeta) -> None: ...

    def run_changed(self, run: Run) -> None: ...

    def task_changed(self, run: Run, task: TaskRun) -> None: ...

    def attempt_started(self, run: Run, task: TaskRun) -> None: ...

    def attempt_running(self, run: Run, task: TaskRun) -> None: ...


class Told(Batch):
    """A batch that is never committed."""

    __slots__ = ("_witness",)

    def __init__(self, witness: Witness) -> None:
        super().__init__(1)
        self._witness = witness

    def add(self, name: str, *bindings: Value) -> None:
        """Nothing is written."""

    def event(self, run: int | None, event: StoredEvent, outcome: Outcome | None = None) -> None:
        """Nor this."""

    def run_created(self, meta: RunMeta, created: RunCreated, state: str, tasks_total: int) -> None:
        self._witness.run_created(meta)

    def run_state(self, run: Run) -> None:
        self._witness.run_changed(run)

    def task_changed(self, run: Run, task: TaskRun, at_us: int) -> None:
        self._witness.task_changed(run, task)

    def attempt_started(self, run: Run, task: TaskRun, epoch: str, at_us: int) -> None:
        self._witness.attempt_started(run, task)

    def attempt_running(self, run: Run, task: TaskRun, pid: int, started_us: int) -> None:
        self._witness.attempt_running(run, task)

    def attempt_ended(self, run: Run, task: TaskRun, at_us: int) -> None:
        """What became of its task is told by that."""

    def slot(
        self,
        workflow: str,
        trigger: str,
        scheduled_us: int,
        fate: Fate,
        reason: str | None,
        run: int | None,
        detail: str = "",
    ) -> None:
        self._witness.slot(workflow, trigger, scheduled_us, fate, reason, run, detail)


class MemoryStore(Store):
    """Reads of a basis; a statement that it has no rows for has none."""

    def __init__(self, basis: Basis, witness: Witness) -> None:  # a Store's own would open files
        self.instance = basis.host
        self.folder = ""
        self.next_run = basis.next_run
        self.next_event = 1
        self._batch = Told(witness)
        self._rows: dict[str, list[Row]] = {}
        self._keyed: dict[str, dict[object, list[Row]]] = {}
        for name, rows in basis.rows.items():
            if name in KEYED:
                of = self._keyed[name] = {}
                for key, *row in rows:
                    of.setdefault(key, []).append(tuple(row))
            else:
                self._rows[name] = [tuple(row) for row in rows]

    def close(self) -> None:
        """There is nothing to close."""

    def batch(self) -> Batch:
        return self._batch

    def commit(self, batch: Batch) -> None:
        """Nothing is kept."""

    def rows(self, name: str, *bindings: object) -> Generator[Row, None, None]:
        if name in KEYED:
            yield from self._keyed.get(name, {}).get(bindings[0], ())
        else:
            yield from self._rows.get(name, ())

    def one(self, name: str, *bindings: object) -> Row:
        row: Any = self.one_or_none(name, *bindings)
        return (None,) if row is None else row

    def meta(self, key: str) -> str | None:
        return None
