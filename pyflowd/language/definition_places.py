"""Readers of what runs share: `concurrency`, `locks`, `pool`, `pools`, `priority`, `gates`."""

from __future__ import annotations

from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Mapping, Sequence, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.workflow import Concurrency, DiskFree, Gates, Workflow

MAX_SLOTS = 100_000

CONCURRENCY = Table(
    "concurrency",
    {
        "group": ("group", fields.template),
        "limit": ("limit", fields.integer_from(1, 10_000)),
        "queue_max": ("queue_max", fields.integer_from(0, 10_000)),
    },
    meant={"max": "limit", "name": "group", "max_parallel": "limit", "queue": "queue_max"},
)


def read_concurrency(value: Any, report: Report) -> Concurrency:
    """A mapping; a number is short for `limit`, a text for `group`."""
    if value.__class__ is Mapping:
        return Concurrency(**read(CONCURRENCY, value, report))
    if value.__class__ is str:
        return Concurrency(group=fields.template(value, report))
    return Concurrency(limit=fields.integer_from(1, 10_000)(value, report))


def read_locks(value: Any, report: Report) -> tuple[str, ...]:
    return tuple(sorted(set(fields.one_or_more(fields.name)(value, report))))


_slots = fields.integer_from(1, MAX_SLOTS)


def read_pool(value: Any, report: Report) -> dict[str, int]:
    """Slots that a task takes: a name, a list of names, or names and slots."""
    if value.__class__ is Mapping:
        return read_pools(value, report)
    return dict.fromkeys(fields.one_or_more(fields.name)(value, report), 1)


def read_pools(value: Any, report: Report) -> dict[str, int]:
    """Names of pools and a number of slots for each."""
    table = fields.mapping(value, report)
    found: dict[str, int] = {}
    for name, slots in table.items():
        try:
            fields.check_name(name)
            found[name] = _slots(slots, report)
        except Wrong as wrong:
            report.wrong(table.value_mark(name), quote(name), wrong)
    return dict(sorted(found.items()))


read_priority = fields.integer_from(-100, 100)


def _read_percent_or_size(value: Any, report: Report) -> tuple[int | None, float | None]:
    """Bytes, or percent of the whole."""
    if value.__class__ is str and value.rstrip().endswith("%"):
        try:
            percent = float(value.rstrip()[:-1])
        except ValueError:
            percent = -1.0
        if not 0 < percent <= 100:
            raise Wrong(f"{quote(value)} is no percentage", "write it as in 10%")
        return None, percent
    return fields.file_size_bytes(value, report), None


DISK_FREE = Table(
    "disk_free",
    {"path": ("path", fields.path_template), "at_least": ("at_least", _read_percent_or_size)},
    meant={"min": "at_least", "minimum": "at_least", "size": "at_least"},
)


def _read_disk(value: Any, report: Report) -> DiskFree:
    found = read(DISK_FREE, fields.mapping(value, report), report)
    if len(found) < len(DISK_FREE.keys):
        raise Wrong("it needs path and at_least", "write it as in {path: /var/backups, at_least: 50GiB}")
    return _disk(found["path"], found["at_least"])


def _disk(path: str, at_least: tuple[int | None, float | None]) -> DiskFree:
    return DiskFree(path=path, bytes=at_least[0], percent=at_least[1])


def _read_disks(value: Any, report: Report) -> tuple[DiskFree, ...]:
    """`{path, at_least}`, a list of them, or paths and what must be free there."""
    if value.__class__ is Mapping and not DISK_FREE.keys.keys() & value.keys():
        disks = []
        for path, least in value.items():
            try:
                disks.append(_disk(fields.path(path, report), _read_percent_or_size(least, report)))
            except Wrong as wrong:
                report.wrong(value.value_mark(path), quote(path), wrong)
        return tuple(disks)
    found: tuple[DiskFree, ...] = fields.one_or_more(_read_disk)(value, report)
    return found


def _read_command(value: Any, report: Report) -> tuple[str, ...]:
    if value.__class__ is not Sequence or not value:
        raise Wrong("expected a list of a program and its arguments", "write it as in [/usr/bin/test, -e, /srv/ready]")
    words = tuple(fields.value_template(item, report) for item in value)
    fields.literal(words[0])
    return words


GATES = Table(
    "gates",
    {
        "units_active": ("units_active", fields.one_or_more(fields.template)),
        "disk_free": ("disk_free", _read_disks),
        "path_exists": ("path_exists", fields.one_or_more(fields.path_template)),
        "command": ("command", _read_command),
        "every": ("every_s", fields.positive_duration_s),
        "wait": ("wait_s", fields.duration_s),
    },
    meant={"units": "units_active", "unit": "units_active", "path": "path_exists", "paths": "path_exists",
           "disk": "disk_free", "interval": "every", "timeout": "wait", "for": "wait"},
)  # fmt: skip
_CHECKS = ("units_active", "disk_free", "path_exists", "command")


def read_gates(value: Any, report: Report) -> Gates:
    written = fields.mapping(value, report)
    found = read(GATES, written, report)
    if not any(check in written for check in _CHECKS):
        raise Wrong(f"there is nothing to look at: it needs one of {', '.join(_CHECKS)}")
    return Gates(**found)


def in_order(workflow: Workflow, tasks: tuple[Any, ...]) -> tuple[str, ...]:
    """The locks that a run holds from its start on: those written, and those of its tasks that sort before one of them.

    Every run then takes its locks in the order of their names, so two runs never wait for each other.
    """
    if not workflow.locks:
        return ()
    last = workflow.locks[-1]
    return tuple(sorted({*workflow.locks, *(lock for task in tasks for lock in task.locks if lock < last)}))
