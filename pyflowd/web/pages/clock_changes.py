"""Days on which the clocks of a schedule's zone change, and what its slots do then, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pyflowd.clock import US, from_us
from pyflowd.protocol.views_workflows import NextView
from pyflowd.web.times import Times

_DAY_US = 86_400 * US
FIRES_SHOWN = 4


class Change(NamedTuple):
    at_us: int
    old: str
    """What the clocks would have shown: `02:00 CET`."""
    new: str
    """What they show: `03:00 CEST`."""


def clock_changes(coming: Sequence[NextView], start_us: int, end_us: int, times: Times) -> list[str]:
    """One sentence for each zone of the slots that come."""
    notes = []
    for name in dict.fromkeys(slot.timezone for slot in coming if slot.timezone):
        zone = _zone(name)
        change = None if zone is None else next_change(zone, start_us, end_us)
        if zone is not None and change is not None:
            here = Times(zone, times.now_us)
            notes.append(_sentence(change, name, [slot for slot in coming if slot.timezone == name], here))
    return notes


def _sentence(change: Change, name: str, coming: Sequence[NextView], here: Times) -> str:
    day = here.local(change.at_us).date()
    said = f"Clock change {day:%a} {day.day} {day:%b} {day.year} ({name}): {change.old} becomes {change.new}"
    fires = [here.local(slot.scheduled_us) for slot in coming if here.local(slot.scheduled_us).date() == day]
    if 0 < len(fires) <= FIRES_SHOWN:
        said += f"; that day it fires at {', '.join(f'{at:%H:%M %Z}' for at in fires)}"
    elif fires:
        said += f"; {len(fires)} slots that day"
    elif coming[-1].scheduled_us > change.at_us:
        said += "; it does not fire that day"
    return said + "."


def next_change(zone: ZoneInfo, start_us: int, end_us: int) -> Change | None:
    """The first change of the offset after `start_us`, up to `end_us`; changes are at whole minutes."""
    at = start_us
    while at < end_us:
        if _offset(zone, at) != _offset(zone, at + _DAY_US):
            low, high = at // (60 * US), (at + _DAY_US) // (60 * US)
            before = _offset(zone, at)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle * 60 * US) == before else (low, middle)
            change_us = high * 60 * US
            old = from_us(change_us - US).astimezone(zone)  # on the wall a second later, in the zone's old name
            wall = old.replace(tzinfo=None) + timedelta(seconds=1)
            new = from_us(change_us).astimezone(zone)
            return Change(change_us, f"{wall:%H:%M} {old:%Z}", f"{new:%H:%M %Z}")
        at += _DAY_US
    return None


def _offset(zone: ZoneInfo, at_us: int) -> timedelta | None:
    return from_us(at_us).astimezone(zone).utcoffset()


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
