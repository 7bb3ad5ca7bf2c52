"""What a rerun takes over from the run that it repeats. Pure."""

from __future__ import annotations

from pyflowd.model import TaskState, Workflow

KEPT = (TaskState.SUCCEEDED, TaskState.SKIPPED)


def tasks_to_keep(run_tasks: dict[str, TaskState], workflow: Workflow, again: set[str]) -> dict[str, TaskState]:
    """What a rerun takes over: succeeded and skipped tasks, neither in `again` nor below one that is done again.

    `run_tasks`: the state of each task in the run that is repeated; a task that is not in it is done again.
    """
    children: dict[str, list[str]] = {task.name: [] for task in workflow.tasks}
    for task in workflow.tasks:
        for need in task.needs:
            children[need].append(task.name)
    redo = {task.name for task in workflow.tasks if task.name in again or run_tasks.get(task.name) not in KEPT}
    todo = list(redo)
    while todo:
        for child in children[todo.pop()]:
            if child not in redo:
                redo.add(child)
                todo.append(child)
    return {task.name: run_tasks[task.name] for task in workflow.tasks if task.name not in redo}
