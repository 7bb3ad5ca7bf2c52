"""After a crash of the daemon or of the keeper: every attempt that the record calls live is matched with what the
keeper knows (design, start protocol). There is no branch that guesses.

    the keeper has its end             taken
    the keeper has it running          adopted
    never heard of, its epoch known    never started: started now, under the same attempt id (rule I3),
                                       or ended as cancelled where the run is stopping
    recorded as running, unknown now   unknown: record lost
    its epoch is not in the lineage    unknown: record lost
    the host was restarted             unknown: host restarted
"""

from __future__ import annotations

from collections.abc import Callable

from pyflowd.base.remains import kill_session
from pyflowd.engine.outcomes import cancelled_before_start
from pyflowd.engine.state import TaskRun
from pyflowd.model.ends import End, LostAttempt
from pyflowd.model.kinds import ProcessKind
from pyflowd.model.states import AttemptState, Lost, TaskState
from pyflowd.runtime.keeperlink import Listing
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Launch, Runs, Stop


def reconcile(runs: Runs, listing: Listing, take_end: Callable[[str, End], None], *, host_restarted: bool) -> list[str]:
    """Match every live attempt; returns the ids that the keeper has and nobody here knows (another store's).

    `take_end` takes ends, those that the keeper has kept and those that are found here.
    """
    for live in list(runs.live.values()):
        for task in live.by_index:
            if _is_process(task):
                _match(runs, live, task, listing, take_end, host_restarted=host_restarted)
    for attempt_id in listing.ended:
        if runs.is_ours(attempt_id):
            take_end(attempt_id, listing.ended[attempt_id])  # one that was recorded is only acknowledged again
    return [known for known in (*listing.running, *listing.ended) if not runs.is_ours(known)]


def _is_process(task: TaskRun) -> bool:
    return task.state is TaskState.RUNNING and task.fan is None and isinstance(task.definition.kind, ProcessKind)


def _match(
    runs: Runs,
    live: LiveRun,
    task: TaskRun,
    listing: Listing,
    take_end: Callable[[str, End], None],
    *,
    host_restarted: bool,
) -> None:
    attempt_id = runs.attempt_id(live.run, task)
    attempt = task.attempt
    assert attempt is not None
    if attempt_id in listing.ended:
        return  # taken with all other ends
    if attempt_id in listing.running:
        running = listing.running[attempt_id]
        runs.attempt_running(attempt_id, running.pid, running.started_us)
        if live.run.stopping or task.stopping:
            grace_s = 0.0 if live.run.cancels > 1 else task.definition.kill_grace_s
            runs.actions.append(Stop(attempt_id, grace_s))
    elif host_restarted:
        take_end(attempt_id, LostAttempt(why=Lost.HOST_RESTARTED, at_us=runs.clock.wall_us()))
    elif attempt.state is AttemptState.STARTING and attempt.epoch in (listing.epoch, *listing.lineage):
        if live.run.stopping or task.stopping:
            take_end(attempt_id, cancelled_before_start(runs.clock.wall_us()))
        else:
            runs.actions.append(Launch(live, task))
    else:
        if attempt.pid:  # rule R6: what still lives of it ends before it is called unknown
            marks = {
                "PYFLOW_RUN_ID": str(live.meta.run),
                "PYFLOW_TASK": task.definition.name,
                **({"PYFLOW_ITEM_KEY": task.item.key} if task.item else {}),
                "PYFLOW_ATTEMPT": str(task.attempts),
            }
            kill_session(attempt.pid, marks)
        take_end(attempt_id, LostAttempt(why=Lost.RECORD_LOST, at_us=runs.clock.wall_us()))
