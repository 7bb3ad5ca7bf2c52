"""OnCalendar= of systemd.time(7) to cron and back, where both can say the same. Pure.

A cron expression has neither seconds nor years, and joins its day fields by "or" unless one begins with a star: what
needs more than that is refused, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from pyflowd.base import zones
from pyflowd.schedules.cron import Cron

_SHORT = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "semi-annually": "*-01,07-01 00:00:00",
    "bi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00",
    "half-yearly": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONG = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_DATE = re.compile(r"(?:([0-9*,./]+)-)?([0-9*,./]+)([-~])([0-9*,./]+)")
_TIME = re.compile(r"([0-9*,./]+):([0-9*,./]+)(?::([0-9*,./]+))?")
_WEEKS = {frozenset(range(7 * n + 1, 7 * n + 8)): n + 1 for n in range(4)}
"""Days of the month in which the nth weekday of each sort falls."""


class Calendar(Struct, frozen=True, kw_only=True):
    """What an expression is in cron."""

    cron: str
    timezone: str | None = None


def to_cron(text: str) -> Calendar:
    """The cron expression that fires at the same times. Raises ValueError, one line."""
    try:
        return _to_cron(text)
    except ValueError as wrong:
        raise ValueError(f"OnCalendar={text[:80]}: {wrong}") from None


def _to_cron(text: str) -> Calendar:
    words = text.split()
    timezone = None
    if len(words) > 1 and not re.search(r"[0-9:*]", words[-1]) and not _is_weekdays(words[-1]):
        timezone = words.pop()
        zones.zone(timezone)
    if len(words) == 1 and words[0].lower() in _SHORT:
        words = _SHORT[words[0].lower()].split()
    weekdays = _weekdays(words.pop(0)) if words and _is_weekdays(words[0]) else None
    date = _DATE.fullmatch(words[0]) if words else None
    if date is not None:
        words.pop(0)
    time = _TIME.fullmatch(words[0]) if words else None
    if time is not None:
        words.pop(0)
    if words or (weekdays is None and date is None and time is None):
        raise ValueError(f"{' '.join(words) or 'nothing'} is not understood")
    minutes, hours = _time(time)
    days, months = _days(date, weekdays)
    return Calendar(cron=f"{minutes} {hours} {days[0]} {months} {days[1]}", timezone=timezone)


def _is_weekdays(word: str) -> bool:
    return word[:3].lower() in _WEEKDAYS and not re.search(r"[0-9:*]", word)


def _time(time: re.Match[str] | None) -> tuple[str, str]:
    if time is None:
        return "0", "0"
    seconds = _numbers(time[3] or "0", 0, 59)
    if seconds != {0}:
        raise ValueError("it has seconds, which cron has not")
    return _field(time[2], 0, 59), _field(time[1], 0, 23)


def _days(date: re.Match[str] | None, weekdays: set[int] | None) -> tuple[tuple[str, str], str]:
    """The two day fields, and the month."""
    if date is None:
        return ("*", _listed(weekdays, 7) if weekdays is not None else "*"), "*"
    if date[1] not in (None, "*"):
        raise ValueError("it has a year, which cron has not")
    months = _field(date[2], 1, 12)
    if date[3] == "~":
        return _from_the_end(date[4], weekdays), months
    days = _numbers(date[4], 1, 31)
    if weekdays is None or len(weekdays) == 7:
        return (_field(date[4], 1, 31), "*"), months
    if days == set(range(1, 32)):
        return ("*", _listed(weekdays, 7)), months
    week = _WEEKS.get(frozenset(days))
    if week is not None:
        return ("*", ",".join(f"{day}#{week}" for day in sorted(weekdays))), months
    raise ValueError("a weekday and days of the month that must both fit, which cron cannot say but for whole weeks")


def _from_the_end(text: str, weekdays: set[int] | None) -> tuple[str, str]:
    if weekdays is None and _numbers(text.partition("/")[0], 1, 31) == {1} and "/" not in text:
        return "L", "*"
    if weekdays is not None and text.lstrip("0") == "7/1":
        return "*", ",".join(f"{day}L" for day in sorted(weekdays))
    raise ValueError("days counted from the end of the month, which cron can say of the last day, and the last weekday")


def _weekdays(word: str) -> set[int]:
    found: set[int] = set()
    for term in word.split(","):
        first, dots, last = term.partition("..") if ".." in term else term.partition("-")
        low = _weekday(first)
        high = _weekday(last) if dots else low
        found |= {day % 7 for day in _week(low, high, term)}
    return found


def _week(low: int, high: int, term: str) -> range:
    """systemd's weeks begin on Monday."""
    first, last = (low - 1) % 7, (high - 1) % 7
    if first > last:
        raise ValueError(f"{term} runs backwards")
    return range(first + 1, last + 2)


def _weekday(word: str) -> int:
    lowered = word.lower()
    for names in (_WEEKDAYS, _LONG):
        if lowered in names:
            return names.index(lowered)
    raise ValueError(f"{word[:20]} is no weekday")


def _terms(text: str, low: int, high: int) -> Iterator[tuple[int, int, int, bool]]:
    """First, last, step of each term, and whether it is a star."""
    for term in text.split(","):
        span, slash, step_text = term.partition("/")
        step = int(step_text) if slash and step_text.isdigit() else 1
        if (slash and not step_text.isdigit()) or step == 0:
            raise ValueError(f"{term} has no step")
        first, dots, last = span.partition("..")
        if span == "*":
            yield low, high, step, True
            continue
        if not first.isdigit() or (dots and not last.isdigit()):
            raise ValueError(f"{term} is no number")
        start = int(first)
        end = int(last) if dots else high if slash else start
        if not low <= start <= end <= high:
            raise ValueError(f"{term} is out of range, {low} to {high}")
        yield start, end, step, False


def _numbers(text: str, low: int, high: int) -> set[int]:
    return {n for first, last, step, _ in _terms(text, low, high) for n in range(first, last + 1, step)}


def _field(text: str, low: int, high: int) -> str:
    """The field as cron writes it."""
    terms = []
    for first, last, step, star in _terms(text, low, high):
        if star or (first, last) == (low, high):
            terms.append("*" if step == 1 else f"*/{step}")
        elif first == last:
            terms.append(str(first))
        else:
            terms.append(f"{first}-{last}" if step == 1 else f"{first}-{last}/{step}")
    return ",".join(terms)


def _listed(values: set[int] | None, size: int) -> str:
    """A list, or a range where they follow each other."""
    numbers = sorted(values or ())
    if len(numbers) == size:
        return "*"
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))


# ---- And back -------------------------------------------------------------------------------------------------------


def from_cron(cron: Cron, timezone: str | None) -> list[str]:
    """The expressions that together fire at the same times, clock changes aside. Raises ValueError."""
    if cron.nearest_days or cron.last_workday:
        raise ValueError(f"cron {cron.text}: systemd does not know the weekday nearest to a day")
    hours = "*" if cron.hours == (1 << 24) - 1 else _mask(cron.hours, "02")
    minutes = "*" if cron.minutes == (1 << 60) - 1 else _mask(cron.minutes, "02")
    months = "*" if cron.months == (2 << 12) - 2 else _mask(cron.months, "02")
    zone = f" {timezone}" if timezone else ""
    return [f"{day} {hours}:{minutes}:00{zone}" for day in _dates(cron, months)]


def _dates(cron: Cron, months: str) -> list[str]:
    dates = [] if cron.days == (2 << 31) - 2 else _by_date(cron, months)
    every = f"*-{months}-*"
    weekdays = [] if cron.weekdays == 127 else _by_weekday(cron, months)
    if not dates or not weekdays:
        return dates or weekdays or [every]
    if cron.either_day:
        return [*dates, *weekdays]
    if cron.last_weekdays or cron.nth_weekdays:
        raise ValueError(f"cron {cron.text}: both day fields must fit, and one is counted: systemd cannot say that")
    names = weekdays[0].split(" ")[0]
    return [f"{names} {date}" for date in dates]


def _by_date(cron: Cron, months: str) -> list[str]:
    found = [f"*-{months}-{_mask(cron.days, '02')}"] if cron.days else []
    return found + ([f"*-{months}~01"] if cron.last_day else [])


def _by_weekday(cron: Cron, months: str) -> list[str]:
    found = [f"{_names(cron.weekdays)} *-{months}-*"] if cron.weekdays else []
    if cron.last_weekdays:
        found.append(f"{_names(cron.last_weekdays)} *-{months}~07/1")
    weeks = ((week, cron.nth_weekdays >> 7 * week & 127) for week in range(5))
    return found + [
        f"{_names(days)} *-{months}-{7 * week + 1:02}..{min(7 * week + 7, 31):02}" for week, days in weeks if days
    ]


def _names(mask: int) -> str:
    """Monday first, as systemd's weeks begin."""
    return ",".join(_WEEKDAYS[day].title() for day in (1, 2, 3, 4, 5, 6, 0) if mask >> day & 1)


def _mask(mask: int, form: str) -> str:
    """Numbers as a list, with ranges and steps where they are shorter."""
    numbers = [n for n in range(mask.bit_length()) if mask >> n & 1]
    steps = {b - a for a, b in pairwise(numbers)}
    if len(numbers) > 2 and len(steps) == 1:
        step = steps.pop()
        last = "" if step == 1 else f"/{step}"
        return f"{numbers[0]:{form}}..{numbers[-1]:{form}}{last}"
    return ",".join(f"{n:{form}}" for n in numbers)
