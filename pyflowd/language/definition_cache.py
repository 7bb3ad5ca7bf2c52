"""`cache` of a task: how it is written, and where it has no meaning. What it does is in `cache`."""

from __future__ import annotations

from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Mapping
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.kinds import Call, Http, Kind
from pyflowd.model.workflow import Cache

CACHE = Table(
    "cache",
    {"key": ("key", fields.template), "ttl": ("ttl_s", fields.positive_duration_s)},
    meant={"expires": "ttl", "max_age": "ttl", "age": "ttl", "for": "ttl", "timeout": "ttl", "keys": "key"},
)
_WRITE = "write it as in {key: '${{ params.day }}', ttl: 7d}"
_AGAINST = {
    "repeat": "each pass of a repeat is there to find out something new",
    "undo": "it would take back what an earlier run did",
}
"""Keys of a task that do not go with `cache`, and why."""


def read_cache(value: Any, report: Report) -> Cache | None:
    """None: something is wrong with it, and reported."""
    table = fields.mapping(value, report)
    for key in ("key", "ttl"):
        if key not in table:
            raise Wrong(f"it has no {key}", _WRITE, code="missing")
    if isinstance(table["key"], str) and not table["key"].strip():
        raise Wrong("its key is empty", _WRITE)
    errors = report.errors
    found = read(CACHE, table, report)
    return Cache(**found) if report.errors == errors else None


def judge_cache(mapping: Mapping, kind: Kind, report: Report) -> None:
    """What does not go with a task whose outputs are used again."""

    def refuse(what: str, why: str, fix: str) -> None:
        report.add(mapping.key_mark("cache"), "no_meaning", f"{what} and cache do not go together: {why}", fix)

    for key, why in _AGAINST.items():
        if key in mapping:
            refuse(key, why, f"leave {key} or cache out")
    if isinstance(kind, Http) and kind.save_to:
        why = "the file goes with the scratch folder of its run"
        refuse("save_to", why, "leave cache out, or let a task with run fetch it and keep it under artifacts:")
    if isinstance(kind, Call) and not kind.wait:
        refuse("wait: false", "nothing comes of the call that could be used again", "leave cache out")
