"""Rule I6, looked at from outside: is what the rows of a run show the fold of its events? Pure but for what it reads.

It changes nothing, and knows nothing of how the rows came to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pyflowd.engine.sections import HANDLERS
from pyflowd.engine.state import Run, TaskRun
from pyflowd.events import StoredEvent
from pyflowd.model.states import RUN_TERMINAL, TASK_TERMINAL, AttemptState, RunState, Section, TaskState
from pyflowd.model.workflow import Workflow
from pyflowd.runtime.runs import UNREADABLE, fold
from pyflowd.store.snapshot import Snapshot
from pyflowd.store.store import Row

_workflow = msgspec.msgpack.Decoder(Workflow)
_event = msgspec.msgpack.Decoder(StoredEvent)


def differences(snapshot: Snapshot, row: Row, known: dict[str, Workflow]) -> Iterator[str]:
    """What is wrong with one run, a line each; `row` is one of `check_runs`, `known` keeps decoded definitions."""
    run_id, _, digest = row[:3]
    where = f"run {run_id}"
    try:
        workflow = known.get(digest) or _definition(snapshot, digest)
        if workflow is None:
            return  # said of all such runs at once
        known[digest] = workflow
        events = [_event.decode(each[0]) for each in snapshot.rows("events_of_run", run_id)]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        yield f"{where}: it cannot be read: {error}"
        return
    if not events:
        yield f"{where}: it has no events"
        return
    try:
        folded = fold(run_id, workflow, events)
    except UNREADABLE as error:
        yield f"{where}: its events tell no run: {type(error).__name__}: {error}"
        return
    try:
        yield from _of_run(folded, workflow, row)
        yield from _of_nodes(snapshot, folded)
        yield from _of_cache(snapshot, folded)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        yield f"{where}: a value of its rows cannot be read: {error}"
    if folded.state in RUN_TERMINAL:
        yield from _open_nodes(folded)


def _definition(snapshot: Snapshot, digest: str) -> Workflow | None:
    compiled = next((each[0] for each in list(snapshot.rows("compiled", digest))), None)
    return None if compiled is None else _workflow.decode(compiled)


def _of_run(run: Run, workflow: Workflow, row: Row) -> Iterator[str]:
    _, name, _, state, reason, error, started_us, ended_us, section, outputs, total = row
    shown = (name, state, reason, error, started_us, ended_us, section, _decoded(outputs), total)
    wanted = (
        workflow.name, run.state, run.reason, run.error, run.started_us, run.ended_us, run.section,
        run.outputs or None, len(workflow.tasks),
    )  # fmt: skip
    named = ("workflow", "state", "reason", "error", "started", "ended", "section", "outputs", "tasks")
    yield from _unlike(f"run {run.run_id}", named, shown, wanted)


def _of_nodes(snapshot: Snapshot, run: Run) -> Iterator[str]:
    """Tasks, items, handlers, undoings, with what they gave on; a node that nothing has happened to has no row."""
    rows = {row[0]: row[1:] for row in snapshot.rows("check_tasks", run.run_id)}
    kept = {(row[0], row[1]): row[2:4] for row in snapshot.rows("check_artifacts", run.run_id)}
    tries = {row[0]: row[1:] for row in snapshot.rows("check_attempts", run.run_id)}
    named = ("name", "state", "reason", "attempts", "section", "owner", "item", "position", "outputs", "facts")
    for node in run.by_index:
        where = f"run {run.run_id}, {node.name}"
        row = rows.pop(node.index, None)
        shown: tuple[Any, ...] = (node.name, "waiting", None, 0, node.section, _owner(node), *_item(node), None, None)
        if row is not None:
            shown = (*row[:8], _decoded(row[8]), _decoded(row[9]))
        wanted = (
            node.name, node.state, node.reason, node.attempts, node.section, _owner(node), *_item(node),
            node.outputs or None, node.facts or None,
        )  # fmt: skip
        yield from _unlike(where, named, shown, wanted)
        for name, file in node.artifacts.items():
            if kept.pop((node.index, name), None) != (file.size_bytes, file.sha256):
                yield f"{where}: the row of its artifact {name} is not what its events tell"
        yield from _of_attempts(where, node, tries.pop(node.index, (0, 0, None)))
    for unknown in (rows, kept, tries):
        if unknown:
            yield f"run {run.run_id}: {len(unknown)} rows of tasks, artifacts or attempts that no event tells of"


def _of_attempts(where: str, node: TaskRun, shown: Row) -> Iterator[str]:
    """One row for each attempt that has begun, without a gap, and the newest as it ended."""
    count, newest, state = shown
    begun = 0 if node.attempt is None or node.fan is not None else node.attempts
    if count != newest or count != begun:
        yield f"{where}: {count} attempts have rows, and its events tell of {begun}"
    elif node.attempt is not None and node.attempt.outcome is not None and state != node.attempt.outcome.state:
        yield f"{where}: attempt {newest} is shown as {state}, and its events tell {node.attempt.outcome.state}"


def _of_cache(snapshot: Snapshot, run: Run) -> Iterator[str]:
    """What may be used again is a success of the run's own, kept under what was asked for."""
    for n, task, item, key, recipe in snapshot.rows("check_cache", run.run_id):
        node = run.by_index[n] if n < len(run.by_index) else None
        where = f"run {run.run_id}, {node.name if node else n}: kept for later"
        if node is None or (node.state, node.reason, node.keep) != (TaskState.SUCCEEDED, None, (key, recipe)):
            yield f"{where}: it is no success under that key"
        elif (node.definition.name, node.item.key if node.item else "") != (task, item):
            yield f"{where}: it is kept as {task} {item}".rstrip()


def _open_nodes(run: Run) -> Iterator[str]:
    """Of an ended run: nothing is open, and the handlers that rule H1 names have ended, the others have not begun."""
    began = run.started_us is not None
    of_outcome = HANDLERS[run.outcome] if run.outcome else None
    for node in run.by_index:
        if node.section is Section.ON_ERROR:
            right = node.state in TASK_TERMINAL or not node.attempts
        elif node.section in (Section.TASKS, Section.UNDO) or (began and node.section in (of_outcome, Section.FINALLY)):
            right = node.state in TASK_TERMINAL
        else:
            right = node.section is of_outcome or not node.attempts
        if not right:
            yield f"run {run.run_id} has ended, and {node.name} of {node.section or 'its tasks'} is {node.state}"


def _unlike(where: str, named: tuple[str, ...], shown: tuple[Any, ...], wanted: tuple[Any, ...]) -> Iterator[str]:
    for name, one, other in zip(named, shown, wanted, strict=True):
        if one != other:
            yield f"{where}: its {name} is {_short(one)} in the row, and by its events {_short(other)}"


def _short(value: object) -> str:
    text = repr(str(value) if isinstance(value, (RunState, TaskState, AttemptState, Section)) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _owner(node: TaskRun) -> int | None:
    return node.owner.index if node.owner else None


def _item(node: TaskRun) -> tuple[str | None, int | None]:
    return (node.item.key, node.item.position) if node.item else (None, None)


def _decoded(data: bytes | None) -> Any:
    return None if data is None else msgspec.msgpack.decode(data)
