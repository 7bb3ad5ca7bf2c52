"""Words for times (in the host's zone, which is said) and for lengths of time; numbers and sizes for people. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pyflowd.clock import US, from_us
from pyflowd.render.layout import span

YEAR = timedelta(days=330)
_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


class When(NamedTuple):
    """An instant, as the macro `when` of parts/times.html draws it."""

    text: str
    """`02:30 CET` today, `Tue 24 Nov 02:30 CET` within a year, else with the year."""
    iso: str
    """RFC 3339."""
    relative: str
    """`14 min ago`, `in 23 h 17 min`, `now`."""
    at_us: int


class Times:
    """Of one page: its zone, and what is now."""

    def __init__(self, zone: ZoneInfo, now_us: int) -> None:
        self.zone = zone
        self.now_us = now_us
        self._now = self.local(now_us)

    def local(self, at_us: int) -> datetime:
        return from_us(at_us).astimezone(self.zone)

    @property
    def zone_text(self) -> str:
        """`CET, UTC+01:00`: as it is now."""
        found = self._now.strftime("%z")
        return f"{self._now:%Z}, UTC{found[:3]}:{found[3:]}"

    def when(self, at_us: int | None, *, seconds: bool = False) -> When | None:
        """`seconds`: always; else where the instant is none of a whole minute and less than an hour away."""
        if at_us is None:
            return None
        at = self.local(at_us)
        return When(self._text(at, seconds), at.isoformat(timespec="milliseconds"), self.relative(at_us), at_us)

    def text(self, at_us: int, *, seconds: bool = False) -> str:
        """The words of `when` alone, for those of many marks."""
        return self._text(self.local(at_us), seconds)

    def slot(self, at_us: int | None) -> When | None:
        """Of a slot: with seconds only where it falls on no whole minute."""
        return self.when(at_us, seconds=at_us is not None and at_us % (60 * US) != 0)

    def _text(self, at: datetime, seconds: bool) -> str:
        now = self._now
        clock = at.strftime("%H:%M:%S %Z" if seconds else "%H:%M %Z")
        if at.date() == now.date():
            return clock
        date = f"{at:%a} {at.day} {at:%b}"
        return f"{date} {clock}" if abs(at - now) < YEAR else f"{date} {at.year} {clock}"

    def relative(self, at_us: int) -> str:
        """Two units at most."""
        seconds = (at_us - self.now_us) / US
        if abs(seconds) < 0.5:
            return "now"
        return f"in {span(seconds)}" if seconds > 0 else f"{span(seconds)} ago"

    def took(self, started_us: int | None, ended_us: int | None) -> str:
        """How long it took, or has taken so far; empty if it has not begun."""
        if started_us is None:
            return ""
        return length(max(0, (self.now_us if ended_us is None else ended_us) - started_us))


def length(us: int) -> str:
    """`0.8 s`, `42 s`, `9 min 12 s`, `3 h 12 min`, `2 d 4 h`: two units at most."""
    seconds = us / US
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{round(seconds * 1000)} ms"
    whole = round(seconds)
    for big, small, size, part in (("d", "h", 86_400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            count, rest = divmod(whole, size)
            return f"{count} {big} {rest // part} {small}" if rest // part else f"{count} {big}"
    return f"{whole} s"


def size(count: int) -> str:
    """`212 MiB`, `1.4 GiB`: one decimal below 10."""
    for unit, bytes_each in _UNITS:
        if count >= bytes_each:
            value = count / bytes_each
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{count} B"


def number(count: int) -> str:
    """`18,219`."""
    return f"{count:,}"


def counted(count: int, noun: str, several: str = "") -> str:
    """`1 run`, `18 runs`."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
