"""Reads what `calendars` judges by: calendars of the settings and of the folder beside them, and files of events.

A file that is missing or broken is told in the almanac, and holds what names it; it never keeps the daemon from
starting. Files of events are read in a process of its own, with limits: they come from elsewhere.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterable
from datetime import date

from pyflowd.base.zones import Zone
from pyflowd.language.calendars_settings import read_calendar
from pyflowd.language.document import DocumentError, one_line
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.language.fields import Enough, Report, Wrong
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.states import is_name
from pyflowd.schedules.calendars import Almanac, Calendar, Entries
from pyflowd.schedules.calendars_ics import CPU_S, MAX_BYTES
from pyflowd.settings import Settings

FOLDER = "calendars"
"""Beside the settings."""
_ENDINGS = (".yaml", ".yml", ".ics")
_WAIT_S = 3.0 * CPU_S
"""Beside other work it has less than a processor of its own."""
_YEARS_BACK, _YEARS_AHEAD = 2, 8
"""For which a file of events is spread out."""
_MOST_FILES = 1000


def read_almanac(settings_path: str, settings: Settings, host: Zone, today: date) -> Almanac:
    """The calendars and blackouts of an instance. Never raises: what is wrong is in the almanac."""
    folder = os.path.join(os.path.dirname(settings_path), FOLDER)
    calendars, broken = _of_folder(folder)
    for name, calendar in settings.calendars.items():
        broken.pop(name, None)
        calendars[name] = calendar
    events: dict[str, tuple[int, ...]] = {}
    unread: dict[str, str] = {}
    for name in sorted({calendar.ics for calendar in calendars.values() if calendar.ics}):
        found = _events(os.path.join(folder, name), today)
        if isinstance(found, str):
            unread[name] = found
        else:
            events[name] = found
    entries = Entries(
        calendars=calendars, blackouts=settings.blackouts, events=events, unread=unread, broken=broken
    )  # fmt: skip
    return Almanac(entries, host)


# ---- The folder -----------------------------------------------------------------------------------------------------


def _of_folder(folder: str) -> tuple[dict[str, Calendar], dict[str, str]]:
    """The calendars of its files, and of those that are broken why. What has no name of a calendar is left alone."""
    calendars: dict[str, Calendar] = {}
    broken: dict[str, str] = {}
    for file in _listed(folder):
        stem, ending = os.path.splitext(file)
        if ending not in _ENDINGS or not is_name(stem):
            continue
        if stem in calendars or stem in broken:
            calendars.pop(stem, None)
            broken[stem] = f"{folder}: two files give it; take one away"
        elif ending == ".ics":
            calendars[stem] = Calendar(ics=file)
        else:
            found = _read_yaml(os.path.join(folder, file))
            if isinstance(found, Calendar):
                calendars[stem] = found
            else:
                broken[stem] = found
    return calendars, broken


def _listed(folder: str) -> Iterable[str]:
    try:
        return sorted(file for file in os.listdir(folder) if not file.startswith("."))[:_MOST_FILES]
    except OSError:
        return ()


def _read_yaml(path: str) -> Calendar | str:
    """A calendar, or one line that says what is wrong with its file."""
    data = _read(path)
    if isinstance(data, str):
        return data
    try:
        document = parse_yaml(data)
    except DocumentError as error:
        return f"{path}:{error.line}:{error.column}: {one_line(str(error))}"
    report = Report(path, document)
    found: Calendar | None = None
    try:
        found = read_calendar(document.root, report)
    except Wrong as wrong:
        report.wrong(document.mark, "calendar", wrong)
    except Enough:
        pass
    errors: list[Problem] = [each for each in report.problems if each.severity is Severity.ERROR]
    if errors or found is None:
        return str(errors[0]) if errors else f"{path}: it is no calendar"
    return found


def _read(path: str) -> bytes | str:
    """What is in a plain file of no excessive size, or why it cannot be had."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return f"{path}: {error.strerror}"
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return f"{path}: it is no plain file"
        if status.st_size > MAX_BYTES:
            return f"{path}: {status.st_size} bytes; at most {MAX_BYTES} are read"
        with open(handle, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        return f"{path}: {error.strerror}"
    finally:
        os.close(handle)


# ---- Files of events ------------------------------------------------------------------------------------------------


def _events(path: str, today: date) -> tuple[int, ...] | str:
    """The days of a file in the form of iCalendar, as ordinals of `date`, or why there are none."""
    data = _read(path)
    if isinstance(data, str):
        return data
    first, last = date(today.year - _YEARS_BACK, 1, 1), date(today.year + _YEARS_AHEAD, 12, 31)
    span = [str(day.toordinal()) for day in (first, last)]
    command = [sys.executable, "-P", "-m", "pyflowd.schedules.calendars_ics", *span]
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    env = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": folder}
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_WAIT_S, check=False, env=env, cwd="/")
    except subprocess.TimeoutExpired:
        return f"{path}: it takes longer than {_WAIT_S:g} s to read"
    except OSError as error:
        return f"{path}: it cannot be read: {error.strerror}"
    if done.returncode:
        said = one_line(done.stderr.decode(errors="replace")).strip()
        return f"{path}: {said[:300] or f'reading it takes more than {CPU_S} s or too much memory'}"
    return tuple(map(int, done.stdout.split()))
