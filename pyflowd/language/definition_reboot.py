"""`reboot` in a definition: the task that restarts the host. How that is done is in `pyflowd.task.reboot`."""

from __future__ import annotations

from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Sequence
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.kinds import Reboot


def _read_command(value: Any, report: Report) -> tuple[str, ...]:
    """Written out: nothing that a run is given decides what root starts here."""
    if value.__class__ is not Sequence or not value:
        raise Wrong("expected a list of a program and its arguments", "write it as in [systemctl, kexec]")
    words = tuple(fields.text(item, report) for item in value)
    for word in words:
        fields.literal(word)
    if not words[0].strip():
        raise Wrong("the program's name is empty")
    return words


REBOOT = Table(
    "reboot",
    {
        "command": ("command", _read_command),
        "within": ("within_s", fields.positive_duration_s),
    },
    meant={"cmd": "command", "argv": "command", "run": "command", "timeout": "within", "wait": "within"},
)


def read_reboot(value: Any, report: Report) -> dict[str, Any]:
    """The fields of `reboot`."""
    return read(REBOOT, fields.mapping(value, report), report)


def build_reboot(value: dict[str, Any], task: dict[str, Any]) -> Reboot:
    """The program that waits for the end of the host has nothing to clean up, and must not hold up a shutdown: no
    grace.
    """
    task["kill_grace_s"] = 0.0
    return Reboot(**value)
