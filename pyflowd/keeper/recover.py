"""What a new keeper makes of its predecessor's journal: kill what lives of it, keep its ends, call the rest lost."""

from __future__ import annotations

import time

from pyflowd.keeper.attempt import OVER, Attempt
from pyflowd.keeper.cgroups import name_of
from pyflowd.keeper.hunt import kill_all_tagged
from pyflowd.keeper.journal import LINEAGE, Past
from pyflowd.keeper.wire import LOST, End

PATIENCE_S = 10.0
KEEPER_LOST = "keeper lost"
HOST_RESTARTED = "host restarted"


def kill_remains(past: Past, boot_id: str) -> int:
    """Kill all that lives of unfinished attempts, and what ended ones left; how many could not be killed.

    Of another boot nothing lives.
    """
    if past.boot_id != boot_id:
        return 0
    wanted = dict(past.orphans.values())
    for entry in past.attempts.values():
        if entry.end is None:
            wanted[entry.tag] = entry.began_us
    return kill_all_tagged(wanted, past.tag_step, PATIENCE_S)


def cgroups_of(past: Past) -> set[str]:
    """What the cgroups of unfinished attempts, and of ended ones that left something, may be called."""
    found = {(name, entry.tag) for name, entry in past.attempts.items() if entry.end is None}
    found |= {(name, tag) for name, (tag, _) in past.orphans.items()}
    return {name_of(name, tag, lasting=lasting) for name, tag in found for lasting in (False, True)}


def kept_attempts(past: Past, boot_id: str) -> list[Attempt]:
    """The records to keep on: each has an end, the unfinished ones that they are lost."""
    why = KEEPER_LOST if past.boot_id == boot_id else HOST_RESTARTED
    lost: End = (LOST, (why, str(time.time_ns() // 1000)))
    kept = []
    for name, entry in past.attempts.items():
        attempt = Attempt(name)
        attempt.phase = OVER
        attempt.tag, attempt.began_us = entry.tag, entry.began_us
        attempt.pid, attempt.started_us = entry.pid, entry.started_us
        attempt.end = entry.end or lost
        kept.append(attempt)
    return kept


def lineage(past: Past) -> tuple[str, ...]:
    """Epochs whose journal is inherited, newest first."""
    return ((past.epoch, *past.lineage) if past.epoch else past.lineage)[:LINEAGE]
