"""A slow, plain second opinion on cron and daylight saving: every minute of UTC is looked at, one after the other.

Written apart from `pyflowd.cron` and `pyflowd.schedule`, and sharing nothing with them, so that both are wrong in the
same way only by accident. It reads valid expressions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
MINUTE = timedelta(minutes=1)


def numbers(field: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    """What a field of stars, numbers, names, ranges, steps and lists means."""

    def number(word: str) -> int:
        return names[word] if names and word in names else int(word)

    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = (number(word) for word in span.split("-"))
        else:
            first = number(span)
            last = high if step else first
        found |= {value for value in range(low, 60) if first <= value <= last and (value - first) % int(step or 1) == 0}
    return found


def month_days(of: date) -> list[date]:
    """All dates of the month of a date."""
    days = (date(of.year, of.month, 1) + timedelta(days=n) for n in range(31))
    return [day for day in days if day.month == of.month]


def date_fits(field: str, day: date) -> bool:
    """Whether the day-of-month field means this date."""
    month = month_days(day)
    workdays = [each for each in month if each.isoweekday() <= 5]
    for term in field.lower().split(","):
        if term == "?" or (term == "l" and day == month[-1]) or (term == "lw" and day == workdays[-1]):
            return True
        if term[-1] == "w" and term != "lw" and int(term[:-1]) <= len(month):
            aim = month[int(term[:-1]) - 1]
            if day == min(workdays, key=lambda each: abs((each - aim).days)):
                return True
        if not term.endswith(("l", "w", "?")) and day.day in numbers(term, 1, 31):
            return True
    return False


def weekday_fits(field: str, day: date) -> bool:
    """Whether the day-of-week field means this date."""
    alike = [each for each in month_days(day) if each.weekday() == day.weekday()]
    today = day.isoweekday() % 7
    for term in field.lower().split(","):
        if term == "?":
            return True
        if "#" in term:
            weekday, _, nth = term.partition("#")
            if numbers(weekday, 0, 7, WEEKDAYS) & {today, today or 7} and alike.index(day) + 1 == int(nth):
                return True
        elif term[-1] == "l":
            if int(term[:-1]) % 7 == today and day == alike[-1]:
                return True
        elif today in {value % 7 for value in numbers(term, 0, 7 if "-7" in term or term[0] == "7" else 6, WEEKDAYS)}:
            return True
    return False


def fits(expr: str) -> Callable[[datetime], bool]:
    """A test of naive local minutes, for the debian rule of days."""
    minute, hour, dom, month, dow = expr.lower().split()
    minutes, hours, months = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(month, 1, 12, MONTHS)
    known: dict[date, bool] = {}

    def day_fits(day: date) -> bool:
        by_date, by_weekday = date_fits(dom, day), weekday_fits(dow, day)
        if dom[0] in "*?" or dow[0] in "*?":
            return by_date and by_weekday
        return by_date or by_weekday

    def test(local: datetime) -> bool:
        if local.minute not in minutes or local.hour not in hours or local.month not in months:
            return False
        day = local.date()
        if day not in known:
            known[day] = day_fits(day)
        return known[day]

    return test


Walk = list[tuple[datetime, datetime, bool, list[datetime]]]
"""Of each minute of UTC: its instant, the naive local time, whether that was seen before, and what was jumped over."""


def walk(zone: ZoneInfo, start: datetime, minutes: int) -> Walk:
    """The clock on the wall, minute by minute; `start` is an instant more than a day before what is of interest."""
    steps: Walk = []
    seen: set[datetime] = set()
    before: datetime | None = None
    for n in range(minutes):
        at = start + n * MINUTE
        local = at.astimezone(zone).replace(tzinfo=None)
        jumped = []
        if before is not None and local > before + MINUTE:
            jumped = [before + k * MINUTE for k in range(1, (local - before) // MINUTE)]
        steps.append((at, local, local in seen, jumped))
        seen.add(local)
        before = local
    return steps


def fire_times(expr: str, dst: str, steps: Walk) -> Iterator[int]:
    """Seconds since the epoch of each minute at which the expression is due (rule T3)."""
    test = fits(expr)
    follows_elapsed_time = expr.split()[1].startswith("*")
    for at, local, seen, jumped in steps:
        if follows_elapsed_time:
            due = test(local)
        elif dst == "both":
            due = test(local) or any(test(each) for each in jumped)
        elif dst == "skip":
            due = test(local) and not seen
        else:
            due = (test(local) and not seen) or any(test(each) for each in jumped)
        if due:
            yield int(at.timestamp())


def changes(zone: ZoneInfo, first_year: int, last_year: int) -> list[datetime]:
    """The instants, to the minute, at which the zone's offset changes, in whole years."""
    found = []
    at, end = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year + 1, 1, 1, tzinfo=UTC)
    while at < end:
        later = at + timedelta(days=1)
        if at.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            low, high = at, later
            while high - low > MINUTE:
                middle = low + (high - low) // 2 // MINUTE * MINUTE
                if middle.astimezone(zone).utcoffset() == at.astimezone(zone).utcoffset():
                    low = middle
                else:
                    high = middle
            found.append(high)
        at = later
    return found
