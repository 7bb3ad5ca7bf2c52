"""The functions of expressions that work on times: RFC 3339 texts, and dates as `2026-03-29`.

A time keeps the offset of its text unless a zone is named. Nothing here knows what time it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from pyflowd import units
from pyflowd.base import zones
from pyflowd.expressions.expression_values import ExpressionError, Value, kind, shown

_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:([Zz])|([+-][0-9]{2}):([0-9]{2}))",
    re.ASCII,
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_MOST_DAYS = 3_660_000
_CODE = re.compile(r"%(.?)", re.DOTALL)
_CODES: dict[str, Callable[[datetime], str]] = {
    "Y": lambda at: f"{at.year:04}",
    "y": lambda at: f"{at.year % 100:02}",
    "m": lambda at: f"{at.month:02}",
    "d": lambda at: f"{at.day:02}",
    "e": lambda at: f"{at.day:2}",
    "H": lambda at: f"{at.hour:02}",
    "I": lambda at: f"{(at.hour + 11) % 12 + 1:02}",
    "M": lambda at: f"{at.minute:02}",
    "S": lambda at: f"{at.second:02}",
    "f": lambda at: f"{at.microsecond:06}",
    "p": lambda at: "AM" if at.hour < 12 else "PM",
    "j": lambda at: f"{at.timetuple().tm_yday:03}",
    "u": lambda at: f"{at.isoweekday()}",
    "w": lambda at: f"{at.isoweekday() % 7}",
    "a": lambda at: _DAYS[at.weekday()][:3],
    "A": lambda at: _DAYS[at.weekday()],
    "b": lambda at: _MONTHS[at.month - 1][:3],
    "B": lambda at: _MONTHS[at.month - 1],
    "G": lambda at: f"{at.isocalendar().year:04}",
    "V": lambda at: f"{at.isocalendar().week:02}",
    "F": lambda at: f"{at.year:04}-{at.month:02}-{at.day:02}",
    "T": lambda at: f"{at.hour:02}:{at.minute:02}:{at.second:02}",
    "R": lambda at: f"{at.hour:02}:{at.minute:02}",
    "s": lambda at: f"{_since_epoch(at) // timedelta(seconds=1)}",
    "z": lambda at: _offset(at).replace(":", ""),
    "%": lambda at: "%",
}
"""A closed list, and English: what a run does must not depend on the host's language."""
CODES = " ".join(f"%{code}" for code in _CODES)


def date(time: Value, form: Value = "%F", zone: Value = None) -> str:
    at = _read(time, zone)
    if not isinstance(form, str):
        raise ExpressionError(f"a form such as '%F' is a text, not {kind(form)}")

    def one(match: re.Match[str]) -> str:
        code = _CODES.get(match[1])
        if code is None:
            raise ExpressionError(f"date has no code {shown('%' + match[1])}: there are {CODES}")
        return code(at)

    return _CODE.sub(one, form)


def add_days(time: Value, days: Value, zone: Value = None) -> str:
    if not isinstance(days, int) or isinstance(days, bool):
        raise ExpressionError(f"days are a whole number, not {kind(days)}")
    at = _read(time, zone)
    if abs(days) > _MOST_DAYS:
        raise _out_of_range()
    return _written(_later(at, timedelta(days=days)), time)


def add(time: Value, duration: Value) -> str:
    if not isinstance(duration, str):
        raise ExpressionError(f"a duration is a text such as '90m', not {kind(duration)}")
    try:
        seconds = units.duration_s(duration.removeprefix("-"))
    except ValueError:
        raise ExpressionError("the duration is none: write one such as '90m', '-2h', '7d', at most ten years") from None
    if _is_date(time) and seconds % 86_400:
        raise ExpressionError("to a date only whole days can be added, such as '2d'")
    return _written(_later(_read(time), timedelta(seconds=-seconds if duration[:1] == "-" else seconds)), time)


def timestamp(time: Value, zone: Value = None) -> int | float:
    since = _since_epoch(_read(time, zone))
    return since // timedelta(seconds=1) if not since.microseconds else since.total_seconds()


def _later(at: datetime, by: timedelta) -> datetime:
    try:
        later = at + by
        # By way of UTC: a wall time that the zone leaves out becomes one that it has.
        return later.astimezone(UTC).astimezone(later.tzinfo)
    except (OverflowError, ValueError):
        raise _out_of_range() from None


def _out_of_range() -> ExpressionError:
    return ExpressionError("the result is outside of the years 1 to 9999")


def _since_epoch(at: datetime) -> timedelta:
    return at - datetime(1970, 1, 1, tzinfo=UTC)


def _is_date(time: Value) -> bool:
    return isinstance(time, str) and _DATE.fullmatch(time) is not None


def _read(time: Value, zone: Value = None) -> datetime:
    """The time that a text names, as the clocks of the zone show it; of a date, its midnight there, or in UTC."""
    if not isinstance(time, str):
        fix = ": default(...) gives another value" if time is None else ""
        raise ExpressionError(f"a time is a text such as '2026-03-29T02:30:00+02:00', not {kind(time)}{fix}")
    info = None if zone is None else _zone(zone)
    try:
        if _is_date(time):
            return _checked(datetime.fromisoformat(f"{time}T00:00:00").replace(tzinfo=info or UTC))
        match = _TIME.fullmatch(time)
        if match is not None:
            at = _checked(_aware(match))
            return at if info is None else at.astimezone(info)
    except (ValueError, OverflowError):
        raise ExpressionError("the text names a time that is not in the calendar") from None
    raise ExpressionError(
        "the text is no time: write a date as 2026-03-29, or a time with its offset as 2026-03-29T02:30:00+02:00"
    )


def _aware(match: re.Match[str]) -> datetime:
    day, clock, fraction, utc, hours, minutes = match.groups()
    zone = UTC
    if not utc:
        if int(minutes) > 59:
            raise ValueError(minutes)
        east = timedelta(hours=int(hours[1:]), minutes=int(minutes))
        zone = timezone(-east if hours[0] == "-" else east)
    microsecond = int((fraction or "0").ljust(6, "0")[:6])
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zone, microsecond=microsecond)


def _checked(at: datetime) -> datetime:
    """`at`. Raises OverflowError if UTC has no such time: on the first or last day of the calendar."""
    at.astimezone(UTC)
    return at


def _zone(name: Value) -> tzinfo:
    if not isinstance(name, str):
        raise ExpressionError(f"a zone is a text such as 'Europe/Berlin', not {kind(name)}")
    try:
        return zones.zone(name).info
    except ValueError as error:
        raise ExpressionError(shown(str(error), 200)[1:-1]) from None


def _offset(at: datetime) -> str:
    minutes = (at.utcoffset() or timedelta(0)) // timedelta(minutes=1)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _written(at: datetime, like: Value) -> str:
    """As RFC 3339, or as a date if it was one."""
    return at.date().isoformat() if _is_date(like) else at.isoformat()
