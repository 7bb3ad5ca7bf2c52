"""What becomes of a start while runs of the same workflow are live (rule T5). Pure: it decides, others act.

A run is live from its record on: queued or running. The `overlap` that a file writes holds for starts by schedules,
`allow` for every start; any other start queues.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pyflowd.model.states import RunState, SlotReason
from pyflowd.model.workflow import Overlap


class RunRef(Struct, frozen=True, kw_only=True):
    """A live run of the workflow."""

    id: int
    state: RunState
    by_schedule: bool = False
    by_backfill: bool = False


class Start(Struct, frozen=True, kw_only=True, tag="start"):
    """The run starts now."""


class Enqueue(Struct, frozen=True, kw_only=True, tag="enqueue"):
    """The run waits behind those that are live."""


class EnqueueLatest(Struct, frozen=True, kw_only=True, tag="enqueue_latest"):
    """The run waits, in place of the runs `drop`, which are cancelled unstarted."""

    drop: tuple[int, ...]


class Replace(Struct, frozen=True, kw_only=True, tag="replace"):
    """The runs `cancel` are cancelled; the new one starts when they have ended."""

    cancel: tuple[int, ...]


class Skip(Struct, frozen=True, kw_only=True, tag="skip"):
    """There is no run; the slot is recorded as skipped."""

    reason: SlotReason
    because_of_run: int | None = None


class RefuseFull(Struct, frozen=True, kw_only=True, tag="refuse_full"):
    """There is no run, and the one who asked is told that `queued` runs wait already."""

    queued: int


Decision = Start | Enqueue | EnqueueLatest | Replace | Skip | RefuseFull


def decide(
    policy: Overlap | None,
    by_schedule: bool,
    live: Sequence[RunRef],
    queue_max: int,
    *,
    limit: int = 1,
    may_wait: bool = False,
) -> Decision:
    """What a new start does beside the `live` runs of its workflow, the oldest first.

    - `limit` of them may be live at once before the policy matters (`concurrency`).
    - `may_wait`: one that starts may still have to wait for places or gates, so those that do are bounded, too.
    - `queue_latest` drops waiting runs of schedules only: what a person or a webhook asked for was acknowledged.
    - `replace` cancels every live run, whoever asked for it: the newest is the one that is wanted.
    - A full queue refuses a person, and skips a slot (`queue_full`).
    - Beside runs of a backfill only, which makes up for the past, a slot is neither skipped nor does it cancel them: it
      waits, and the backfill waits for it.
    """
    waiting = [run for run in live if run.state is RunState.QUEUED]
    if len(live) < limit or policy is Overlap.ALLOW:
        return _full(by_schedule, live, waiting) if may_wait and len(waiting) >= queue_max else Start()
    effective = (policy or Overlap.SKIP) if by_schedule else Overlap.QUEUE
    if effective in (Overlap.SKIP, Overlap.REPLACE) and all(run.by_backfill for run in live):
        effective = Overlap.QUEUE
    if effective is Overlap.SKIP:
        return Skip(reason=SlotReason.OVERLAP, because_of_run=live[0].id)
    if effective is Overlap.REPLACE:
        return Replace(cancel=tuple(run.id for run in live))
    if effective is Overlap.QUEUE_LATEST:
        return EnqueueLatest(drop=tuple(run.id for run in waiting if run.by_schedule))
    return Enqueue() if len(waiting) < queue_max else _full(by_schedule, live, waiting)


def _full(by_schedule: bool, live: Sequence[RunRef], waiting: Sequence[RunRef]) -> Skip | RefuseFull:
    if by_schedule:
        return Skip(reason=SlotReason.QUEUE_FULL, because_of_run=live[0].id)
    return RefuseFull(queued=len(waiting))
