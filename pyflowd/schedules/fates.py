"""What becomes of slots: of those that come due, and of those that passed while nobody was there (rules T1, T6, T8).

Pure. It joins what was decided elsewhere and knows nothing of the store or of runs. The order of reasons is one, so
that of two the same one is always told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from pyflowd.clock import US
from pyflowd.engine.overlap import Decision, RefuseFull, Skip
from pyflowd.model.states import SlotReason
from pyflowd.model.triggers import Catchup, CatchupPolicy, Schedule

DEFAULT_CATCHUP = Catchup()
"""Rule T6: the newest, if it is at most an hour old."""


class Due(Struct, frozen=True, kw_only=True):
    """A slot whose time has come; the caller records it as exactly one row (rule T1)."""

    workflow: str
    trigger: Schedule
    scheduled_us: int
    """Its nominal time, which is its identity."""
    due_us: int
    """With the jitter: when it should start."""
    reason: SlotReason | None = None
    """`late`, `clock_step`, `dst`: not to be fired; None: to be fired, unless `fate` finds a reason not to."""


class Bar(Struct, frozen=True):
    """Why a calendar or a blackout lets nothing start at some time."""

    reason: SlotReason
    detail: str
    """Which one, for people."""
    until_us: int | None
    """No time before this is free of it; None: none for years."""


def fate(
    due: Due, paused: bool, enabled: bool, decision: Decision, *, bar: Bar | None = None, now_us: int | None = None
) -> Decision:
    """What becomes of a due slot, in one place: `decision` (of `overlap.decide`), unless a reason stands before it.

    The order: disabled, paused, dst, calendar or blackout, late or clock step, deadline, overlap. A `Skip` is a row
    `skipped`, all else a row `fired`.
    """
    if (reason := _standing(due.reason, paused, enabled, bar)) is not None:
        return Skip(reason=reason)
    if due.reason is not None:
        return Skip(reason=due.reason)
    if now_us is not None and is_past_deadline(due.trigger, due.scheduled_us, now_us):
        return Skip(reason=SlotReason.DEADLINE)
    if isinstance(decision, RefuseFull):
        return Skip(reason=SlotReason.QUEUE_FULL)
    return decision


def missed_reason(*, left_out: bool, paused: bool, enabled: bool, bar: Bar | None) -> SlotReason:
    """Of a slot that passed while the daemon was down, and is not caught up: what would have kept it anyway, else that.

    Only a daemon that runs can be told to pause or to go on, so what is paused now was so all the time.
    """
    return _standing(SlotReason.DST if left_out else None, paused, enabled, bar) or SlotReason.DOWN


def _standing(reason: SlotReason | None, paused: bool, enabled: bool, bar: Bar | None) -> SlotReason | None:
    """What keeps a slot from starting whenever it is looked at."""
    if not enabled:
        return SlotReason.DISABLED
    if paused:
        return SlotReason.PAUSED
    if reason is SlotReason.DST:
        return reason
    return None if bar is None else bar.reason


def is_past_deadline(trigger: Schedule, scheduled_us: int, now_us: int) -> bool:
    return trigger.deadline_s is not None and now_us > scheduled_us + round(trigger.deadline_s * US)


def within_us(rule: Catchup | None) -> int:
    """How late a slot may start that could not start in time."""
    return round((rule or DEFAULT_CATCHUP).within_s * US)


def is_too_late(rule: Catchup | None, due_us: int, now_us: int) -> bool:
    """Of a slot that comes late though the daemon was there, as when the machine slept: too late to be made up."""
    return now_us - due_us > within_us(rule)


def caught_up(rule: Catchup | None, slots: Iterable[int]) -> frozenset[int]:
    """Which slots of a down time are made up for (rule T6), of those that may start and are not older than the rule
    has it, in their order.
    """
    rule = rule or DEFAULT_CATCHUP
    if rule.policy is CatchupPolicy.NONE:
        return frozenset()
    most = 1 if rule.policy is CatchupPolicy.LATEST else rule.max
    return frozenset(deque(slots, maxlen=most))
