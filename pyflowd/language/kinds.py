"""The built-in kinds of task, told in the same words as plugins: what each does, its keys, an example.

Keys and types come from the tables that read definitions and from the structs that they fill. It knows nothing of how
this is shown.
"""

from __future__ import annotations

from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct

from pyflowd.language.definition_http import HTTP
from pyflowd.language.definition_notify import NOTIFY
from pyflowd.language.definition_process import OPERATIONS, SSH
from pyflowd.language.definition_reboot import REBOOT
from pyflowd.language.definition_waiting import APPROVAL, CALL, WAIT
from pyflowd.language.fields import Table
from pyflowd.language.plugins import Plugin, PluginField
from pyflowd.model import kinds as model

ORIGIN = "built in"


class _About(Struct, frozen=True):
    summary: str
    example: str
    section: str = "KEYS OF A TASK"
    """Of pyflow-workflow(5)."""


ABOUT: dict[str, _About] = {
    "run": _About("shell text, by bash in strict mode or another shell", "run: pg_dump app > /var/backups/app.sql"),
    "argv": _About("a program and its arguments, no shell", "argv: [rsync, -a, /srv/, backup@host:/srv/]"),
    "python": _About("a function, module:function", "python: checks.backup:compare\nwith: {day: mon}"),
    "file": _About(
        "one operation on files, atomic, as the task's user", "file: {copy: /srv/out/*.csv, to: /srv/archive/}",
        "FILE OPERATIONS",
    ),
    "ssh": _About("a script on another host", "ssh: {host: web1, user: deploy, run: ./deploy.sh}", "SSH"),
    "uses": _About("a plugin, with its inputs under with", "uses: sql\nwith: {query: select 1}"),
    "reboot": _About(
        "restarts the host; what needs it runs after that", "reboot: {}\nuser: root", "RESTARTING THE HOST",
    ),
    "http": _About("a request, or a URL for GET", "http: https://app.example.org/health", "HTTP"),
    "workflow": _About("a run of another workflow", "workflow: load\nwith: {table: orders}", "CALLS"),
    "approval": _About("waits for a person, holding nothing", "approval: Roll out to all hosts?", "APPROVALS"),
    "wait": _About("waits for a duration, a time or a condition", "wait: 10m", "WAITS"),
    "notify": _About("a message to a channel", "notify: {channel: oncall, text: backup is late}", "MESSAGES"),
}  # fmt: skip
_KEYS: dict[str, tuple[Table, type[Struct]]] = {
    "ssh": (SSH, model.Ssh), "reboot": (REBOOT, model.Reboot), "http": (HTTP, model.Http),
    "workflow": (CALL, model.Call), "approval": (APPROVAL, model.Approval), "wait": (WAIT, model.Wait),
    "notify": (NOTIFY, model.Notify),
}  # fmt: skip


def built_in() -> list[Plugin]:
    """In the order of the manual."""
    return [
        Plugin(
            name=name, origin=ORIGIN, summary=about.summary, inputs=_keys(name),
            text=f"{about.summary[0].upper()}{about.summary[1:]}. See {about.section} in pyflow-workflow(5).",
            example=about.example,
        )
        for name, about in ABOUT.items()
    ]  # fmt: skip


def _keys(name: str) -> tuple[PluginField, ...]:
    if name == "file":
        return tuple(_operation(operation, table) for operation, table in OPERATIONS.items())
    if name not in _KEYS:
        return ()
    table, struct = _KEYS[name]
    hints = get_type_hints(struct)
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    return tuple(_key(key, fields.get(field), hints) for key, (field, _) in table.keys.items())


def _operation(operation: str, table: Table) -> PluginField:
    others = ", ".join(key for key in table.keys if key != operation)
    described = f"and any of: {others}" if others else ""
    return PluginField(name=operation, schema={"title": "operation"}, description=described)


def _key(key: str, field: msgspec.structs.FieldInfo | None, hints: dict[str, Any]) -> PluginField:
    """A key whose value is taken apart into other fields says no type."""
    if field is None:
        return PluginField(name=key, schema={})
    title = "duration" if field.name.endswith("_s") else _title(hints[field.name])
    default = field.default if isinstance(field.default, (str, int, float, bool)) else None
    shown = str(default) if isinstance(default, StrEnum) else default
    if title == "duration" and shown is not None:
        shown = f"{shown:g}s"
    return PluginField(
        name=key, schema={"title": title}, default=shown or None,
        required=field.default is NODEFAULT and field.default_factory is NODEFAULT,
    )  # fmt: skip


_TITLES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def _title(hint: Any) -> str:
    """A type of the model in the words of the file."""
    if get_origin(hint) in (Union, UnionType):
        others = [each for each in get_args(hint) if each is not NoneType]
        return _title(others[0]) if len(others) == 1 else "object"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return " | ".join(f'"{member.value}"' for member in hint)
    origin = get_origin(hint) or hint
    return _TITLES.get(origin, "array" if origin is tuple else "any" if origin is Any else "object")
