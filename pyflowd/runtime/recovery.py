"""After a crash of the daemon or of the keeper: every attempt that the record calls live is matched with what the
keeper knows (design, start protocol). There is no branch that guesses.

    it was to restart the host,        succeeded: the word of its program, written before the command was started, says
    had begun to, and the boot is      that it had begun. Without that word the command never ran, and something else
    another one                        restarted the host: unknown, like any other attempt of that time. In the same
                                       boot the restart may still come: `endings` waits for it
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
from pyflowd.model.ends import End, Exit, HostRestarted, LostAttempt, StartFailure, Stop
from pyflowd.model.kinds import ProcessKind, Reboot
from pyflowd.model.states import AttemptState, Lost, TaskState
from pyflowd.runtime.keeperlink import Listing
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Launch, Runs
from pyflowd.runtime.runs import Stop as StopAttempt


def reconcile(
    runs: Runs,
    listing: Listing,
    take_end: Callable[[str, End], None],
    had_begun: Callable[[LiveRun, TaskRun], bool],
    *,
    host_restarted: bool,
) -> list[str]:
    """Match every live attempt; returns the ids that the keeper has and nobody here knows (another store's).

    `take_end` takes ends, those that the keeper has kept and those that are found here. `had_begun` says whether an
    attempt that is to restart the host has begun to.
    """
    for live in list(runs.live.values()):
        for task in live.by_index:
            if not _is_process(task):
                continue
            if _has_restarted(runs.attempt_id(live.run, task), task, listing) and had_begun(live, task):
                take_end(runs.attempt_id(live.run, task), _restart(runs, task, listing))
            else:
                _match(runs, live, task, listing, take_end, host_restarted=host_restarted)
    runs.aside.living(filter(runs.is_ours, listing.running))
    for attempt_id in listing.ended:
        if runs.is_ours(attempt_id):
            take_end(attempt_id, listing.ended[attempt_id])  # one that was recorded is only acknowledged again
    return [known for known in (*listing.running, *listing.ended) if not runs.is_ours(known)]


def _is_process(task: TaskRun) -> bool:
    return task.state is TaskState.RUNNING and task.fan is None and isinstance(task.definition.kind, ProcessKind)


def _has_restarted(attempt_id: str, task: TaskRun, listing: Listing) -> bool:
    """Whether the host was restarted since an attempt that was to do that. One that had failed before has not."""
    attempt, end = task.attempt, listing.ended.get(attempt_id)
    if attempt is None or not isinstance(task.definition.kind, Reboot) or attempt.boot_id in ("", listing.boot_id):
        return False
    failed = isinstance(end, Exit) and end.exit_code is not None and end.stop is Stop.NONE
    return not failed and not isinstance(end, StartFailure)


def _restart(runs: Runs, task: TaskRun, listing: Listing) -> HostRestarted:
    assert task.attempt is not None
    now_us = runs.clock.wall_us()
    return HostRestarted(
        boot_before=task.attempt.boot_id, boot_after=listing.boot_id, booted_us=now_us - runs.clock.mono_us(),
        at_us=now_us,
    )  # fmt: skip


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
            runs.actions.append(StopAttempt(attempt_id, grace_s))
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
