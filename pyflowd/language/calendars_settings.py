"""Readers of calendars and blackouts: of the settings' keys, and of the files in the folder `calendars`.

It knows nothing of what days come of them, and opens no file.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import one_line, quote
from pyflowd.language.fields import Reader, Report, Table, Wrong, read
from pyflowd.schedules import cron
from pyflowd.schedules.calendars import Blackout, Calendar

MOST = 1000
_LEAP_YEAR = 2000
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_SPAN = re.compile(rf"({_DATE})(?:\.\.({_DATE}))?|([0-9]{{2}}-[0-9]{{2}})", re.ASCII)
DATES = rf"^(?:{_DATE}(?:\.\.{_DATE})?|[0-9]{{2}}-[0-9]{{2}})$"
_DAILY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00))", re.ASCII)
DAILY = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]-(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
_MOMENT = re.compile(
    rf"{_DATE}(?:[T ][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}})?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?", re.ASCII
)
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}\.ics", re.ASCII)

# ---- Calendars ------------------------------------------------------------------------------------------------------


def _cron_field(place: int, value: Any, report: Report) -> str:
    """One word or number, or a list of them, as the field of a cron expression has them."""

    def one(each: Any, _: Report) -> str:
        if each.__class__ not in (str, int) or each == "" or (isinstance(each, str) and set(each) & set(" \t*?")):
            raise Wrong(f"{fields.shape(each)} is no day" if place != 3 else f"{fields.shape(each)} is no month")
        return str(each)

    written = ",".join(fields.items(one, value, report))
    parts = ["0", "0", "*", "*", "*"]
    parts[place] = written
    try:
        cron.parse(" ".join(parts))
    except ValueError as error:
        raise Wrong(one_line(str(error)).partition("': ")[2], code="cron") from None
    return written


def _read_days(value: Any, report: Report) -> str:
    return _cron_field(4, value, report)


def _read_month_days(value: Any, report: Report) -> str:
    return _cron_field(2, value, report)


def _read_months(value: Any, report: Report) -> str:
    return _cron_field(3, value, report)


def _read_dates(value: Any, report: Report) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Days and spans of days; days of every year."""
    spans: list[tuple[int, int]] = []
    yearly: list[tuple[int, int]] = []
    for text in fields.items(fields.word, value, report):
        match = _SPAN.fullmatch(text)
        if match is None:
            fix = 'write it as in "2026-12-24", "2026-12-27..2026-12-31", or "12-25" for each year'
            raise Wrong(f"{quote(text)} is no day", fix)
        try:
            if match[3]:
                day = date.fromisoformat(f"{_LEAP_YEAR}-{match[3]}")
                yearly.append((day.month, day.day))
                continue
            first, last = (date.fromisoformat(each) for each in (match[1], match[2] or match[1]))
        except ValueError as error:
            raise Wrong(f"{quote(text)}: {error}") from None
        if first > last:
            raise Wrong(f"{quote(text)} runs backwards", f"write {last}..{first}")
        spans.append((first.toordinal(), last.toordinal()))
    if len(spans) + len(yearly) > MOST:
        raise Wrong(f"{len(spans) + len(yearly)} entries; at most {MOST}", "put them in an .ics file")
    return spans, yearly


def _read_ics(value: Any, report: Report) -> str:
    """A file in the folder `calendars`, or an absolute path."""
    written = fields.word(value, report)
    if written.startswith("/") and "\0" not in written and len(written) <= fields.MAX_PATH_BYTES:
        return written
    if not _FILE.fullmatch(written):
        fix = "name a file of the folder calendars beside the settings, as in holidays.ics, or an absolute path"
        raise Wrong(f"{quote(written)} is no name of a calendar file", fix)
    return written


_NAMES: Reader = fields.one_or_more(fields.name)

CALENDAR = Table(
    "a calendar",
    {
        "days": ("days", _read_days),
        "month_days": ("month_days", _read_month_days),
        "months": ("months", _read_months),
        "dates": ("dates", _read_dates),
        "ics": ("ics", _read_ics),
        "also": ("also", _NAMES),
        "not": ("without", _NAMES),
    },
    meant={
        "weekdays": "days", "days_of_month": "month_days", "date": "dates", "file": "ics", "holidays": "ics",
        "or": "also", "include": "also", "except": "not", "exclude": "not", "without": "not",
    },
)  # fmt: skip


def read_calendar(value: Any, report: Report) -> Calendar:
    mapping = fields.mapping(value, report)
    found = read(CALENDAR, mapping, report)
    if not mapping:
        raise Wrong("it says nothing", "write it as in {days: [mon-fri], not: [holidays]}")
    parts = [found.get(key) for key in ("month_days", "months", "days")]
    rule = " ".join(["0 0", *(part or "*" for part in parts)]) if any(parts) else ""
    if rule:
        try:
            cron.parse(rule)
        except ValueError as error:
            raise Wrong(one_line(str(error)).partition("': ")[2], code="cron") from None
    spans, yearly = found.get("dates", ([], []))
    return Calendar(
        rule=rule, dates=tuple(spans), yearly=tuple(yearly), ics=found.get("ics", ""), also=found.get("also", ()),
        without=found.get("without", ()),
    )  # fmt: skip


# ---- Blackouts ------------------------------------------------------------------------------------------------------


def _read_moment(value: Any, report: Report) -> str:
    written = fields.text(value, report).strip()
    if not _MOMENT.fullmatch(written):
        raise Wrong(f"{quote(written)} is no time", 'write it as in "2026-12-20" or "2026-12-20 18:00"')
    try:
        date.fromisoformat(written[:10])
    except ValueError as error:
        raise Wrong(f"{quote(written)}: {error}") from None
    return written


def _read_from(value: Any, report: Report) -> str:
    """A day alone: from its begin."""
    written = _read_moment(value, report)
    return written if len(written) > 10 else f"{written} 00:00"


def _read_to(value: Any, report: Report) -> str:
    """A day alone: to its end."""
    written = _read_moment(value, report)
    return written if len(written) > 10 else f"{date.fromordinal(date.fromisoformat(written).toordinal() + 1)} 00:00"


def _read_daily(value: Any, report: Report) -> tuple[int, int]:
    written = fields.text(value, report)
    match = _DAILY.fullmatch(written)
    if match is None:
        raise Wrong(f"{quote(written)} is no time of the day", 'write it as in "22:00-02:00"')
    begin = int(match[1]) * 60 + int(match[2])
    end = int(match[3] or match[5]) * 60 + int(match[4] or match[6])
    if begin == end or (begin, end) == (0, 1440):
        raise Wrong(f"{quote(written)} is the whole day", "leave daily out, and name a calendar")
    return begin, end % 1440


BLACKOUT = Table(
    "a blackout",
    {
        "from": ("from_text", _read_from),
        "to": ("to_text", _read_to),
        "daily": ("daily", _read_daily),
        "calendar": ("calendars", _NAMES),
        "timezone": ("timezone", fields.timezone),
        "all": ("for_all", fields.boolean),
    },
    meant={
        "start": "from", "begin": "from", "since": "from", "end": "to", "until": "to", "time": "daily",
        "calendars": "calendar", "tz": "timezone", "global": "all",
    },
)  # fmt: skip


def read_blackout(value: Any, report: Report) -> Blackout:
    errors = report.errors
    mapping = fields.mapping(value, report)
    found = Blackout(**read(BLACKOUT, mapping, report))
    if report.errors == errors and not (found.from_text or found.to_text or found.daily or found.calendars):
        raise Wrong(
            "it says no time", 'write it as in {from: "2026-12-20", to: "2027-01-05"} or {daily: "22:00-02:00"}'
        )
    if found.from_text and found.to_text and found.from_text[:16] >= found.to_text[:16]:
        raise Wrong("it ends before it begins")
    return found


# ---- Both -----------------------------------------------------------------------------------------------------------


def _named(reader: Reader, value: Any, report: Report) -> dict[str, Any]:
    table = fields.mapping(value, report)
    found = {}
    for name, content in table.items():
        try:
            fields.check_name(name)
            found[name] = reader(content, report)
        except Wrong as wrong:
            report.wrong(table.value_mark(name), quote(name)[1:-1], wrong)
    return found


def read_calendars(value: Any, report: Report) -> dict[str, Calendar]:
    return _named(read_calendar, value, report)


def read_blackouts(value: Any, report: Report) -> dict[str, Blackout]:
    return _named(read_blackout, value, report)
