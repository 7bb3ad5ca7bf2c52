"""Runs for slots of the past: which trigger, how many at once, and when the next may be recorded. Pure.

A backfill makes up for the past, so it gives way: what a schedule or a person asks for goes first. It knows nothing of
the store, and of how a run is recorded (`backfill_runs`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from pyflowd.engine.overlap import RunRef
from pyflowd.errors import NotFound, Refused, nearest
from pyflowd.language import params as parameters
from pyflowd.model.triggers import Schedule
from pyflowd.model.workflow import Overlap, Param
from pyflowd.schedules.schedule import Times

SLOTS_MAX = 100_000
"""Of one backfill; whoever asks for more is told before anything is recorded."""
PARALLEL_MAX = 1000


class Backfill(Struct, frozen=True, kw_only=True):
    """What was asked for, and how far it is; `recorded` and what follows count runs that are durable or about to be."""

    backfill: int
    workflow: str
    trigger: str
    from_us: int
    until_us: int
    params: dict[str, Any] = {}
    """Given over those of the trigger."""
    parallel: int = 1
    newest_first: bool = False
    only_missing: bool = False
    requested_by: str = ""
    created_us: int = 0
    total: int = 0
    recorded: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    error: str = ""
    cancelled_by: str = ""
    ended_us: int | None = None

    @property
    def waiting(self) -> int:
        """Slots that are still to become runs."""
        return 0 if self.cancelled_by or self.ended_us else self.total - self.recorded - self.refused

    @property
    def ended_runs(self) -> int:
        return self.succeeded + self.failed + self.cancelled


def pick_trigger(workflow: str, triggers: Sequence[Schedule], named: str) -> Schedule:
    """The schedule whose slots are meant. Raises NotFound, or Refused where that cannot be told."""
    timed = [trigger for trigger in triggers if trigger.cron != "@reboot"]
    names = [trigger.name for trigger in timed]
    if named:
        for trigger in timed:
            if trigger.name == named:
                return trigger
        raise NotFound(f'{workflow} has no schedule "{named}"{nearest(named, names)}; it has {_listed(names)}')
    if not timed:
        raise Refused(f"{workflow} has no schedule, so that there are no slots that it could have missed")
    if len(timed) > 1:
        raise Refused(f"{workflow} has several schedules; say which one with --trigger: {_listed(names)}")
    return timed[0]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def check_parallel(workflow: str, parallel: int, policy: Overlap | None, limit: int) -> None:
    """Raises Refused where so many runs of the workflow will never be live at once (rule T5)."""
    if parallel > PARALLEL_MAX:
        raise Refused(f"{parallel} runs at once are asked for; at most {PARALLEL_MAX}")
    if policy is not Overlap.ALLOW and parallel > limit:
        many = "one run" if limit == 1 else f"{limit} runs"
        raise Refused(
            f"{workflow} has at most {many} at once; take a smaller --parallel, or let its file say "
            f"overlap: allow, or concurrency: {{limit: {parallel}}}"
        )


def given_params(declared: Sequence[Param], given: dict[str, Any], *, from_text: bool) -> dict[str, Any]:
    """Values of a command line as their declared types read them; others are left for `params.bind` to judge."""
    if not from_text:
        return given
    by_name = {param.name: param for param in declared}
    values = {}
    for name, text in given.items():
        try:
            values[name] = parameters.read_text(by_name[name], text) if name in by_name else text
        except ValueError as error:
            raise Refused(f"params: {name}: {error}") from None
    return values


def slots_between(times: Times, from_us: int, until_us: int) -> Iterator[int]:
    """The slots from `from_us` up to and with `until_us`; those that a change of the clock left out are none."""
    slot = times.next_after(from_us - 1)
    while slot is not None and slot.at_us <= until_us:
        if not slot.left_out:
            yield slot.at_us
        slot = times.next_after(slot.at_us)


def why_waiting(
    backfill: Backfill, own: int, live: Sequence[RunRef], policy: Overlap | None, limit: int, *, paused: bool
) -> str:
    """Why no further run may be recorded now, beside the `live` runs of the workflow, of which `own` are its own.

    Empty: one may.
    """
    if paused:
        return "the workflow is paused"
    if own >= backfill.parallel:
        return f"{own} of its runs {'is' if own == 1 else 'are'} live"
    others = [run for run in live if not run.by_backfill]
    if policy is Overlap.ALLOW:
        return ""
    if others:
        return f"run {others[0].id} goes first"
    if len(live) >= limit:
        return f"run {live[0].id} is live"
    return ""
