"""Keeps the daemon's table of plugins: a thread that surveys them at the start, when asked, and when files change.

The folder is looked at once a minute, which costs some calls of stat; packages at the start and when somebody says
`reload`. It knows nothing of definitions: what changed is told to whoever waits for `fileno`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from pyflowd.language.plugins import Known
from pyflowd.plugins import plugin_survey
from pyflowd.plugins.plugin_survey import Found, Source

LOOK_EVERY_S = 60.0
_JOIN_S = 2.0


class PluginWatch:
    """Only the loop's thread calls it."""

    def __init__(self, folder: str, taken: Iterable[str]) -> None:
        """`taken`: names that no plugin may have."""
        self._folder = folder
        self._taken = frozenset(taken)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Condition()
        self._asked = 1
        """Surveys that were asked for; the first is that of the start."""
        self._done = 0
        self._stopping = False
        self._known: Known | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="plugins", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when stopped, or after 2 s if a plugin is being described; safe twice and before `start`."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            self._thread = None

    def fileno(self) -> int:
        """Readable when `receive` has something."""
        return self._wake

    def receive(self) -> Known | None:
        """The newest table; None before the first survey."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        with self._lock:
            return self._known

    def look(self) -> None:
        """Survey all plugins again, packages too; `busy` until that is done."""
        with self._lock:
            self._asked += 1
            self._lock.notify()

    @property
    def busy(self) -> bool:
        """Whether a survey that was asked for has not ended."""
        with self._lock:
            return self._thread is not None and self._done < self._asked

    # ---- In the thread

    def _run(self) -> None:
        packages: list[Source] = []
        found: dict[str, Found] = {}
        while (asked := self._next()) is not None:
            if asked:
                packages = plugin_survey.packages()
            sources = {source.name: source for source in (*packages, *plugin_survey.files(self._folder))}
            changed = asked or {name: each.source for name, each in found.items()} != sources
            if changed:
                found = plugin_survey.describe(self._folder, sources.values(), self._taken, found)
                self._tell(plugin_survey.known(found), asked)

    def _next(self) -> int | None:
        """The number of the survey that is asked for; 0: a minute has gone by; None: stop."""
        with self._lock:
            self._lock.wait_for(lambda: self._stopping or self._done < self._asked, LOOK_EVERY_S)
            if self._stopping:
                return None
            return self._asked if self._done < self._asked else 0

    def _tell(self, known: Known, asked: int) -> None:
        with self._lock:
            self._known = known
            self._done = max(self._done, asked)
        os.eventfd_write(self._wake, 1)
