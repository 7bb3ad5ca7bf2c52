"""What the administrator should know: warnings for `status`, checks for `doctor`, and whether anything may be written.

Facts are set by those who find them (`note`); this only keeps and tells them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

import yaml

from pyflowd.errors import Unavailable
from pyflowd.store.store import library_verdict

Check = tuple[str, str, str]
Told = Callable[[str], bool]
"""Whether somebody may be told of a workflow, by its name; empty: of the host."""
_LIMITS = {
    "memory": ("memory_max",), "cpu": ("cpu_max", "cpu_weight"), "io": ("io_weight",), "pids": ("tasks_max",),
}  # fmt: skip
"""What of `resources` each controller keeps. Where no scheduler has weights, the logs of tasks with one say so."""


def containment(told: str) -> list[Check]:
    """How sure it is that nothing of an attempt is left (rule I5), and which limits hold, by what the keeper has."""
    kind, _, rest = told.partition(": ")
    if kind.rstrip(":") != "cgroup":
        why = rest or "the keeper is older than this daemon"
        return [
            ("warning", "processes", f"best effort: by process group, session, tag and ancestry; {why}"),
            ("warning", "limits", "of resources only nice is kept, without cgroups"),
        ]
    there = rest.split()
    kept = [limit for controller in _LIMITS for limit in _LIMITS[controller] if controller in there]
    missing = [limit for controller in _LIMITS for limit in _LIMITS[controller] if controller not in there]
    limits = ", ".join([*kept, "nice"])
    return [
        ("ok", "processes", "exact: each attempt has a cgroup"),
        ("warning", "limits", f"kept: {limits}; not {', '.join(missing)}: the keeper's cgroup has no such controller")
        if missing
        else ("ok", "limits", f"kept: {limits}"),
    ]


class Note(Protocol):
    """`Health.note`, as those see it who find what is wrong with workflows."""

    def __call__(
        self, subject: str, warning: str, level: str = "warning", *, workflows: tuple[str, ...] = ()
    ) -> None: ...  # fmt: skip


class _Noted(NamedTuple):
    level: str
    text: str
    workflows: tuple[str, ...]
    """That it tells of; empty: of the host."""


class Health:
    """The state of one daemon, as told to people."""

    def __init__(self, label: str, started_us: int) -> None:
        self.label = label
        self.pid = os.getpid()
        self.started_us = started_us
        self._notes: dict[str, _Noted] = {}
        self._facts: dict[str, str] = {}
        self._cgroups: Callable[[], str] | None = None

    def note(
        self, subject: str, warning: str, level: str = "warning", *, workflows: tuple[str, ...] = ()
    ) -> None:  # fmt: skip
        """Set what is wrong with `subject`; an empty text clears it. `workflows`: told to who may see one of them."""
        if warning:
            self._notes[subject] = _Noted(level, warning, workflows)
        else:
            self._notes.pop(subject, None)

    def fact(self, subject: str, text: str) -> None:
        """What `doctor` says of `subject` while nothing is wrong with it."""
        self._facts[subject] = text

    def watch_cgroups(self, told: Callable[[], str]) -> None:
        """`told`: what the keeper says of cgroups (see `keeperlink.KeeperLink.cgroups`)."""
        self._cgroups = told

    def has(self, subject: str) -> bool:
        return subject in self._notes

    def warnings(self, told: Told = lambda _: True) -> list[str]:
        """What may be `told` of what is wrong."""
        return [f"{subject}: {noted.text}" for subject, noted in sorted(self._notes.items()) if _may(noted, told)]

    def errors(self) -> list[str]:
        """What keeps the daemon from its work; nothing of single workflows, which not everybody may know."""
        found = sorted((subject, noted) for subject, noted in self._notes.items() if not noted.workflows)
        return [f"{subject}: {noted.text}" for subject, noted in found if noted.level == "error"]

    def check_writable(self) -> None:
        """Raises Unavailable while nothing new can be recorded (rule I9)."""
        if "disk" in self._notes:
            raise Unavailable(f"nothing new is taken: {self._notes['disk'].text}")

    def checks(self, told: Told = lambda _: True) -> list[Check]:
        """For `doctor`; of what is wrong what may be `told`."""
        sound, version = library_verdict()
        found: list[Check] = [
            ("ok", "daemon", f"pid {self.pid}, {self.label}"),
            ("ok", "sqlite", version)
            if sound
            else ("warning", "sqlite", f"{version} has the WAL-reset bug; a slower journal is used"),
            ("ok", "libyaml", "found")
            if yaml.__with_libyaml__
            else ("warning", "libyaml", "PyYAML was built without it: definitions load eight times slower"),
        ]
        if self._cgroups is not None:
            found += containment(self._cgroups())
        for subject, text in self._facts.items():
            if subject not in self._notes:
                found.append(("ok", subject, text))
        for subject, noted in self._notes.items():
            if _may(noted, told):
                found.append((noted.level, subject, noted.text))
        return found


def _may(noted: _Noted, told: Told) -> bool:
    return any(map(told, noted.workflows or ("",)))
