"""The order of a run: its tasks, then the handlers that its outcome asks for, then the undoing, then `finally` (rules
H1, H2, H4, S7). Pure.

`settle` is the end of every step: it tells the children of whatever became terminal, and when nothing of the present
section is open it begins the next one, or ends the run.
"""

from __future__ import annotations

from pyflowd.engine.fanout import is_item, item_settled
from pyflowd.engine.joins import eligible, parents_ended
from pyflowd.engine.outcomes import Stopping
from pyflowd.engine.state import Decide, Question, Run, S, TaskRun, Turn, WatchHandlers, counts_as_ok
from pyflowd.model.states import RUN_TERMINAL, Reason, RunState, Section, TaskState
from pyflowd.model.workflow import UndoAfter

HANDLERS = {
    RunState.SUCCEEDED: Section.ON_SUCCESS,
    RunState.FAILED: Section.ON_FAILURE,
    RunState.CANCELLED: Section.ON_CANCEL,
}


def settle(turn: Turn, at_us: int) -> None:
    """Tell everybody whom an end concerns, as far as it goes."""
    run = turn.run
    while True:
        while turn.settled:
            _tell(turn, turn.settled.popleft())
        if run.open or run.state is not RunState.RUNNING:
            if run.state is RunState.QUEUED and run.cancelled:
                _end(turn, at_us)  # it never began: there is nothing to handle
            return
        if not _next_section(turn, at_us):
            return


def _tell(turn: Turn, task: TaskRun) -> None:
    """One node has become terminal."""
    if is_item(task):
        item_settled(turn, task)
        return
    if task.state is S.FAILED and task.definition.on_error and not turn.run.stopping and not task.error_open:
        _begin_on_error(turn, task)
        return
    if task.section is Section.ON_ERROR and task.owner is not None:
        _tell_children(turn, task)
        task.owner.error_open -= 1
        if not task.owner.error_open:
            _tell_children(turn, task.owner)
        return
    _tell_children(turn, task)


def _tell_children(turn: Turn, task: TaskRun) -> None:
    ok = counts_as_ok(task)
    for child in task.children:
        child.open_parents -= 1
        if ok:
            child.ok += 1
        elif task.state is S.SKIPPED:
            child.skipped += 1
        else:
            child.bad += 1
        if not child.open_parents and child.state is S.WAITING:
            parents_ended(turn, child)


def _begin_on_error(turn: Turn, task: TaskRun) -> None:
    """Rule H4: the nearest link of the chain; the children of the task wait for it."""
    tasks = [turn.run.tasks[handler.name] for handler in task.definition.on_error]
    task.error_open = len(tasks)
    _begin(turn, tasks)


def _begin(turn: Turn, tasks: list[TaskRun]) -> None:
    turn.run.open += len(tasks)
    for task in tasks:
        if not task.open_parents:
            eligible(turn, task)


# ---- From section to section ----------------------------------------------------------------------------------------


def _next_section(turn: Turn, at_us: int) -> bool:
    """Begin what comes next; False where the run has ended, or has to be asked for its outputs first."""
    run = turn.run
    if run.section is Section.TASKS:
        if run.outcome is None:
            run.outcome, run.reason, run.error = _outcome(run)
            if run.workflow.outputs and run.outcome is RunState.SUCCEEDED:
                turn.effects.append(Decide(Question.OUTPUTS, ""))
                return False
        _enter(turn, HANDLERS[run.outcome], at_us)
    elif run.section in HANDLERS.values():
        if run.cancelled:
            run.outcome = RunState.CANCELLED
        _enter(turn, Section.UNDO, at_us)
    elif run.section is Section.UNDO:
        _enter(turn, Section.FINALLY, at_us)
    else:
        _end(turn, at_us)
        return False
    return True


def _enter(turn: Turn, section: Section, at_us: int) -> None:
    """A cancel or a time-out of what came before is over: the handlers run in a time of their own."""
    run = turn.run
    run.section, run.section_us = section, at_us
    run.stopping, run.cancels = Stopping.NO, 0
    turn.run_changed = True
    tasks = _undoings(turn) if section is Section.UNDO else [node for node in run.by_index if node.section is section]
    if tasks:
        turn.effects.append(WatchHandlers())
        _begin(turn, tasks)


def _undoings(turn: Turn) -> list[TaskRun]:
    """What is to be taken back, newest first, one after the other (rule H1)."""
    run = turn.run
    if run.outcome is RunState.SUCCEEDED:
        return []
    done = sorted((node for node in run.by_index if _is_undone(node)), key=lambda node: -node.settled)
    undoings: list[TaskRun] = []
    for node in done:
        undo = node.definition.undo
        assert undo is not None
        suffix = f"[{node.item.key}]" if node.item else ""
        undoing = run.add(undo, Section.UNDO, node, f"{undo.name}{suffix}")
        undoing.item = node.item
        undoing.open_parents = min(1, len(undoings))
        if undoings:
            undoings[-1].children.append(undoing)
        undoings.append(undoing)
    turn.changed.extend(undoings)
    return undoings


def _is_undone(node: TaskRun) -> bool:
    if node.definition.undo is None or node.home is not Section.TASKS or node.fan is not None:
        return False
    if node.section is Section.UNDO or (node.reason is Reason.KEPT and node.state is not TaskState.SUCCEEDED):
        return False
    if node.definition.undo_after is UndoAfter.STARTED:
        return node.attempts > 0 or node.state is TaskState.SUCCEEDED
    return node.state is TaskState.SUCCEEDED


def in_progress(run: Run) -> list[TaskRun]:
    """The nodes of the present section that a stop concerns."""
    return [
        node
        for node in run.by_index
        if node.home is run.section and (node.section is not Section.ON_ERROR or _is_handling(node))
    ]


def _is_handling(node: TaskRun) -> bool:
    """Whether an `on_error` task, or an item of one, has begun."""
    handler = node.owner if node.item is not None else node
    return handler is not None and handler.owner is not None and handler.owner.error_open > 0


# ---- Ends -----------------------------------------------------------------------------------------------------------


def _outcome(run: Run) -> tuple[RunState, Reason | None, str]:
    """State, reason and facts of a run whose tasks are all terminal (rule S7)."""
    if run.cancelled:
        return RunState.CANCELLED, run.cancel_reason, ""
    if run.refused is not None:
        return RunState.FAILED, *run.refused
    if run.timed_out:
        return RunState.FAILED, Reason.TIMEOUT, "the time of the run ran out"
    if run.first_bad is not None:
        return RunState.FAILED, Reason.TASK_FAILED, _blame(run.first_bad)
    return RunState.SUCCEEDED, None, ""


def _blame(task: TaskRun) -> str:
    return f"{task.name}: {task.error or task.reason or task.state}"


def _end(turn: Turn, at_us: int) -> None:
    """What the handlers came to is added: they never turn failure into success (rule H2)."""
    run = turn.run
    outcome = run.outcome or RunState.CANCELLED
    if run.cancelled:
        run.error = run.error if outcome is RunState.FAILED else ""
        outcome, run.reason = RunState.CANCELLED, run.cancel_reason
    elif outcome is RunState.SUCCEEDED:
        for section, reason in (
            (Section.ON_SUCCESS, Reason.HANDLER_FAILED), (Section.FINALLY, Reason.FINALLY_FAILED),
        ):  # fmt: skip
            bad = run.handler_bad.get(section)
            if bad is not None:
                outcome, run.reason, run.error = RunState.FAILED, reason, _blame(bad)
                break
    run.state, run.ended_us = outcome, at_us
    turn.run_changed = True
    assert run.state in RUN_TERMINAL
