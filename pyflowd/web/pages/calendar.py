"""A month of slots: what became of those that have passed, and which are to come. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from pyflowd.clock import US, to_us
from pyflowd.protocol.views_workflows import NextView, SlotView
from pyflowd.web.drawing import link_to
from pyflowd.web.marks import Mark, mark
from pyflowd.web.pages.clock_changes import clock_changes
from pyflowd.web.times import Times

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
WORST = (
    "failed", "unknown", "upstream_failed", "cancelled", "running", "retrying", "queued", "skipped", "fired",
    "succeeded", "coming",
)  # fmt: skip
AHEAD_US = 200 * 86_400 * US
"""How far ahead of the present month a change of the clocks is spelled out."""


class Day(Struct, frozen=True, kw_only=True):
    label: str
    iso: str
    today: bool
    off: bool
    """Of another month."""
    mark: Mark | None = None
    count: int = 0
    title: str = ""
    href: str = ""


class Calendar(Struct, frozen=True, kw_only=True):
    title: str
    weekdays: list[str]
    weeks: list[list[Day]]
    before_href: str
    after_href: str
    now_href: str
    """Empty: it is the present month."""
    notes: list[str]


class Month(Struct, frozen=True, kw_only=True):
    """The days that are shown: whole weeks, from a Monday on."""

    first: date
    start: date
    end: date
    """The day after the last."""
    now: bool

    def from_us(self, zone: ZoneInfo) -> int:
        return to_us(datetime(self.start.year, self.start.month, self.start.day, tzinfo=zone))

    def until_us(self, zone: ZoneInfo) -> int:
        return to_us(datetime(self.end.year, self.end.month, self.end.day, tzinfo=zone))


def month(text: str, times: Times) -> Month:
    """`2026-11`; anything else is the present one."""
    now = times.local(times.now_us).date().replace(day=1)
    found = _MONTH.fullmatch(text)
    first = date(int(found[1]), int(found[2]), 1) if found and 1970 <= int(found[1]) <= 2200 else now
    start = first - timedelta(days=first.weekday())
    end = _next(first)
    end += timedelta(days=-end.weekday() % 7)
    return Month(first=first, start=start, end=end, now=first == now)


def _next(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def calendar(
    workflow: str, shown: Month, slots: Sequence[SlotView], states: Mapping[int, str], coming: Sequence[NextView],
    times: Times, *, more: str = "",
) -> Calendar:  # fmt: skip
    """`states`: run to its state, as far as known. `coming`: may reach beyond the month. `more`: what is left out."""
    days: dict[date, list[str]] = {}
    first_at: dict[date, int] = {}
    for slot in slots:
        state = states.get(slot.run, "fired") if slot.fate == "fired" and slot.run else str(slot.fate.value)
        day = times.local(slot.scheduled_us).date()
        days.setdefault(day, []).append(state)
        first_at.setdefault(day, slot.scheduled_us)
    for slot_ahead in coming:
        day = times.local(slot_ahead.scheduled_us).date()
        days.setdefault(day, []).append("coming")
        first_at.setdefault(day, slot_ahead.scheduled_us)
    today = times.local(times.now_us).date()
    cells = [
        _day(workflow, shown, shown.start + timedelta(days=n), days, first_at, today, times)
        for n in range((shown.end - shown.start).days)
    ]
    before, after = (shown.first - timedelta(days=1)).strftime("%Y-%m"), _next(shown.first).strftime("%Y-%m")
    here = ["workflows", workflow]
    return Calendar(
        title=f"{shown.first:%B %Y}", weekdays=["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        weeks=[cells[n : n + 7] for n in range(0, len(cells), 7)],
        before_href=link_to(*here, month=before) + "#schedule", after_href=link_to(*here, month=after) + "#schedule",
        now_href="" if shown.now else link_to(*here) + "#schedule",
        notes=[*([more] if more else []), *_changes(shown, coming, times)],
    )  # fmt: skip


def _day(
    workflow: str, shown: Month, day: date, days: Mapping[date, Sequence[str]], first_at: Mapping[date, int],
    today: date, times: Times,
) -> Day:  # fmt: skip
    states = days.get(day, ())
    label = f"{day.day} {day:%b}" if day.day == 1 or day == shown.start else str(day.day)
    plain = Day(label=label, iso=day.isoformat(), today=day == today, off=day.month != shown.first.month)
    if not states:
        return plain
    worst = min(states, key=lambda state: WORST.index(state) if state in WORST else 0)
    clock = times.local(first_at[day]).strftime("%H:%M %Z")
    told = Counter(states)
    words = ", ".join(f"{count} {mark(state).word.lower()}" for state, count in told.items())
    if len(states) == 1:
        words = f"{mark(worst).word}, {clock}"
    return Day(
        label=label, iso=plain.iso, today=plain.today, off=plain.off, mark=mark(worst), count=len(states),
        title=f"{day:%a} {day.day} {day:%b}: {words}",
        href=link_to("slots", workflow=workflow, **{"from": day.isoformat(), "to": day.isoformat()})
        if set(states) != {"coming"} else "",
    )  # fmt: skip


def _changes(shown: Month, coming: Sequence[NextView], times: Times) -> list[str]:
    start = max(times.now_us, shown.from_us(times.zone))
    end = start + AHEAD_US if shown.now else shown.until_us(times.zone)
    return clock_changes(coming, start, end, times)
