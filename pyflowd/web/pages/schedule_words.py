"""Schedules as people say them: from `30 2 * * * (Europe/Berlin)` to `every day at 02:30 Europe/Berlin`. Pure.

What has no short saying keeps its expression: words that are nearly true are worse than none.
"""

from __future__ import annotations

import re

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NAMES = {name[:3].lower(): n for n, name in enumerate(_DAYS[:7])}
_TEXT = re.compile(r"(?P<cron>\S+ \S+ \S+ \S+ \S+) \((?P<zone>[^)]+)\)")
_MINUTE = re.compile(r"\d{1,2}")
_STEP = re.compile(r"\*/(\d{1,2})")


def in_words(text: str) -> str:
    """`text`: of `WorkflowView.schedules`."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return text
    said = _said(found["cron"].split(" "))
    return f"{said} {found['zone']}" if said else f"by cron {found['cron']}, {found['zone']}"


def _said(fields: list[str]) -> str:
    minute, hour, day, month, weekday = fields
    if month != "*":
        return ""
    when = _time_of_day(minute, hour)
    if not when:
        return ""
    if day == "*" and weekday == "*":
        return when if when.startswith("every") else f"every day at {when}"
    if when.startswith("every"):
        return f"{when} on {days}" if day == "*" and (days := _weekdays(weekday)) else ""
    if day == "*":
        days = _weekdays(weekday)
        return f"{days} at {when}" if days else ""
    if weekday == "*" and _MINUTE.fullmatch(day):
        return f"on day {int(day)} of every month at {when}"
    return f"on the last day of every month at {when}" if weekday == "*" and day.upper() == "L" else ""


def _time_of_day(minute: str, hour: str) -> str:
    if hour == "*":
        if minute == "*":
            return "every minute"
        if step := _STEP.fullmatch(minute):
            every = int(step[1])
            return f"every {every} min" if every and 60 % every == 0 else ""
        return f"every hour at :{int(minute):02d}" if _MINUTE.fullmatch(minute) else ""
    if not _MINUTE.fullmatch(minute):
        return ""
    if step := _STEP.fullmatch(hour):
        every = int(step[1])
        return f"every {every} h at :{int(minute):02d}" if every and 24 % every == 0 else ""
    hours = hour.split(",")
    if not all(_MINUTE.fullmatch(each) for each in hours):
        return ""
    times = [f"{int(each):02d}:{int(minute):02d}" for each in hours]
    return times[0] if len(times) == 1 else f"{', '.join(times[:-1])} and {times[-1]}"


def _weekdays(field: str) -> str:
    """`every Monday and Thursday`, `Monday to Friday`; empty: not plainly said."""
    if span := re.fullmatch(r"(\w+)-(\w+)", field):
        first, last = _day(span[1]), _day(span[2])
        return f"{first} to {last}" if first and last else ""
    days = [_day(each) for each in field.split(",")]
    if not all(days):
        return ""
    return f"every {days[0]}" if len(days) == 1 else f"every {', '.join(days[:-1])} and {days[-1]}"


def _day(word: str) -> str:
    if word.isdigit() and len(word) == 1 and int(word) < len(_DAYS):
        return _DAYS[int(word)]
    number = _NAMES.get(word.lower())
    return "" if number is None else _DAYS[number]
