"""What starts a workflow by time: `schedule` at the top, and the entries of `triggers` that a clock fires.

What waits for events is read by `definition_events`. It knows nothing of when anything is due.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pyflowd.errors import Refused
from pyflowd.expressions.template import has_expression
from pyflowd.language import definition_events, fields, params
from pyflowd.language.document import Mapping, Sequence, one_line, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.triggers import Catchup, CatchupPolicy, Dst, Schedule
from pyflowd.model.workflow import Param
from pyflowd.schedules import cron

TOP = "schedule"
"""The name of the trigger that `schedule` at the top is short for."""
MOST_TIMES = 1000
"""Of one list under `at`."""
LEAST_EVERY_S = 1.0
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII
)
REBOOT = "@reboot"


# ---- Values ---------------------------------------------------------------------------------------------------------


def _read_every(value: Any, report: Report) -> float:
    found = fields.duration_s(value, report)
    if found < LEAST_EVERY_S:
        raise Wrong(f"{quote(str(value))} is too short", "write 1s or more")
    return found


def read_moment(value: Any, report: Report) -> str:
    """A time of RFC 3339; without an offset it is one on the wall."""
    written = fields.text(value, report).strip()
    if not _TIME.fullmatch(written):
        fix = 'write it as in "2026-12-24 18:00", or with an offset as in 2026-12-24T18:00:00+01:00'
        raise Wrong(f"{quote(written)} is no date with a time", fix)
    try:
        datetime.fromisoformat(written)
    except ValueError as error:
        raise Wrong(f"{quote(written)}: {one_line(str(error))}") from None
    return written


def _read_at(value: Any, report: Report) -> tuple[str, ...]:
    if isinstance(value, Sequence) and not 0 < len(value) <= MOST_TIMES:
        raise Wrong(f"a list of {len(value)} times", f"give 1 to {MOST_TIMES}")
    return fields.items(read_moment, value, report)


def _read_boot(value: Any, report: Report) -> str:
    if fields.boolean(value, report) is not True:
        raise Wrong("it is false", "leave the trigger out, or write enabled: false")
    return REBOOT


JITTER = Table(
    "jitter",
    {"max": ("jitter_s", fields.positive_duration_s), "random": ("random_jitter", fields.boolean)},
)


def _read_jitter(value: Any, report: Report) -> dict[str, Any]:
    """The greatest delay, or a mapping that has it."""
    if value.__class__ is not Mapping:
        return {"jitter_s": fields.duration_s(value, report)}
    if "max" not in value:
        raise Wrong("it has no max", "write it as in {max: 5m, random: true}", code="missing")
    return read(JITTER, value, report)


CATCHUP = Table(
    "catchup",
    {
        "policy": ("policy", fields.one_of(CatchupPolicy)),
        "within": ("within_s", fields.positive_duration_s),
        "max": ("max", fields.integer_from(1, 10_000)),
    },
    meant={"limit": "max", "window": "within", "mode": "policy"},
)


def read_catchup(value: Any, report: Report) -> Catchup:
    """Rule T6: a policy, or a mapping."""
    if value.__class__ is not Mapping:
        return Catchup(policy=fields.one_of(CatchupPolicy)(value, report))
    return Catchup(**read(CATCHUP, value, report))


# ---- Schedules and triggers -----------------------------------------------------------------------------------------

_MORE: dict[str, tuple[str, fields.Reader]] = {
    "timezone": ("timezone", fields.timezone),
    "jitter": ("jitter", _read_jitter),
    "dst": ("dst", fields.one_of(Dst)),
    "catchup": ("catchup", read_catchup),
    "calendar": ("calendars", fields.one_or_more(fields.name)),
    "blackout": ("blackouts", fields.one_or_more(fields.name)),
    "deadline": ("deadline_s", fields.positive_duration_s),
    "if": ("condition", fields.condition),
    "enabled": ("enabled", fields.boolean),
    "params": ("params", fields.mapping),
}
"""Of a schedule, and of a trigger that has one."""
_MEANT = {
    "tz": "timezone", "zone": "timezone", "expression": "cron", "random_delay": "jitter", "interval": "every",
    "catch_up": "catchup", "calendars": "calendar", "blackouts": "blackout", "when": "if",
}  # fmt: skip
_TIMES = ("cron", "every", "at")
_CLOCKS = (TOP, "every", "at", "boot")

SCHEDULE = Table(
    "schedule",
    {
        "cron": ("cron", fields.cron_text),
        "every": ("every_s", _read_every),
        "at": ("at", _read_at),
        **_MORE,
    },
    later=frozenset({"overlap", "start", "end"}),
    meant=_MEANT,
)


def _read_schedule(value: Any, report: Report) -> dict[str, Any]:
    """A cron string, or a mapping that has one, an interval or times."""
    if value.__class__ is not Mapping:
        if value.__class__ is not str:
            raise Wrong(f"expected a cron expression or a mapping, found {fields.shape(value)}")
        return {"cron": fields.cron_text(value, report)}
    found = read(SCHEDULE, value, report)
    _check_one([key for key in _TIMES if key in value], "it has no cron", 'write it as in cron: "30 2 * * *"')
    return found


def _check_one(keys: list[str], missing: str, fix: str) -> None:
    if not keys:
        raise Wrong(missing, fix, code="missing")
    if len(keys) > 1:
        raise Wrong(f"{' and '.join(keys)} stand together", "make a trigger of each")


TRIGGER = Table(
    "a trigger",
    {
        "schedule": ("schedule", _read_schedule),
        "every": ("every_s", _read_every),
        "at": ("at", _read_at),
        "boot": ("cron", _read_boot),
        **definition_events.SORTS,
        **_MORE,
    },
    meant={**_MEANT, "cron": "schedule"},
)


def _read_trigger(value: Any, report: Report) -> dict[str, Any]:
    """The fields of a `Schedule`."""
    found = read(TRIGGER, fields.mapping(value, report), report)
    clocks = [key for key in _CLOCKS if key in value]
    _check_one(clocks, "a trigger needs something that fires it", "give it a schedule")
    schedule = found.pop("schedule", {})
    for field in schedule.keys() & found.keys() - {"enabled"}:
        key = next(key for key, (filled, _) in TRIGGER.keys.items() if filled == field)
        raise Wrong(f"{key}: it stands in the trigger and in its schedule", "keep it in one place")
    enabled = found.pop("enabled", True) and schedule.get("enabled", True)
    return {**schedule, **found, "enabled": enabled}


def read_triggers(workflow: Mapping, declared: tuple[Param, ...] | None, report: Report) -> tuple[Schedule, ...]:
    """All triggers of a file, `schedule` at the top first. `declared` is None if the params are wrong themselves."""
    schedules = []
    for name, value, mark, read_one in _written(workflow, report):
        try:
            fields.check_name(name)
            errors = report.errors
            found = read_one(value, report)
            if report.errors == errors:
                schedules.append(_schedule(name, found, declared))
                _lint(schedules[-1], mark, report)
        except Wrong as wrong:
            report.wrong(mark, name, wrong)
    return tuple(schedules)


def _written(workflow: Mapping, report: Report) -> Iterator[tuple[str, Any, int, fields.Reader]]:
    """Name, value, mark and reader of each trigger."""
    if workflow.get("schedule") is not None:
        yield TOP, workflow["schedule"], workflow.value_mark("schedule"), _read_schedule
    triggers = workflow.get("triggers")
    if triggers is None:
        return
    mark = workflow.value_mark("triggers")
    if triggers.__class__ is not Mapping:
        report.add(mark, "value", f"triggers: expected a mapping of name to trigger, found {fields.shape(triggers)}")
        return
    for index, (name, value) in enumerate(triggers.items()):
        if definition_events.is_event(value):
            continue  # read there
        if name == TOP and "schedule" in workflow:
            message = f"triggers: {quote(name)} is the name of the schedule at the top"
            report.add(triggers.marks[2 * index], "duplicate_name", message, "choose another name")
            continue
        yield name, value, triggers.marks[2 * index + 1], _read_trigger


def _schedule(name: str, found: dict[str, Any], declared: tuple[Param, ...] | None) -> Schedule:
    """The trigger, its params bound once to see that each of its runs will have what it needs."""
    given = params.plain(found.pop("params", None) or {})
    if has_expression(given):
        fix = "write the value out, or let the default of the param make it"
        raise Wrong("an expression may not stand in params of a trigger", fix, code="expression")
    try:
        if declared is not None:
            params.bind(declared, given, from_text=False)
    except Refused as refused:
        unknown = set(given) - {param.name for param in declared or ()}
        fix = "declare it under params:" if unknown else "give it under params: of the trigger, or a default"
        raise Wrong(str(refused), fix, code="params") from None
    return Schedule(name=name, params=given, **found.pop("jitter", {}), **found)


def _lint(schedule: Schedule, mark: int, report: Report) -> None:
    if not schedule.cron and schedule.dst is not Dst.DEBIAN:
        message = f"{schedule.name}: dst is of cron expressions; here it has no effect"
        report.add(mark, "no_effect", message, "leave it out", warning=True)
    if not schedule.cron:
        return
    if schedule.cron == REBOOT and schedule.jitter_s:
        message = f"{schedule.name}: it fires when the host has started; the jitter has no effect"
        report.add(mark, "no_effect", message, "begin the workflow with a task that waits", warning=True)
    for code, surprise in cron.advice(cron.parse(schedule.cron)):
        report.add(mark, code, f"{schedule.name}: {surprise}", warning=True)
