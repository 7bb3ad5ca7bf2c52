"""Named calendars and blackouts: on which days, and at which times, schedules start nothing (rule T1). Pure.

It knows nothing of files: whoever reads them brings what was read, and why something could not be. What a schedule
names and is not there, or is broken, holds the schedule: nothing fires blindly.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.base.zones import Zone, zone
from pyflowd.model.states import SlotReason
from pyflowd.model.triggers import Schedule
from pyflowd.schedules.cron import Cron, parse
from pyflowd.schedules.fates import Bar
from pyflowd.schedules.schedule import instant_us

_LOOK_AHEAD_DAYS = 5 * 366
"""A calendar whose next day is further away has none, as far as anybody plans."""
_KEPT_DAYS = 10_000
_DAY_MINUTES = 1440


class Calendar(Struct, frozen=True, kw_only=True):
    """Days: those of its rule, and those that are added, without those that are taken away. Without any: every day."""

    rule: str = ""
    """A cron expression whose three fields of days must all fit; empty: none."""
    dates: tuple[tuple[int, int], ...] = ()
    """Days from and with the first to and with the last, as ordinals of `date`."""
    yearly: tuple[tuple[int, int], ...] = ()
    """(month, day)."""
    ics: str = ""
    """A file with events in the form of iCalendar: the days on which there is one."""
    also: tuple[str, ...] = ()
    """Calendars whose days are added."""
    without: tuple[str, ...] = ()
    """Calendars whose days are taken away in the end."""


class Blackout(Struct, frozen=True, kw_only=True):
    """A time in which nothing starts: all that is given must hold."""

    from_text: str = ""
    """RFC 3339, or a time on the wall; empty: since ever."""
    to_text: str = ""
    """The end is no part of it."""
    daily: tuple[int, int] | None = None
    """Minutes of the day, the end no part of it; over midnight where the end is not later than the begin."""
    calendars: tuple[str, ...] = ()
    """Its days, of a daily time over midnight the one on which it begins, are in all of these."""
    timezone: str | None = None
    """None: the host's."""
    for_all: bool = False
    """It holds for every schedule, named or not."""


class Entries(Struct, frozen=True, kw_only=True):
    """All that was written down of calendars and blackouts."""

    calendars: dict[str, Calendar] = {}
    blackouts: dict[str, Blackout] = {}
    events: dict[str, tuple[int, ...]] = {}
    """Days of the files that calendars name (`Calendar.ics`), as ordinals of `date`;"""
    unread: dict[str, str] = {}
    """why such a file could not be read."""
    broken: dict[str, str] = {}
    """Calendars that could not be read, and why."""


NOTHING = Entries()


class _Days:
    """A calendar with all that it names."""

    def __init__(self, calendar: Calendar, events: frozenset[int], also: list[_Days], without: list[_Days]) -> None:
        self._calendar = calendar
        self._rule: Cron | None = replace(parse(calendar.rule), either_day=False) if calendar.rule else None
        self._events = events
        self._also = also
        self._without = without
        self._every = not (calendar.rule or calendar.dates or calendar.yearly or calendar.ics or also)
        self._known: dict[int, bool] = {}

    def has(self, day: int) -> bool:
        known = self._known.get(day)
        if known is None:
            if len(self._known) >= _KEPT_DAYS:
                self._known.clear()
            known = self._known[day] = self._holds(day) and not any(each.has(day) for each in self._without)
        return known

    def _holds(self, day: int) -> bool:
        if self._every or day in self._events or any(first <= day <= last for first, last in self._calendar.dates):
            return True
        found = date.fromordinal(day)
        if (found.month, found.day) in self._calendar.yearly:
            return True
        if self._rule is not None and self._rule.days_of(found.year, found.month) >> found.day & 1:
            return True
        return any(each.has(day) for each in self._also)


class Almanac:
    """All calendars and blackouts of a host. `host`: the zone of blackouts that name none."""

    def __init__(self, entries: Entries = NOTHING, host: Zone | None = None) -> None:
        self.entries = entries
        self.host = host or zone("UTC")
        self._calendars = entries.calendars
        self._broken = dict(entries.broken)
        self._days: dict[str, _Days] = {}
        for name in self._calendars:
            self._resolve(name, ())
        self._blackouts = entries.blackouts
        self._broken_blackouts = {
            name: why for name, each in self._blackouts.items() if (why := self._missing(each.calendars))
        }
        self._for_all = tuple(name for name, each in self._blackouts.items() if each.for_all)

    # ---- What there is

    @property
    def calendars(self) -> tuple[str, ...]:
        """Names of all, broken ones among them."""
        return tuple(sorted({*self._calendars, *self._broken}))

    @property
    def blackouts(self) -> tuple[str, ...]:
        return tuple(sorted(self._blackouts))

    def problems(self) -> list[str]:
        """What is wrong with calendars and blackouts, whoever names them."""
        found = [f"calendar {name}: {why}" for name, why in sorted(self._broken.items())]
        return found + [f"blackout {name}: {why}" for name, why in sorted(self._broken_blackouts.items())]

    def held(self, trigger: Schedule) -> str:
        """Why a schedule starts nothing before somebody mends what it names; empty: it is not held."""
        missing = self._missing(trigger.calendars)
        if missing:
            return missing
        for name in (*trigger.blackouts, *self._for_all):
            if name not in self._blackouts:
                return f"there is no blackout {name}"
            if name in self._broken_blackouts:
                return f"blackout {name}: {self._broken_blackouts[name]}"
        return ""

    def _missing(self, names: tuple[str, ...]) -> str:
        for name in names:
            if name in self._broken:
                return f"calendar {name}: {self._broken[name]}"
            if name not in self._calendars:
                return f"there is no calendar {name}"
        return ""

    def _resolve(self, name: str, path: tuple[str, ...]) -> _Days | None:
        """The calendar with all that it names; None, and an entry in `_broken`, where that cannot be."""
        if name in self._days or name in self._broken:
            return self._days.get(name)
        calendar = self._calendars.get(name)
        if calendar is None:
            return None
        if name in path:
            self._broken[name] = f"it is made of itself: {' > '.join((*path[path.index(name) :], name))}"
            return None
        parts: dict[str, _Days] = {}
        for other in (*calendar.also, *calendar.without):
            found = self._resolve(other, (*path, name))
            if found is None:
                why = f"calendar {other} is broken" if other in self._broken else f"there is no calendar {other}"
                self._broken.setdefault(name, why)
                return None
            parts[other] = found
        events = self._events_of(calendar.ics)
        if isinstance(events, str):
            self._broken[name] = events
            return None
        also, without = ([parts[other] for other in names] for names in (calendar.also, calendar.without))
        self._days[name] = _Days(calendar, events, also, without)
        return self._days[name]

    def _events_of(self, file: str) -> frozenset[int] | str:
        if not file:
            return frozenset()
        days = self.entries.events.get(file)
        return self.entries.unread.get(file, f"{file} was not read") if days is None else frozenset(days)

    # ---- What they say

    def judge(self, trigger: Schedule, where: Zone, scheduled_us: int, start_us: int) -> Bar | None:
        """Why a slot of `trigger` may not start at `start_us`; None: it may."""
        if not (trigger.calendars or trigger.blackouts or self._for_all):
            return None
        if why := self.held(trigger):
            return Bar(SlotReason.HELD, why, None)
        if trigger.calendars and (bar := self._off(trigger.calendars, where, scheduled_us)):
            return bar
        for name in (*trigger.blackouts, *self._for_all):
            for at_us in (scheduled_us, start_us):
                in_force, until_us = self._in_force(self._blackouts[name], at_us)
                if in_force:
                    return Bar(SlotReason.BLACKOUT, name, until_us)
        return None

    def has(self, calendar: str, day: date) -> bool:
        """Whether a calendar that is not broken has a day."""
        return self._days[calendar].has(day.toordinal())

    def _off(self, names: tuple[str, ...], where: Zone, at_us: int) -> Bar | None:
        """The calendar that does not have the day, and when the next day begins that all of them have."""
        today = where.local(at_us).toordinal()
        calendars = [self._days[name] for name in names]
        off = next((name for name, days in zip(names, calendars, strict=True) if not days.has(today)), None)
        if off is None:
            return None
        for day in range(today + 1, today + _LOOK_AHEAD_DAYS):
            if all(each.has(day) for each in calendars):
                return Bar(SlotReason.CALENDAR, off, _begin_us(day, 0, where))
        return Bar(SlotReason.CALENDAR, off, None)

    def _in_force(self, blackout: Blackout, at_us: int) -> tuple[bool, int | None]:
        """Whether it is, and before when it surely has not ended; None: it does not end."""
        where = zone(blackout.timezone) if blackout.timezone else self.host
        ends: list[int] = []
        if blackout.from_text and at_us < instant_us(blackout.from_text, where):
            return False, None
        if blackout.to_text:
            ends.append(instant_us(blackout.to_text, where))
            if at_us >= ends[0]:
                return False, None
        local = where.local(at_us)
        day = local.toordinal()
        if blackout.daily is not None:
            window = _window(blackout.daily, local)
            if window is None:
                return False, None
            day += window
            begin, end = blackout.daily
            ends.append(_begin_us(day + (end <= begin), end, where))
        if blackout.calendars:
            if not all(self._days[name].has(day) for name in blackout.calendars):
                return False, None
            ends.append(_begin_us(day + 1, 0, where) if blackout.daily is None else ends[-1])
        return True, min(ends, default=None)


def _window(daily: tuple[int, int], local: datetime) -> int | None:
    """Whether the time of the day is in it: 0 if it began today, -1 if yesterday; None: it is not."""
    begin, end = daily
    minute = local.hour * 60 + local.minute
    if begin < end:
        return 0 if begin <= minute < end else None
    if minute >= begin:
        return 0
    return -1 if minute < end else None


def _begin_us(day: int, minute: int, where: Zone) -> int:
    """The instant of a time on the wall of `where`."""
    moment = datetime.combine(date.fromordinal(day), datetime.min.time()) + timedelta(minutes=minute % _DAY_MINUTES)
    return instant_us(moment.isoformat(), where)
