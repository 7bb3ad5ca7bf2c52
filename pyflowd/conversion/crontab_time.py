"""The time fields of crontab(5) as Debian's cron 3.0pl1 reads them, and the minutes at which that cron would fire.

Written apart from `cron` and `schedule`, as it is what they are held against when a crontab is imported: it shares no
code with them, and it follows cron's own loop (a virtual clock in local minutes that goes after the clock on the wall,
in four cases: on time, late, jumped forward, set back) where they walk over stretches of a zone. It reads no file and
no clock.

What cron does not know is refused here, even if PyFlow knows it: `L`, `W`, `#`, `?`, a step without a range.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
REBOOT = "@reboot"
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_NAMES = {
    "month": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "day of week": ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
_DAY_MINUTES = 1440
_LATE_MINUTES = 5
_JUMP_MINUTES = 180
"""Of cron's main loop: a clock that is ahead by more than the first was changed, by more than the second was set."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Times(Struct, frozen=True, kw_only=True):
    """When a line of a crontab is due, as sets of numbers; `reboot` lines are due at none of them."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    """0 is Sunday."""
    both_days: bool = True
    """A day field begins with a star: both must fit, else one is enough."""
    wildcard: bool = False
    """Minute or hour begins with a star: cron calls it a wildcard job, and lets it follow the clock on the wall."""
    reboot: bool = False

    @property
    def never(self) -> bool:
        """Whether no year has such a date, as with 31 February."""
        return not self.reboot and not any(self.fits(date(2000, 1, 1) + timedelta(days=n)) for n in range(10_228))

    def fits(self, day: date) -> bool:
        """Whether it is due on this date."""
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_date and by_weekday if self.both_days else by_date or by_weekday

    def minutes_of_day(self) -> list[int]:
        return [hour * 60 + minute for hour in sorted(self.hours) for minute in sorted(self.minutes)]


# ---- Reading --------------------------------------------------------------------------------------------------------


def read(words: list[str]) -> Times:
    """Five words, or one nickname. Raises ValueError with one line: which field, and what is wrong with it."""
    if words == [REBOOT]:
        return Times(reboot=True)
    if len(words) == 1:
        if words[0] not in NICKNAMES:
            raise ValueError(f"{words[0]} is no nickname of cron; there are {', '.join(NICKNAMES)}, {REBOOT}")
        words = NICKNAMES[words[0]].split()
    minutes, hours, days, months, weekdays = (_values(word, *field) for word, field in zip(words, _FIELDS, strict=True))
    return Times(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        both_days=words[2].startswith("*") or words[4].startswith("*"),
        wildcard=words[0].startswith("*") or words[1].startswith("*"),
    )


def _values(word: str, field: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for term in word.split(","):
        span, slash, step_text = term.partition("/")
        step = _number(step_text, field, term) if slash else 1
        if step == 0:
            raise ValueError(f"{field} {term}: a step of 0")
        if span == "*":
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _element(first_text, field, low, high, term)
            last = _element(last_text, field, low, high, term) if dash else first
            if slash and not dash:
                remedy = f"write {first}-{high}/{step} if that was meant"
                raise ValueError(f"{field} {term}: cron takes a step only after a range or a star; {remedy}")
        if first > last:
            raise ValueError(f"{field} {term}: the range runs backwards")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, field: str, term: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ValueError(f"{field} {term}: {text or 'nothing'} is no number")
    return int(text)


def _element(text: str, field: str, low: int, high: int, term: str) -> int:
    names = _NAMES.get(field, ())
    if text.lower() in names:
        return names.index(text.lower()) + low
    if "~" in text:
        raise ValueError(f"{field} {term}: a random time of other crons; write a fixed one, and RANDOM_DELAY above it")
    value = _number(text, field, term)
    if not low <= value <= high:
        raise ValueError(f"{field} {value}: out of range, {low} to {high}")
    return value


# ---- Firing ---------------------------------------------------------------------------------------------------------


def firings(times: Times, zone: ZoneInfo, from_minute: int, until_minute: int) -> Iterator[int]:
    """Minutes since the epoch, `from_minute <= m < until_minute`, at which cron starts the job, in order.

    The host has been up all the time. Fixed times that fall into one jump forward come at its end, one after another:
    that minute is given once for each of them.
    """
    of_day = times.minutes_of_day()
    at, virtual = from_minute, _local(from_minute, zone) - 1
    if times.reboot:
        return
    while at < until_minute:
        local = _local(at, zone)
        end = min(until_minute, at + _DAY_MINUTES)
        if virtual == local - 1 and _local(end, zone) - local == end - at and _is_even(at, end, zone):
            yield from (minute - local + at for minute in _between(times, of_day, local, local + end - at))
            virtual = local + end - at - 1
        else:
            found, virtual = _loop(times, zone, at, end, virtual)
            yield from found
        at = end


def _between(times: Times, of_day: list[int], local: int, end: int) -> Iterator[int]:
    """The local minutes of a stretch in which the clock was not touched."""
    for day in range(local // _DAY_MINUTES, (end - 1) // _DAY_MINUTES + 1):
        if times.fits(_EPOCH.date() + timedelta(days=day)):
            first = day * _DAY_MINUTES
            yield from (first + minute for minute in of_day if local <= first + minute < end)


def _loop(times: Times, zone: ZoneInfo, at: int, end: int, virtual: int) -> tuple[list[int], int]:
    """Cron's main loop, minute by minute: the minutes at which it fires, and its virtual clock at the end."""
    found = []
    for minute in range(at, end):
        now = _local(minute, zone)
        ahead = now - virtual
        if not -_JUMP_MINUTES < ahead <= _JUMP_MINUTES or (ahead > _LATE_MINUTES and times.wildcard):
            passed, virtual = range(now, now + 1), now
        elif ahead > 0:
            passed, virtual = range(virtual + 1, now + 1), now
        else:  # it was set back: until it has caught up, what ran is not run again, but for wildcard jobs
            passed = range(now, now + 1) if times.wildcard else range(0)
        found += [minute] * sum(_is_due(times, each) for each in passed)
    return found, virtual


def _is_due(times: Times, local: int) -> bool:
    day, of_day = divmod(local, _DAY_MINUTES)
    return (
        of_day % 60 in times.minutes and of_day // 60 in times.hours and times.fits(_EPOCH.date() + timedelta(days=day))
    )


def _local(minute: int, zone: ZoneInfo) -> int:
    """The clock on the wall, in minutes."""
    offset = datetime.fromtimestamp(minute * 60, zone).utcoffset()
    assert offset is not None  # a ZoneInfo always has one for an instant
    return minute + int(offset.total_seconds()) // 60


def _is_even(at: int, end: int, zone: ZoneInfo) -> bool:
    """Whether the offset stays the same: no two changes of any zone are nearer than days, one look an hour is ample."""
    return all(_local(minute, zone) - minute == _local(at, zone) - at for minute in range(at, end, 60))
