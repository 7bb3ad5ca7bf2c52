"""When the slots of one trigger are: cron laid on time zones, intervals, single times; and the jitter (T1, T3, T7).

Everything here is given `now`, and answers one question: the next slot after t. It knows nothing of other triggers, of
runs, of the store, or of what becomes of a slot. A slot is (workflow, trigger, nominal instant); instants are
microseconds since the epoch.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from pyflowd.base.zones import EARLIEST_S, LATEST_S, Stretch, Zone, host_zone, zone
from pyflowd.clock import US, to_us
from pyflowd.model.triggers import Dst, Schedule
from pyflowd.schedules.cron import Cron, parse
from pyflowd.units import duration_written

_HORIZON_S = 41 * 366 * 86_400
"""29 February on a given weekday can be 40 years away; later than that is never."""
_NEVER_US = 1 << 62


# ---- The next slot --------------------------------------------------------------------------------------------------


def next_slot(cron: Cron, zone: Zone, dst: Dst, after_us: int) -> int | None:
    """The first instant strictly after `after_us` at which `cron` is due in `zone`; None if none comes in 41 years.

    Rule T3. The walk goes from one change of the offset to the next, and all of daylight saving lies in the naive
    time at which it enters a stretch (`_entry`). A schedule whose hour field begins with a star follows elapsed time:
    both passes of a fold, nothing in a gap. Any other hour is a time on the wall: what falls into a gap runs at its
    end, what falls into a fold runs in the first pass. Times of one expression that fall into one gap run once
    together, as they are one slot, also with a time that the gap ends on. A skipped day (Pacific/Apia, 30 December
    2011) is a gap like others.
    """
    at_s = max(after_us // US + 1, EARLIEST_S)
    end_s = min(at_s + _HORIZON_S, LATEST_S)
    searched_s, found_s = 0, -1  # nothing searched yet: an empty range
    while at_s < end_s:
        stretch = zone.stretch(at_s)
        entry_s = _entry(cron, dst, stretch, at_s)
        if not searched_s <= entry_s <= found_s:  # else the search would find the same again
            minute = cron.next_from(-(-entry_s // 60))
            if minute is None:
                return None
            searched_s, found_s = entry_s, minute * 60
        slot_s = max(stretch.start_s, found_s - stretch.offset_s)
        if slot_s < stretch.end_s:
            return slot_s * US
        at_s = stretch.end_s
    return None


def _entry(cron: Cron, dst: Dst, stretch: Stretch, at_s: int) -> int:
    """The naive time, in seconds, from which a walk that comes to `stretch` at `at_s` looks for a match.

    The clock on the wall went from `before` to `after`; the gap or the fold lies between them. From `before` on
    nothing of a gap is passed over and nothing of a fold is seen twice.
    """
    here = at_s + stretch.offset_s
    after = stretch.start_s + stretch.offset_s
    before = stretch.start_s + stretch.before_s
    if cron.any_hour:
        return here
    if dst is Dst.SKIP:
        first = max(before, after)
    elif dst is Dst.BOTH:
        first = min(before, after)
    else:
        first = before
    return first if at_s == stretch.start_s else max(first, here)


def slots(cron: Cron, zone: Zone, dst: Dst, after_us: int, until_us: int) -> Iterator[int]:
    """The slots after `after_us` up to and with `until_us`, one by one."""
    at_us = next_slot(cron, zone, dst, after_us)
    while at_us is not None and at_us <= until_us:
        yield at_us
        at_us = next_slot(cron, zone, dst, at_us)


def next_left_out(cron: Cron, zone: Zone, dst: Dst, after_us: int, until_us: int) -> int | None:
    """The first instant after `after_us` and before `until_us` that would be a slot if no rule (T3) left it out.

    Of a fold these are the times of the second pass. What a gap swallows where `dst` is `skip` stands at its end, once
    for all of it, as times that do not come have no instant of their own. `until_us` is the next slot that is kept.
    """
    if cron.any_hour or cron.reboot or dst is Dst.BOTH:
        return None
    at_s = max(after_us // US + 1, EARLIEST_S)
    end_s = min(-(-until_us // US), LATEST_S)
    while at_s < end_s:
        stretch = zone.stretch(at_s)
        if stretch.offset_s != stretch.before_s:
            found_s = _left_out(cron, dst, stretch, at_s)
            if found_s is not None and found_s < end_s:
                return found_s * US
        at_s = stretch.end_s
    return None


def _left_out(cron: Cron, dst: Dst, stretch: Stretch, at_s: int) -> int | None:
    """The first instant from `at_s` on, within the change that `stretch` begins with, that is left out."""
    before, after = stretch.start_s + stretch.before_s, stretch.start_s + stretch.offset_s
    if after > before:
        if dst is not Dst.SKIP or at_s > stretch.start_s:
            return None
        minute = cron.next_from(-(-before // 60))
        return stretch.start_s if minute is not None and minute * 60 < after else None
    here = at_s + stretch.offset_s
    if here >= before:
        return None
    minute = cron.next_from(-(-here // 60))
    return minute * 60 - stretch.offset_s if minute is not None and minute * 60 < before else None


def upcoming_cron(expr: str, zone_name: str | None, from_us: int, n: int, dst: Dst = Dst.DEBIAN) -> list[int]:
    """The next `n` slots of a bare expression after `from_us`; fewer where no more come. Raises ValueError."""
    cron, where = parse(expr), zone(zone_name) if zone_name else host_zone()
    found: list[int] = []
    at_us = next_slot(cron, where, dst, from_us)
    while at_us is not None and len(found) < n:
        found.append(at_us)
        at_us = next_slot(cron, where, dst, at_us)
    return found


# ---- The times of a trigger -----------------------------------------------------------------------------------------


class Slot(NamedTuple):
    """One nominal time of a trigger."""

    at_us: int
    left_out: bool = False
    """By the change of the clock (rule T3): it is recorded, and starts nothing."""


class CronTimes(Struct, frozen=True):
    """The slots of a cron expression, those that a change of the clock leaves out among them."""

    cron: Cron
    zone: Zone
    dst: Dst

    def next_after(self, after_us: int) -> Slot | None:
        kept_us = next_slot(self.cron, self.zone, self.dst, after_us)
        if kept_us is None and self.cron.reboot:
            return None
        left_out_us = next_left_out(self.cron, self.zone, self.dst, after_us, kept_us or _NEVER_US)
        if left_out_us is not None:
            return Slot(left_out_us, left_out=True)
        return None if kept_us is None else Slot(kept_us)


class EveryTimes(Struct, frozen=True):
    """Elapsed time: each `every_us` after the anchor, which is when the trigger was loaded first."""

    anchor_us: int
    every_us: int

    def next_after(self, after_us: int) -> Slot | None:
        passed = max(0, (after_us - self.anchor_us) // self.every_us)
        at_us = self.anchor_us + (passed + 1) * self.every_us
        return Slot(at_us) if at_us < LATEST_S * US else None


class AtTimes(Struct, frozen=True):
    """Single instants, in order, each once."""

    instants: tuple[int, ...]

    def next_after(self, after_us: int) -> Slot | None:
        index = bisect_right(self.instants, after_us)
        return Slot(self.instants[index]) if index < len(self.instants) else None


Times = CronTimes | EveryTimes | AtTimes


def times_of(trigger: Schedule, host: Zone, anchor_us: int) -> Times | None:
    """When the slots of `trigger` are; None where no clock tells (`@reboot`). Raises ValueError."""
    where = zone_of(trigger, host)
    if trigger.every_s:
        return EveryTimes(anchor_us, round(trigger.every_s * US))
    if trigger.at:
        return AtTimes(tuple(sorted({instant_us(text, where) for text in trigger.at})))
    cron = parse(trigger.cron)
    return None if cron.reboot else CronTimes(cron, where, trigger.dst)


def zone_of(trigger: Schedule, host: Zone) -> Zone:
    return zone(trigger.timezone) if trigger.timezone else host


def same_times(one: Schedule, other: Schedule) -> bool:
    """Whether two texts of a trigger have the same slots."""
    return _what_decides(one) == _what_decides(other)


def _what_decides(trigger: Schedule) -> tuple[object, ...]:
    return trigger.cron, trigger.timezone, trigger.dst, trigger.every_s, trigger.at


def text_of(trigger: Schedule, host: Zone) -> str:
    """For people, as in `30 2 * * * (Europe/Berlin)`, `every 15m`."""
    if trigger.every_s:
        return f"every {duration_written(trigger.every_s)}"
    if trigger.at:
        more = f" and {len(trigger.at) - 1} more" if len(trigger.at) > 1 else ""
        return f"at {trigger.at[0]}{more} ({trigger.timezone or host.name})"
    return f"{trigger.cron} ({trigger.timezone or host.name})"


def instant_us(text: str, where: Zone) -> int:
    """An RFC 3339 time; without an offset it is a time on the wall of `where`. Raises ValueError.

    In a gap the first instant after it, in a fold the first of both (rule T3).
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is not None:
        return to_us(found)
    local = found.replace(tzinfo=where.info)
    at_us = to_us(local)
    if where.local(at_us).replace(tzinfo=None) != found:
        return where.stretch(at_us // US).start_s * US
    return at_us


def from_slots(times: Times, after_us: int, until_us: int) -> Iterator[Slot]:
    """The slots after `after_us` up to and with `until_us`, one by one."""
    slot = times.next_after(after_us)
    while slot is not None and slot.at_us <= until_us:
        yield slot
        slot = times.next_after(slot.at_us)


# ---- Jitter (rule T7) -----------------------------------------------------------------------------------------------


def jitter_us(host_id: str, workflow: str, trigger: str, jitter_s: float) -> int:
    """The stable delay after the nominal time, 0 <= delay < `jitter_s`, the same for every slot of the trigger."""
    return _share(f"{host_id}\0{workflow}\0{trigger}", int(jitter_s * US))


def random_jitter_us(
    host_id: str, workflow: str, trigger: str, jitter_s: float, at_us: int, next_us: int | None
) -> int:
    """A delay of the slot `at_us` alone. It needs no memory: after a restart the same slot has the same.

    It stays below the time to the next slot, so that no slot overtakes another one.
    """
    most_us = int(jitter_s * US)
    if next_us is not None:
        most_us = min(most_us, next_us - at_us)
    return _share(f"{host_id}\0{workflow}\0{trigger}\0{at_us}", most_us)


def _share(seed: str, most_us: int) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) * most_us >> 64
