"""The days of an iCalendar file (RFC 5545): a program that reads one on its standard input, within limits.

Such files come from elsewhere, so whoever needs one starts this as a process of its own (`calendars_files`). Prints
the days, as ordinals of `date`, on which there is an event; a message on standard error and exit status 1 where the
file cannot be read. The libraries that know the format are imported here and nowhere else.
"""

from __future__ import annotations

import resource
import sys
from datetime import date, datetime, timedelta
from typing import Any

CPU_S = 5
MEMORY_BYTES = 1 << 30
MAX_BYTES = 4 << 20
MOST_DAYS = 20_000


def days_of(data: bytes, first: date, last: date) -> list[int]:
    """The days from `first` to `last` on which the events of a calendar are, those that repeat among them.

    An event that was cancelled is none. One with times of the day has every day that it touches, in its own zone.
    """
    import icalendar
    import recurring_ical_events

    calendar = icalendar.Calendar.from_ical(data)
    found: set[int] = set()
    for event in recurring_ical_events.of(calendar, skip_bad_series=False).between(first, last + timedelta(days=1)):
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        found.update(_days(event, first, last))
        if len(found) > MOST_DAYS:
            raise ValueError(f"more than {MOST_DAYS} days")
    return sorted(found)


def _days(event: Any, first: date, last: date) -> range:
    end = event.end
    begin_day, end_day = event.start.toordinal(), end.toordinal()
    at_midnight = not isinstance(end, datetime) or (end.hour, end.minute, end.second) == (0, 0, 0)
    if at_midnight and end_day > begin_day:
        end_day -= 1  # the end is no part of an event
    return range(max(begin_day, first.toordinal()), min(end_day, last.toordinal()) + 1)


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    first, last = (date.fromordinal(int(argument)) for argument in sys.argv[1:3])
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        found = days_of(data, first, last)
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed: pip install pyflowd[ics]", file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001  (the libraries raise what they like at a file that is none)
        lines = str(error).splitlines() or [type(error).__name__]
        print(f"no calendar in the form of iCalendar: {lines[0][:200]}", file=sys.stderr)
        return 1
    print(*found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
