"""Cron expressions (rule T2): read, judged, described, and walked over naive local minutes.

Five fields as Debian's cron reads them, strictly, with `L`, `W`, `LW` and `#`. It knows nothing of time zones, clocks
or daylight saving: `schedule` lays the minutes found here on a zone. Naive times are counted in minutes since
1970-01-01 00:00 of whatever clock hangs on the wall.

The rules that the words of T2 leave open:
- A range that runs backwards is refused (`fri-mon`, `22-2`): Debian refuses it, others read it in two ways.
- `a/b` is `a-max/b`, with Saturday as the last day of a week; `7/b` is Sunday alone. A step wider than its range is
  taken (`*/60`).
- `15W` is the weekday (Monday to Friday) nearest to the 15th without leaving the month; a month that has no such day
  has none. `W`, `L` and `#` may stand in lists, not in ranges or with steps.
- A nickname is written in small letters; names of days and months have three letters of any case.
- Dates that never come are those that do not come within 28 years, after which the calendar repeats itself.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from msgspec import Struct

_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY = range(5)
_LOWEST = (0, 0, 1, 1, 0)
_HIGHEST = (59, 23, 31, 12, 6)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_OF_THE_MONTH = " of the month"
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_LONGEST = 500
"""Characters of an expression: every minute, hour, day, month and weekday written out has 480."""

_TERM = re.compile(r"(?:\*|([0-9]{1,4}|[a-z]+)(?:(-)([0-9]{1,4}|[a-z]+))?)(?:/([0-9]{1,4}))?", re.ASCII)
_NEAREST = re.compile(r"([0-9]{1,2})w", re.ASCII)
_LAST = re.compile(r"([0-7])l", re.ASCII)
_NTH = re.compile(r"([0-7]|[a-z]{3})#([0-9]+)", re.ASCII)

_DAY_MINUTES = 1440
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_YEAR = 9990
_HORIZON_MONTHS = 12 * 41
"""29 February on a given weekday comes every 28 years, over a year such as 2100 after 40."""
_EVERY_WEEK = sum(1 << day for day in range(0, 35, 7))


class Cron(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cron expression, read. Fields are bit masks: bit n is set where the value n is meant."""

    text: str
    """The expression in normal form: nicknames resolved, single spaces, small letters."""
    minutes: int = 0
    hours: int = 0
    days: int = 0
    """Days of the month, bits 1 to 31."""
    months: int = 0
    weekdays: int = 0
    """Bit 0 is Sunday."""
    nearest_days: int = 0
    """`15W`: the weekday nearest to this day."""
    last_day: bool = False
    """`L`: the last day of the month."""
    last_workday: bool = False
    """`LW`: the last Monday to Friday of the month."""
    last_weekdays: int = 0
    """`5L`: the last such day of the month."""
    nth_weekdays: int = 0
    """`1#2`: bit 7 * (n - 1) + weekday."""
    either_day: bool = False
    """Neither day field begins with a star: a date fits if either does; else both must."""
    any_hour: bool = False
    """The hour field begins with a star: the schedule follows elapsed time, not the clock on the wall (rule T3)."""
    reboot: bool = False
    """`@reboot`: at the start of the host, at no minute."""

    def next_from(self, minute: int) -> int | None:
        """The first naive minute that fits, `minute` or later; None if there is none within 41 years."""
        day, of_day = divmod(minute, _DAY_MINUTES)
        today = date.fromordinal(day + _EPOCH_DAY)
        dates = self.days_of(today.year, today.month) >> today.day
        if dates & 1:
            of_day_found = self._next_of_day(of_day)
            if of_day_found is not None:
                return day * _DAY_MINUTES + of_day_found
        dates >>= 1
        if dates:
            return (day + 1 + _lowest(dates)) * _DAY_MINUTES + self._first_of_day()
        return self._next_from_month(today.year * 12 + today.month)

    def days_of(self, year: int, month: int) -> int:
        """The dates of a month that fit, bits 1 to 31."""
        if not self.months >> month & 1:
            return 0
        before, length = monthrange(year, month)
        first = (before + 1) % 7  # monthrange counts from Monday
        whole = (2 << length) - 2
        by_date = self._by_date(first, length) & whole
        by_weekday = self._by_weekday(first, length) & whole
        return by_date | by_weekday if self.either_day else by_date & by_weekday

    def _by_date(self, first: int, length: int) -> int:
        dates = self.days
        if self.last_day:
            dates |= 1 << length
        if self.last_workday:
            dates |= 1 << _nearest_workday(length, first, length)
        if self.nearest_days:
            for day in range(1, length + 1):
                if self.nearest_days >> day & 1:
                    dates |= 1 << _nearest_workday(day, first, length)
        return dates

    def _by_weekday(self, first: int, length: int) -> int:
        dates = _from_first(self.weekdays, first) * _EVERY_WEEK
        if self.last_weekdays:
            dates |= _from_first(self.last_weekdays, first) * _EVERY_WEEK & (127 << length - 7)
        if self.nth_weekdays:
            for week in range(5):
                dates |= _from_first(self.nth_weekdays >> 7 * week & 127, first) << 7 * week
        return dates << 1

    def _first_of_day(self) -> int:
        return _lowest(self.hours) * 60 + _lowest(self.minutes)

    def _next_of_day(self, of_day: int) -> int | None:
        hour, minute = divmod(of_day, 60)
        rest = self.minutes >> minute
        if rest and self.hours >> hour & 1:
            return of_day + _lowest(rest)
        later = self.hours >> hour + 1
        return (hour + 1 + _lowest(later)) * 60 + _lowest(self.minutes) if later else None

    def _next_from_month(self, month_index: int) -> int | None:
        """As `next_from`, from the first of a month, counted as 12 * year + month - 1."""
        if self.reboot:
            return None
        for index in range(month_index, min(month_index + _HORIZON_MONTHS, 12 * _LAST_YEAR)):
            year, month = divmod(index, 12)
            dates = self.days_of(year, month + 1)
            if dates:
                day = date(year, month + 1, _lowest(dates)).toordinal() - _EPOCH_DAY
                return day * _DAY_MINUTES + self._first_of_day()
        return None


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _from_first(weekdays: int, first: int) -> int:
    """A mask of weekdays, turned so that bit 0 is the first of the month."""
    return (weekdays >> first | weekdays << 7 - first) & 127


def _nearest_workday(day: int, first: int, length: int) -> int:
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else 3
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


# ---- Reading --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def parse(expr: str) -> Cron:
    """The expression, read. Raises ValueError with one line: what is wrong, in which field, what to write instead."""
    if len(expr) > _LONGEST:
        raise ValueError(f"a cron expression has at most {_LONGEST} characters, this one has {len(expr)}")
    try:
        return _parse(expr)
    except ValueError as wrong:
        raise ValueError(f"cron {expr!r}: {wrong}") from None


def _parse(expr: str) -> Cron:
    strange = next((char for char in expr if char not in " \t" and (char.isspace() or not char.isprintable())), "")
    if strange:
        raise ValueError(f"contains {strange!a}: part the fields with plain spaces or tabs")
    words = expr.split()
    if words and words[0].startswith("@"):
        if words == ["@reboot"]:
            return Cron(text="@reboot", reboot=True)
        words = _nickname(words).split()
    if words and "TZ=" in words[0]:
        raise ValueError("a time zone is no part of the expression: write it as `timezone` beside `cron`")
    if len(words) != 5:
        raise ValueError(_count_message(len(words)))
    return _checked(_read(tuple(word.lower() if word.isascii() else word for word in words)))


def _nickname(words: list[str]) -> str:
    if words[0] == "@every":
        raise ValueError("an interval is no cron expression: write a trigger with `every`, such as `every: 5m`")
    if len(words) > 1 or words[0] not in _NICKNAMES:
        hint = f": write {words[0].lower()}" if words[0].lower() in (*_NICKNAMES, "@reboot") and len(words) == 1 else ""
        raise ValueError(f"no such nickname{hint or ': there are ' + ', '.join(_NICKNAMES) + ', @reboot'}")
    return _NICKNAMES[words[0]]


def _count_message(count: int) -> str:
    if count > 5:
        return f"has {count} fields, but takes five, with none for seconds or years: {', '.join(_FIELDS)}"
    return f"has {count} field{'' if count == 1 else 's'}, but needs five: {', '.join(_FIELDS)}"


def _read(fields: tuple[str, ...]) -> Cron:
    fields = tuple("*" if word == "?" and index in (_DAY, _WEEKDAY) else word for index, word in enumerate(fields))
    masks = [0, 0, 0, 0, 0]
    nearest_days = last_weekdays = nth_weekdays = 0
    last_day = last_workday = False
    for index, word in enumerate(fields):
        for term in word.split(","):
            if index == _DAY and term == "l":
                last_day = True
            elif index == _DAY and term == "lw":
                last_workday = True
            elif index == _DAY and (match := _NEAREST.fullmatch(term)):
                nearest_days |= 1 << _value(_DAY, match[1])
            elif index == _WEEKDAY and (match := _LAST.fullmatch(term)):
                last_weekdays |= 1 << int(match[1]) % 7
            elif index == _WEEKDAY and (match := _NTH.fullmatch(term)):
                nth_weekdays |= 1 << 7 * (_nth(match[2]) - 1) + _value(_WEEKDAY, match[1]) % 7
            else:
                masks[index] |= _term(index, term)
    return Cron(
        text=" ".join(fields),
        minutes=masks[_MINUTE],
        hours=masks[_HOUR],
        days=masks[_DAY],
        months=masks[_MONTH],
        weekdays=masks[_WEEKDAY],
        nearest_days=nearest_days,
        last_day=last_day,
        last_workday=last_workday,
        last_weekdays=last_weekdays,
        nth_weekdays=nth_weekdays,
        either_day=not (fields[_DAY].startswith("*") or fields[_WEEKDAY].startswith("*")),
        any_hour=fields[_HOUR].startswith("*"),
    )


def _term(index: int, term: str) -> int:
    """The mask of a star, a number, a name, a range, each perhaps with a step."""
    match = _TERM.fullmatch(term)
    if not match:
        raise ValueError(f"{_FIELDS[index]}: {term!r} {_term_message(index, term)}")
    if match[1] is None:
        low, high = _LOWEST[index], _HIGHEST[index]
    else:
        low = _value(index, match[1])
        high = _value(index, match[3]) if match[2] else max(low, _HIGHEST[index]) if match[4] else low
    step = int(match[4]) if match[4] else 1
    if step == 0:
        raise ValueError(f"{_FIELDS[index]}: {term!r} has a step of 0: write 1 or more")
    if low > high:
        raise ValueError(f"{_FIELDS[index]}: {term!r} runs backwards: {_forwards(index, match[1], match[3])}")
    return _expanded(index, low, high, step)


def _forwards(index: int, first: str, last: str) -> str:
    if index == _WEEKDAY and first == "7":
        return f"write 0-{last}"
    if index == _WEEKDAY and last in ("sun", "0"):
        return f"write {first}-7, as 7 is Sunday too"
    lowest = {_MONTH: "jan", _WEEKDAY: "sun"}.get(index, str(_LOWEST[index]))
    highest = {_MONTH: "dec", _WEEKDAY: "sat"}.get(index, str(_HIGHEST[index]))
    return f"write {first}-{highest},{lowest}-{last}"


def _term_message(index: int, term: str) -> str:
    if not term:
        return "stands where a list has an empty place: remove the comma"
    if "?" in term:
        return "is not understood: ? stands alone, in a day field"
    if "#" in term:
        return "is not understood: write a weekday, # and 1 to 5, such as 1#2" + (
            "" if index == _WEEKDAY else ", in the field day of week"
        )
    if index in (_DAY, _WEEKDAY) and (term[0] == "l" or term[-1] in "lw"):
        return "is not understood: " + ("write L, LW or 15W" if index == _DAY else "write 5L for the last Friday")
    return "is not understood: write a number, a range such as 1-5, a list such as 1,3 or a step such as */2"


def _value(index: int, word: str) -> int:
    """The number of a number or a name; Sunday may be 7."""
    if word.isdigit():
        highest = 7 if index == _WEEKDAY else _HIGHEST[index]
        if not _LOWEST[index] <= int(word) <= highest:
            raise ValueError(f"{_FIELDS[index]}: {word} is out of range: write {_LOWEST[index]} to {highest}")
        return int(word)
    names = {_MONTH: _MONTHS, _WEEKDAY: _WEEKDAYS}.get(index, ())
    if word not in names and index in (_DAY, _WEEKDAY) and (word[0] == "l" or word[-1] in "lw"):
        raise ValueError(f"{_FIELDS[index]}: {word!r} {_term_message(index, word)}")
    if word not in names:
        known = f"write {word[:3]}" if word[:3] in names else f"names are {', '.join(names)}" if names else ""
        raise ValueError(f"{_FIELDS[index]}: {word!r} is no name: {known or 'write a number'}")
    return names.index(word) + _LOWEST[index]


def _nth(word: str) -> int:
    if word not in ("1", "2", "3", "4", "5"):
        raise ValueError(f"{_FIELDS[_WEEKDAY]}: #{word} never comes: write #1 to #5")
    return int(word)


@lru_cache(maxsize=1024)
def _expanded(index: int, low: int, high: int, step: int) -> int:
    """The mask of a range with a step, expanded by croniter.

    croniter is imported here and not at the top, as it costs 50 ms and 6 MB that a schedule of plain numbers does
    without. It is given what it cannot misread: bounds that are numbers, in order, unlike (it takes `5-5` for the
    whole field) and, for a week, 0 to 6 (a range to 7 is walked round the end of its week).
    """
    if step > high - low:
        return 1 << (low % 7 if index == _WEEKDAY else low)
    if (low, high, step) == (_LOWEST[index], _HIGHEST[index], 1):
        return (2 << high) - (1 << low)
    if index == _WEEKDAY and high == 7:
        with_sunday = (7 - low) % step == 0
        return _expanded(index, low, 6, step) | int(with_sunday)
    from croniter import croniter

    fields = ["*"] * 5
    fields[index] = f"{low}-{high}/{step}"
    values = croniter.expand(" ".join(fields))[0][index]
    return sum(1 << value for value in values)


def _checked(cron: Cron) -> Cron:
    year_2000 = date(2000, 1, 1).toordinal() - _EPOCH_DAY
    if cron.next_from(year_2000 * _DAY_MINUTES) is None:
        raise ValueError("this date never comes: change the day of month or the month")
    return cron


# ---- In words -------------------------------------------------------------------------------------------------------


def advice(cron: Cron) -> tuple[tuple[str, str], ...]:
    """What may surprise the author of a valid expression: a code and a sentence each (rule T2)."""
    found = []
    if cron.either_day:
        sentence = (
            "day of month and day of week are both given: it runs on days that fit either; "
            "begin one of them with * to want both"
        )
        found.append(("cron_days", sentence))
    for index, unit in ((_MINUTE, "hour"), (_HOUR, "day")):
        step = re.fullmatch(r"\*/([0-9]+)", cron.text.split()[index] if not cron.reboot else "")
        size = _HIGHEST[index] + 1
        if step and int(step[1]) >= size:
            found.append(("cron_step", f"{_FIELDS[index]}: {step[0]} is the same as 0"))
        elif step and size % int(step[1]):
            sentence = f"{_FIELDS[index]}: {step[0]} begins anew with each {unit}, so its last step is shorter"
            found.append(("cron_step", sentence))
    return tuple(found)


def describe(cron: Cron) -> str:
    """Short English, such as `at 02:30 every day`; the expression itself where words would be long or unsure."""
    if cron.reboot:
        return "at every start of the host"
    time, days, months = _time_words(cron), _day_words(cron), _month_words(cron)
    if time is None or days is None or months is None:
        return cron.text
    if not days and not months and time.startswith("at ") and ":" in time:
        days = "every day"
    return " ".join(words for words in (time, days, months) if words)


def _time_words(cron: Cron) -> str | None:
    minutes, hours = _values(cron.minutes), _values(cron.hours)
    minute_step, hour_step = 60 // len(minutes), 24 // len(hours)
    if cron.any_hour and len(hours) == 24:
        if minutes == list(range(0, 60, minute_step)) and len(minutes) > 1:
            return "every minute" if minute_step == 1 else f"every {minute_step} minutes"
        noun = "minute" if len(minutes) == 1 else "minutes"
        return f"at {noun} {_listed(map(str, minutes))} of every hour" if len(minutes) <= 4 else None
    if len(minutes) * len(hours) <= 4:
        return "at " + _listed(f"{hour:02}:{minute:02}" for hour in hours for minute in minutes)
    if cron.any_hour and len(minutes) == 1 and hours == list(range(0, 24, hour_step)):
        return f"every {hour_step} hours from 00:{minutes[0]:02}"
    return None


def _day_words(cron: Cron) -> str | None:
    """Empty for every day, None where words would be unsure."""
    all_dates, all_weekdays = cron.days == (2 << 31) - 2, cron.weekdays == 127
    if (all_dates or all_weekdays) if cron.either_day else (all_dates and all_weekdays):
        return ""
    dates, weekdays = _date_words(cron), _weekday_words(cron)
    if cron.either_day:
        return f"on {dates} and on {weekdays}" if dates and weekdays else None
    if all_dates or all_weekdays:
        words = dates if all_weekdays else weekdays
        return f"on {words}" if words else None
    return None


def _date_words(cron: Cron) -> str | None:
    days = _values(cron.days)
    if len(days) > 5:
        return None
    words = [f"day{'s' if len(days) > 1 else ''} {_listed(map(str, days))}"] if days else []
    words += [f"the weekday nearest to day {day}" for day in _values(cron.nearest_days)]
    words += ["the last day"] * cron.last_day + ["the last weekday (Monday to Friday)"] * cron.last_workday
    return _listed(words) + _OF_THE_MONTH


def _weekday_words(cron: Cron) -> str | None:
    names = [_WEEKDAY_NAMES[day] for day in _values(cron.weekdays)]
    words = ["Monday to Friday"] if cron.weekdays == 0b0111110 else [f"every {name}" for name in names]
    words += [f"the last {_WEEKDAY_NAMES[day]}{_OF_THE_MONTH}" for day in _values(cron.last_weekdays)]
    words += [f"the {_ORDINALS[n // 7]} {_WEEKDAY_NAMES[n % 7]}{_OF_THE_MONTH}" for n in _values(cron.nth_weekdays)]
    return _listed(words) if len(words) <= 4 else None


def _month_words(cron: Cron) -> str | None:
    months = _values(cron.months)
    if len(months) == 12:
        return ""
    return "in " + _listed(_MONTH_NAMES[month - 1] for month in months) if len(months) <= 4 else None


def _values(mask: int) -> list[int]:
    return [value for value in range(mask.bit_length()) if mask >> value & 1]


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
