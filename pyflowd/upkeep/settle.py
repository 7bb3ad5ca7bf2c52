"""What a restored store must no longer believe: that its live runs are live, and that nothing happened since.

Nobody knows how far a run came after the backup, so it is ended: its live attempts are `unknown` (rule S5), and none of
its tasks or handlers is started. What passed between the backup and now is accounted for without being done again. The
store gets a name of its own, so that a keeper which still has attempts of the one before is never asked about them.
It knows nothing of archives and of where the store will stand.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.clock import Clock
from pyflowd.engine.state import IllegalEvent
from pyflowd.errors import Refused
from pyflowd.events import BackfillCancelled, StoreRestored
from pyflowd.model.ends import LostAttempt
from pyflowd.model.states import RUN_TERMINAL, Lost, Reason, TaskState
from pyflowd.model.workflow import Workflow
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Runs
from pyflowd.store.store import Store

BY = "restore"
"""Who ends the runs."""
RUNS_APART = 1000
_ROUNDS_MAX = 100
"""A run has seven sections; each takes two cancels at most."""
_workflow = msgspec.msgpack.Decoder(Workflow)


def settle(folder: str, *, made_at: str, instance: str, highest_run: int, clock: Clock) -> int:
    """Make the store in `folder` one that a daemon may go on with; the number of runs that were live in it.

    `highest_run`: no number up to it is given again, nor one of the thousand after it. Raises Refused.
    """
    store = Store(folder)
    try:
        runs = Runs(store, clock, Timers(), 1, zone("UTC"))
        runs.rebuild(lambda digest: _workflow.decode(store.one("compiled", digest)[0]))
        for aside in runs.aside.runs.values():
            raise Refused(f"the store of the backup cannot be gone on with: {aside.text}")
        live = list(runs.live.values())
        for each in live:
            _end(runs, each)
        now_us = clock.wall_us()
        batch = runs.batch
        for (backfill,) in list(store.rows("backfills_open")):
            workflow = store.one("backfill", backfill)[1]
            batch.host_event(BackfillCancelled(now_us, backfill, workflow, 0, BY))
        batch.add("restored_backfill_slots")
        batch.add("restored_backfills", BY, now_us)
        batch.add("restored_notifications", now_us, "the store was restored from a backup")
        batch.add("restored_event_triggers", now_us)
        batch.add("restored_claims")
        batch.add("restored_tokens")
        batch.add("restored_expectations", now_us)
        batch.add("restored_run_sequence", (max(highest_run, store.next_run) // RUNS_APART + 1) * RUNS_APART)
        batch.add("meta", "restored_us", str(now_us))
        batch.add("meta", "instance", secrets.token_hex(4))
        batch.host_event(StoreRestored(now_us, made_at, instance, len(live)))
        store.commit(batch)
        store.instance = store.meta("instance") or ""
    except (IllegalEvent, LookupError) as error:
        raise Refused(f"the store of the backup cannot be gone on with: {error}") from error
    finally:
        store.close()
    for name in ("-wal", "-shm"):
        Path(f"{store.path}{name}").unlink(missing_ok=True)  # closed well: they hold nothing
    return len(live)


def _end(runs: Runs, live: LiveRun) -> None:
    """End a run without starting anything of it: cancelled first, so that nothing follows from what is lost."""
    for _ in range(_ROUNDS_MAX):
        runs.cancel(live, BY, Reason.RESTORED)
        for task in live.by_index:
            if task.state is TaskState.RUNNING and task.fan is None and live.run.state not in RUN_TERMINAL:
                lost = LostAttempt(why=Lost.RESTORED, at_us=runs.clock.wall_us())
                runs.attempt_ended(runs.attempt_id(live.run, task), lost)
        if live.run.state in RUN_TERMINAL:
            return
    raise Refused(f"run {live.meta.run} of the backup does not end")
