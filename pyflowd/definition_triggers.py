"""What starts a workflow by itself: `schedule` at the top, and `triggers`.

Schedules only, in this version; the other sorts of trigger are known by name. It knows nothing of time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflowd import cron, fields, params
from pyflowd.document import Mapping, quote
from pyflowd.errors import Refused
from pyflowd.fields import Report, Table, Wrong, read
from pyflowd.model import Dst, Param, Schedule
from pyflowd.template import has_expression

TOP = "schedule"
"""The name of the trigger that `schedule` at the top is short for."""

_TRIGGERS_LATER = frozenset({"every", "at", "webhook", "file", "workflow", "boot", "unit"})

SCHEDULE = Table(
    "schedule",
    {
        "cron": ("cron", fields.cron_text),
        "timezone": ("timezone", fields.timezone),
        "jitter": ("jitter_s", fields.duration_s),
        "dst": ("dst", fields.one_of(Dst)),
        "enabled": ("enabled", fields.boolean),
        "params": ("params", fields.mapping),
    },
    later=frozenset({"catchup", "overlap", "deadline", "blackout", "calendar", "start", "end", "if", "every", "at"}),
    meant={"tz": "timezone", "zone": "timezone", "expression": "cron", "random_delay": "jitter"},
)


def _read_schedule(value: Any, report: Report) -> dict[str, Any]:
    """A cron string, or a mapping that has one."""
    if value.__class__ is not Mapping:
        if value.__class__ is not str:
            raise Wrong(f"expected a cron expression or a mapping, found {fields.shape(value)}")
        return {"cron": fields.cron_text(value, report)}
    if "cron" not in value:
        read(SCHEDULE, value, report)  # for what else is wrong
        raise Wrong("it has no cron", 'write it as in cron: "30 2 * * *"', code="missing")
    return read(SCHEDULE, value, report)


TRIGGER = Table(
    "a trigger",
    {
        "schedule": ("schedule", _read_schedule),
        "params": ("params", fields.mapping),
        "enabled": ("enabled", fields.boolean),
    },
    later=_TRIGGERS_LATER | {"if"},
    meant={"cron": "schedule"},
)


def _read_trigger(value: Any, report: Report) -> dict[str, Any]:
    """The fields of a `Schedule`."""
    found = read(TRIGGER, fields.mapping(value, report), report)
    if not any(key == "schedule" or key in _TRIGGERS_LATER for key in value):
        raise Wrong("a trigger needs something that fires it", "give it a schedule", code="missing")
    schedule = found.get("schedule", {})
    if "params" in found and "params" in schedule:
        raise Wrong("params stand in the trigger and in its schedule", "keep them in one place")
    enabled = found.get("enabled", True) and schedule.get("enabled", True)
    return {**schedule, "params": found.get("params", schedule.get("params")), "enabled": enabled}


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
        raise Wrong(str(refused), "give it under params: of the trigger, or a default", code="params") from None
    return Schedule(name=name, params=given, **found)


def _lint(schedule: Schedule, mark: int, report: Report) -> None:
    for code, surprise in cron.advice(cron.parse(schedule.cron)):
        report.add(mark, code, f"{schedule.name}: {surprise}", warning=True)
