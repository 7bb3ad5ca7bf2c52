"""What of a schedule would only show with time: one that never starts anything, times that are past, names of nothing.

Whoever asks says what time it is and which calendars there are; what is not known is not judged.
"""

from __future__ import annotations

from typing import NamedTuple

from pyflowd.base import zones
from pyflowd.language import fields
from pyflowd.language.document import Mapping, quote
from pyflowd.language.fields import Report
from pyflowd.model.triggers import Schedule
from pyflowd.schedules import cron, schedule
from pyflowd.schedules.calendars import Almanac
from pyflowd.schedules.timetable import Timetable

US = 1_000_000


class Written(NamedTuple):
    """A schedule as the file has it."""

    keys: tuple[Mapping, ...]
    """The mappings in which its keys stand: its own, that of its trigger."""
    mark: int

    def mark_of(self, key: str) -> int:
        """Where the value of a key stands; where there is none, the schedule."""
        return next((each.value_mark(key) for each in self.keys if key in each), self.mark)


def written(trigger: Schedule, root: Mapping) -> Written | None:
    """Where a schedule stands; None: it is not found."""
    triggers = root.get("triggers")
    if isinstance(triggers, Mapping) and trigger.name in triggers:
        held = triggers[trigger.name]
        if not isinstance(held, Mapping):
            return None
        inner = held.get("schedule")
        mark = held.value_mark("schedule") if "schedule" in held else triggers.value_mark(trigger.name)
        return Written((inner, held) if isinstance(inner, Mapping) else (held,), mark)
    if "schedule" not in root:
        return None
    inner = root["schedule"]
    return Written((inner,) if isinstance(inner, Mapping) else (), root.value_mark("schedule"))


def lint_schedule(
    trigger: Schedule, root: Mapping, report: Report, *, now_us: int, host: str | None, almanac: Almanac | None
) -> None:
    """Problems of one schedule. `host`: the zone of schedules that name none."""
    place = written(trigger, root)
    if place is None or not trigger.enabled:
        return
    if almanac is not None:
        known = len(report.problems)
        _lint_names("calendar", "unknown_calendar", trigger.calendars, almanac.calendars, place, report)
        _lint_names("blackout", "unknown_blackout", trigger.blackouts, almanac.blackouts, place, report)
        if len(report.problems) > known:
            return
    if not now_us or (host is None and trigger.timezone is None):
        return
    where = zones.zone(trigger.timezone or host or "UTC")
    if trigger.at and not _lint_past(trigger, where, now_us, place, report):
        return
    if trigger.cron and cron.parse(trigger.cron).reboot:
        return
    if almanac is not None and not almanac.held(trigger) and _never_starts(trigger, where, now_us, almanac):
        by = " and ".join(quote(name) for name in (*trigger.calendars, *trigger.blackouts))
        message = f"{trigger.name}: within five years none of its times is one that {by or 'blackouts'} leave free"
        fix = "see: pyflowctl next --cron; change the times or the calendar"
        report.add(place.mark_of("calendar"), "never_fires", message, fix, warning=True)


def _lint_names(
    key: str, code: str, names: tuple[str, ...], known: tuple[str, ...], place: Written, report: Report
) -> None:
    for name in names:
        if name not in known:
            message = f"{key}: there is no {key} {quote(name)} on this host{fields.suggest(name, known)}"
            fix = f"add it under {key}s: of pyflowd.yaml; until then the schedule is held"
            report.add(place.mark_of(key), code, message, fix, warning=True)


def _lint_past(trigger: Schedule, where: zones.Zone, now_us: int, place: Written, report: Report) -> bool:
    """Whether some of its times are still to come."""
    past = [text for text in trigger.at if schedule.instant_us(text, where) <= now_us]
    if past:
        which = "all of its times are" if len(past) == len(trigger.at) else f"{past[0]} is"
        fix = "a time that is past when the file is loaded never fires: remove it"
        report.add(place.mark_of("at"), "past_time", f"{trigger.name}: {which} past", fix, warning=True)
    return len(past) < len(trigger.at)


def _never_starts(trigger: Schedule, where: zones.Zone, now_us: int, almanac: Almanac) -> bool:
    if not (trigger.calendars or trigger.blackouts):
        return False
    table = Timetable("lint", where, almanac.judge)
    table.set_workflow("w", (trigger,), now_us)
    return table.next_of("w", now_us) is None
