"""What the administrator should know: warnings for `status`, checks for `doctor`, and whether anything may be written.

Facts are set by those who find them (`note`); this only keeps and tells them.
"""

from __future__ import annotations

import os

import yaml

from pyflowd.errors import Unavailable
from pyflowd.store.store import library_verdict

Check = tuple[str, str, str]


class Health:
    """The state of one daemon, as told to people."""

    def __init__(self, label: str, started_us: int) -> None:
        self.label = label
        self.pid = os.getpid()
        self.started_us = started_us
        self._notes: dict[str, tuple[str, str]] = {}
        self._facts: dict[str, str] = {}

    def note(self, subject: str, warning: str, level: str = "warning") -> None:
        """Set what is wrong with `subject`; an empty text clears it."""
        if warning:
            self._notes[subject] = (level, warning)
        else:
            self._notes.pop(subject, None)

    def fact(self, subject: str, text: str) -> None:
        """What `doctor` says of `subject` while nothing is wrong with it."""
        self._facts[subject] = text

    def has(self, subject: str) -> bool:
        return subject in self._notes

    def warnings(self) -> list[str]:
        return [f"{subject}: {text}" for subject, (_, text) in sorted(self._notes.items())]

    def check_writable(self) -> None:
        """Raises Unavailable while nothing new can be recorded (rule I9)."""
        if "disk" in self._notes:
            raise Unavailable(f"nothing new is taken: {self._notes['disk'][1]}")

    def checks(self) -> list[Check]:
        sound, version = library_verdict()
        found: list[Check] = [
            ("ok", "daemon", f"pid {self.pid}, {self.label}"),
            ("ok", "sqlite", version)
            if sound
            else ("warning", "sqlite", f"{version} has the WAL-reset bug; a slower journal is used"),
            ("ok", "libyaml", "found")
            if yaml.__with_libyaml__
            else ("warning", "libyaml", "PyYAML was built without it: definitions load eight times slower"),
            ("warning", "processes", "no cgroups in this version: stray processes are found by tag, best effort"),
        ]
        for subject, text in self._facts.items():
            if subject not in self._notes:
                found.append(("ok", subject, text))
        for subject, (level, text) in self._notes.items():
            found.append((level, subject, text))
        return found
