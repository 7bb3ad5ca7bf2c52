"""What must hold of a store whatever was killed, looked at from outside: the database and the tasks' own witnesses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from pyflowd.model import RUN_TERMINAL, TASK_TERMINAL, RunState, TaskState, Workflow
from pyflowd.runs import Runs, fold
from pyflowd.store.store import Store
from pyflowd.timers import Timers
from tests.fakes import FakeClock

_workflow = msgspec.msgpack.Decoder(Workflow)


def check_fold(root: Path) -> int:
    """Rule I6: every run's rows are the fold of its events; the number of runs. The daemon must not be running."""
    store = Store(str(root / "state"))
    try:
        runs = Runs(store, FakeClock(), Timers(), 1)
        checked = 0
        for run_id, digest, state, reason, tasks_total in store.rows("runs_for_check"):
            workflow = _workflow.decode(store.one("compiled", digest)[0])
            folded = fold(run_id, workflow, runs.stored_events(run_id))
            assert (folded.state, folded.reason) == (state, reason), f"run {run_id}"
            assert tasks_total == len(workflow.tasks)
            rows = {row[1]: row for row in store.rows("tasks", run_id, 0, -1)}
            for task in folded.tasks.values():
                row = rows.get(task.name)
                shown = (TaskState(row[2]), row[3], row[5]) if row else (TaskState.WAITING, None, 0)
                assert shown == (task.state, task.reason, task.attempts), f"run {run_id}, {task.name}"
            if RunState(state) in RUN_TERMINAL:
                assert all(task.state in TASK_TERMINAL for task in folded.tasks.values())
            checked += 1
        return checked
    finally:
        store.close()


def check_witness(witness: Path) -> Counter[str]:
    """Rule I3: each attempt wrote its name once, at its start. What was written, for further questions."""
    lines = witness.read_text().splitlines() if witness.exists() else []
    started = Counter(line for line in lines if line.startswith("start "))
    twice = [line for line, times in started.items() if times > 1]
    assert not twice, f"started twice: {twice}"
    return Counter(lines)
