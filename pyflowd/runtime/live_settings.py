"""Settings of a running daemon: read again when somebody asks, checked as a whole first, taken key by key.

A file with a mistake leaves all that was in force in force, and stays visible until it is right. Keys for which there
is nobody to tell need a restart, and it is said which. It knows nothing of what a key does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pyflowd import settings
from pyflowd.errors import Refused
from pyflowd.events import SettingsChanged
from pyflowd.runtime.runs import Runs
from pyflowd.settings import SETTINGS, Settings

Take = Callable[[Settings], None]
SUBJECT = "settings"

log = logging.getLogger("pyflowd.runtime.live_settings")


class Reread(NamedTuple):
    """Keys, as the file has them, whose values are others than before."""

    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    """In force when the daemon starts the next time."""
    error: str = ""
    """Why nothing was taken: the first mistake, with its place."""


class LiveSettings:
    """Of one daemon. `takers`: fields of Settings to who is told of a new value; `note`: of Health."""

    def __init__(
        self, path: str, now: Settings, takers: Mapping[str, Take], runs: Runs, note: Callable[[str, str], None]
    ) -> None:
        self.now = now
        """What is in force."""
        self.path = path
        self._takers = takers
        self._runs = runs
        self._note = note
        self._waiting: set[str] = set()
        """Keys of the file that wait for a restart."""

    def reload(self) -> Reread:
        """Within a turn."""
        try:
            found = settings.load(self.path)
        except Refused as error:
            first, *others = str(error).splitlines()
            more = f" (and {len(others)} more)" if others else ""
            log.error("%s%s; the settings from before stay in force", first, more, extra={"action": "settings_refused"})
            self._note(SUBJECT, f"{first}{more}; those from before stay in force")
            return Reread(error=f"{first}{more}")
        live: list[str] = []
        restart: list[str] = []
        for key, (field, _) in SETTINGS.keys.items():
            if getattr(found, field) == getattr(self.now, field):
                continue
            (live if field in self._takers else restart).append(key)
        taken = Settings(**{field: getattr(found if field in self._takers else self.now, field) for field in _FIELDS})
        for field, take in self._takers.items():
            if getattr(taken, field) != getattr(self.now, field):
                take(taken)
        self.now = taken
        if live or set(restart) - self._waiting:
            self._runs.batch.host_event(SettingsChanged(self._runs.clock.wall_us(), tuple(live), tuple(restart)))
        self._waiting = set(restart)
        self._note(SUBJECT, f"needs a restart: {', '.join(restart)}" if restart else "")
        log.info("settings read again: %s", ", ".join(live) or "nothing changes", extra={"action": "settings_read"})
        return Reread(live=tuple(live), restart=tuple(restart))


_FIELDS = Settings.__struct_fields__
