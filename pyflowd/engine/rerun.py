"""What a rerun takes over from the run that it repeats. Pure."""

from __future__ import annotations

import msgspec

from pyflowd.base.graph import closure
from pyflowd.engine.state import Run, TaskRun
from pyflowd.events import KeptItem, RunCreated
from pyflowd.model.ends import KeptFile
from pyflowd.model.states import Reason, Section, TaskState
from pyflowd.model.workflow import Workflow

KEPT = (TaskState.SUCCEEDED, TaskState.SKIPPED)


def afresh(old: Run, at_us: int) -> RunCreated:
    """Everything that the old run was asked for, again."""
    return RunCreated(at_us, not_asked=_not_asked(old))


def taken_over(old: Run, workflow: Workflow, again: set[str], at_us: int) -> RunCreated:
    """Succeeded and skipped tasks with their outputs, neither in `again` nor below one that is done again.

    What was undone is done again. A fan-out that is done again for its failed items keeps the others, by their keys
    (rule F1); it does so also where those failures were allowed.
    """
    not_asked = _not_asked(old)
    unfinished = {
        node.name for node in _tasks(old) if node.fan and not all(item.state in KEPT for item in node.fan.items)
    }
    undone = _undone(old)
    states = {node.name: node.state for node in _tasks(old)}
    todo = {task.name for task in workflow.tasks if states.get(task.name) not in KEPT}
    redo = closure(todo | again | unfinished | {name for name, _ in undone}, _children(workflow))
    kept = {task.name: states[task.name] for task in workflow.tasks if task.name not in redo}
    partly = [task.name for task in workflow.tasks if task.name in redo - again and not redo.intersection(task.needs)]
    items = {name: _items(old.tasks[name], undone) for name in (*kept, *partly) if name in old.tasks}
    return RunCreated(
        at_us,
        {name: state for name, state in kept.items() if name not in not_asked},
        {name: old.tasks[name].outputs or {} for name in kept if old.tasks[name].outputs},
        {name: found for name, found in items.items() if found},
        not_asked,
        {node.name: _artifacts(old, node) for node in old.by_index if node.artifacts and _is_kept(node, kept, items)},
    )


def _is_kept(node: TaskRun, kept: dict[str, TaskState], items: dict[str, list[KeptItem]]) -> bool:
    name = node.definition.name
    if node.item is None:
        return name in kept
    return any(item.key == node.item.key for item in items.get(name, ()))


def _artifacts(old: Run, node: TaskRun) -> dict[str, KeptFile]:
    """As the new run finds them: in the folder of the run that made them."""
    return {
        name: file if file.run else msgspec.structs.replace(file, run=old.run_id, folder=node.log_name)
        for name, file in node.artifacts.items()
    }


def _tasks(run: Run) -> list[TaskRun]:
    return [node for node in run.by_index if node.section is Section.TASKS and node.item is None]


def _not_asked(run: Run) -> tuple[str, ...]:
    return tuple(node.name for node in _tasks(run) if node.reason is Reason.NOT_ASKED)


def _undone(run: Run) -> set[tuple[str, str | None]]:
    """Tasks, or items by their keys, that have been taken back."""
    return {
        (node.owner.definition.name, node.item.key if node.item else None)
        for node in run.by_index
        if node.section is Section.UNDO and node.attempts and node.owner is not None
    }


def _items(node: TaskRun, undone: set[tuple[str, str | None]]) -> list[KeptItem]:
    if node.fan is None:
        return []
    return [
        KeptItem(each.item.key, each.item.value, each.state, each.outputs or {})
        for each in node.fan.items
        if each.item is not None and each.state in KEPT and (node.name, each.item.key) not in undone
    ]


def _children(workflow: Workflow) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {task.name: [] for task in workflow.tasks}
    for task in workflow.tasks:
        for need in task.needs:
            children[need].append(task.name)
    return children


def only(workflow: Workflow, asked: set[str]) -> tuple[str, ...]:
    """The tasks that are left out where only `asked`, and what they need, are to run."""
    needed = closure(asked, {task.name: list(task.needs) for task in workflow.tasks})
    return tuple(task.name for task in workflow.tasks if task.name not in needed)
