"""What must hold of a store whatever was killed, looked at from outside: the database and the tasks' own witnesses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import msgspec

from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.engine.sections import HANDLERS
from pyflowd.engine.state import Run, TaskRun
from pyflowd.model.states import RUN_TERMINAL, TASK_TERMINAL, RunState, Section, TaskState
from pyflowd.model.workflow import Workflow
from pyflowd.runtime.runs import Runs, fold
from pyflowd.store.store import Store
from tests.fakes import FakeClock

_workflow = msgspec.msgpack.Decoder(Workflow)
_NODES = """
SELECT n, task, state, reason, attempts, section, owner, item_key, position, outputs, facts FROM task WHERE run = ?
"""
_KEPT = "SELECT n, task, item, key, recipe FROM cache WHERE run = ?"
_ARTIFACTS = "SELECT n, name, size, sha256 FROM artifact WHERE run = ?"


def check_fold(root: Path) -> int:
    """Rule I6: every run's rows are the fold of its events; the number of runs. The daemon must not be running."""
    store = Store(str(root / "state"))
    database = apsw.Connection(str(root / "state" / "pyflow.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        runs = Runs(store, FakeClock(), Timers(), 1, zone("UTC"))
        checked = 0
        for run_id, digest, state, reason, tasks_total in store.rows("runs_for_check"):
            workflow = _workflow.decode(store.one("compiled", digest)[0])
            folded = fold(run_id, workflow, runs.stored_events(run_id))
            assert (folded.state, folded.reason) == (state, reason), f"run {run_id}"
            assert tasks_total == len(workflow.tasks)
            _check_run(database, folded)
            _check_nodes(database, folded)
            _check_kept(database, folded)
            if RunState(state) in RUN_TERMINAL:
                _check_end(folded)
            checked += 1
        return checked
    finally:
        database.close()
        store.close()


def _check_run(database: apsw.Connection, run: Run) -> None:
    section, outputs = next(iter(database.execute("SELECT section, outputs FROM run WHERE run = ?", (run.run_id,))))
    assert (section, _decoded(outputs)) == (run.section, run.outputs or None), f"run {run.run_id}"


def _check_nodes(database: apsw.Connection, run: Run) -> None:
    """Tasks, items, handlers, undoings, with what they gave on; a node that nothing has happened to has no row."""
    rows = {row[0]: row[1:] for row in database.execute(_NODES, (run.run_id,))}
    kept = {(row[0], row[1]): row[2:] for row in database.execute(_ARTIFACTS, (run.run_id,))}
    for node in run.by_index:
        where = f"run {run.run_id}, {node.name}"
        row = rows.pop(node.index, None)
        shown = (node.name, "waiting", None, 0, node.section, _owner(node), *_item(node), None, None)
        if row is not None:
            shown = (*row[:8], _decoded(row[8]), _decoded(row[9]))
        wanted = (
            node.name, node.state, node.reason, node.attempts, node.section, _owner(node), *_item(node),
            node.outputs or None, node.facts or None,
        )  # fmt: skip
        assert shown == wanted, where
        for name, file in node.artifacts.items():
            assert kept.pop((node.index, name)) == (file.size_bytes, file.sha256), where
    assert not rows, f"run {run.run_id}: rows of nothing: {rows}"
    assert not kept, f"run {run.run_id}: artifacts of nothing: {kept}"


def _check_kept(database: apsw.Connection, run: Run) -> None:
    """What may be used again is a success of the run's own, kept under what was asked for."""
    for n, task, item, key, recipe in database.execute(_KEPT, (run.run_id,)):
        node = run.by_index[n]
        where = f"run {run.run_id}, {node.name}: kept for later"
        assert (node.state, node.reason, node.keep) == (TaskState.SUCCEEDED, None, (key, recipe)), where
        assert (node.definition.name, node.item.key if node.item else "") == (task, item), where


def _owner(node: TaskRun) -> int | None:
    return node.owner.index if node.owner else None


def _item(node: TaskRun) -> tuple[str | None, int | None]:
    return (node.item.key, node.item.position) if node.item else (None, None)


def _decoded(data: bytes | None) -> Any:
    return None if data is None else msgspec.msgpack.decode(data)


def _check_end(run: Run) -> None:
    """Of an ended run: nothing is open, and the handlers that rule H1 names have ended, the others have not begun."""
    began = run.started_us is not None
    of_outcome = HANDLERS[run.outcome] if run.outcome else None
    for node in run.by_index:
        where = f"run {run.run_id}, {node.name} of {node.section or 'tasks'}"
        if node.section is Section.ON_ERROR:
            assert node.state in TASK_TERMINAL or not node.attempts, where
        elif node.section in (Section.TASKS, Section.UNDO) or (began and node.section in (of_outcome, Section.FINALLY)):
            assert node.state in TASK_TERMINAL, where
        elif node.section is not of_outcome:
            assert not node.attempts, where


def check_witness(witness: Path) -> Counter[str]:
    """Rule I3: each attempt wrote its name once, at its start. What was written, for further questions."""
    lines = witness.read_text().splitlines() if witness.exists() else []
    started = Counter(line for line in lines if line.startswith("start "))
    twice = [line for line, times in started.items() if times > 1]
    assert not twice, f"started twice: {twice}"
    return Counter(lines)
