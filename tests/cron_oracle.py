"""A slow, plain second opinion on cron and daylight saving: every minute of UTC is looked at, one after the other.

Written apart from `pyflowd.cron` and `pyflowd.schedule`, and sharing nothing with them, so that both are wrong in the
same way only by accident. It reads valid expressions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import count
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


def day_test(dom: str, dow: str) -> Callable[[date], bool]:
    """A test of dates, for the debian rule of days; it remembers what it has found."""
    known: dict[date, bool] = {}

    def test(day: date) -> bool:
        if day not in known:
            by_date, by_weekday = date_fits(dom, day), weekday_fits(dow, day)
            both = dom[0] in "*?" or dow[0] in "*?"
            known[day] = (by_date and by_weekday) if both else (by_date or by_weekday)
        return known[day]

    return test


def fits(expr: str) -> Callable[[datetime], bool]:
    """A test of naive local minutes."""
    minute, hour, dom, month, dow = expr.lower().split()
    minutes, hours, months = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(month, 1, 12, MONTHS)
    day_fits = day_test(dom, dow)

    def test(local: datetime) -> bool:
        if local.minute not in minutes or local.hour not in hours or local.month not in months:
            return False
        return day_fits(local.date())

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


def left_out_times(expr: str, dst: str, steps: Walk) -> Iterator[int]:
    """Seconds since the epoch at which a change of the clock keeps a fixed time from being due.

    In a fold the second pass; of a gap, where it is skipped, its end, unless the expression is due then anyway.
    """
    if expr.split()[1].startswith("*") or dst == "both":
        return
    test = fits(expr)
    for at, local, seen, jumped in steps:
        if (seen and test(local)) or (dst == "skip" and any(test(each) for each in jumped) and not test(local)):
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


@cache
def walks_of_changes(zone: ZoneInfo, first_year: int, last_year: int) -> dict[date, Walk]:
    """Of each day of UTC that is at most a day from a change of the offset: its minutes, as `walk` has them."""
    near = sorted(
        {at.date() + timedelta(days=n) for at in changes(zone, first_year - 1, last_year + 1) for n in (-1, 0, 1)}
    )
    found: dict[date, Walk] = {}
    for day in near:
        if day - timedelta(days=1) not in found:  # the first of its stretch
            length = next(n for n in count(1) if day + timedelta(days=n) not in near)
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
            steps = walk(zone, midnight - timedelta(days=2), (2 + length) * 1440)[2 * 1440 :]
            found |= {day + timedelta(days=n): steps[n * 1440 : (n + 1) * 1440] for n in range(length)}
    return found


@cache
def left_out_of_years(expr: str, dst: str, zone: ZoneInfo, first_year: int, last_year: int) -> list[int]:
    """As `left_out_times`, of whole years of UTC."""
    near = walks_of_changes(zone, first_year, last_year)
    return [at for day in sorted(near) for at in left_out_times(expr, dst, near[day])]


@cache
def fire_times_of_years(expr: str, dst: str, zone: ZoneInfo, first_year: int, last_year: int) -> list[int]:
    """As `fire_times`, of whole years of UTC: minute by minute only near a change of the offset.

    Far from one, a day of the calendar is a day, and its minutes are those that the fields name.
    """
    near = walks_of_changes(zone, first_year, last_year)
    found: list[int] = []
    day, end = date(first_year, 1, 1), date(last_year + 1, 1, 1)
    minute, hour, dom, month, dow = expr.lower().split()
    minutes, hours = sorted(numbers(minute, 0, 59)), sorted(numbers(hour, 0, 23))
    months, day_fits = numbers(month, 1, 12, MONTHS), day_test(dom, dow)
    while day < end:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if day in near:
            found += fire_times(expr, dst, near[day])
        else:
            start_s = int(start.timestamp())
            offset_s = round((start.astimezone(zone).utcoffset() or timedelta()).total_seconds())
            midnights = [
                start_s + 86_400 * n - offset_s
                for n in (-1, 0, 1)
                if (each := day + timedelta(days=n)).month in months and day_fits(each)
            ]
            times = [midnight + 3600 * h + 60 * m for midnight in midnights for h in hours for m in minutes]
            found += [at for at in times if start_s <= at < start_s + 86_400]
        day += timedelta(days=1)
    return found
