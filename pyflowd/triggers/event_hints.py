"""Says in which folders something has just happened, so that they are looked at sooner. A hint only: whoever relies on
it looks now and then in any case. It knows nothing of files and triggers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import ObservedWatch
from watchdog.observers.inotify import InotifyObserver

MAX_FOLDERS = 32
"""Each takes threads and one of the 128 instances of inotify that a user has; others are looked at in turn."""
_JOIN_S = 2.0
_EVENTS: list[type[FileSystemEvent]] = [FileMovedEvent, FileClosedEvent, FileCreatedEvent, FileDeletedEvent]


class EventHints(FileSystemEventHandler):
    """`want` says which folders; `receive` which of them to look at. A thread of its own does what may hang."""

    def __init__(self) -> None:
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Condition()
        self._wanted: frozenset[str] = frozenset()
        self._watched: dict[str, ObservedWatch] = {}
        self._happened: set[str] = set()
        self._asked = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._observer: InotifyObserver | None = None

    def fileno(self) -> int:
        """Readable when `receive` has something."""
        return self._wake

    def want(self, folders: Iterable[str]) -> None:
        """Hints about these, at most `MAX_FOLDERS`, and no others."""
        with self._lock:
            self._wanted = frozenset(sorted(folders)[:MAX_FOLDERS])
            self._asked = True
            self._lock.notify()
            if self._thread is None and self._wanted and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
                self._thread.start()

    def watches(self, folder: str) -> bool:
        """Whether hints about it can be had."""
        with self._lock:
            return folder in self._watched

    def receive(self) -> set[str]:
        """Folders in which something has happened since the last call."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        with self._lock:
            happened, self._happened = self._happened, set()
        return happened

    def stop(self) -> None:
        """Returns when stopped, or after 2 s where a file system hangs; safe twice and before `want`."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            self._thread = None

    def on_any_event(self, event: FileSystemEvent) -> None:
        """In a thread of watchdog's."""
        path = event.dest_path if event.event_type == "moved" else event.src_path
        folder = os.path.dirname(os.fsdecode(path or event.src_path))
        with self._lock:
            self._happened.add(folder)
        os.eventfd_write(self._wake, 1)

    # ---- In the thread

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._asked or self._stopping)
                self._asked = False
                wanted, stopping = self._wanted, self._stopping
            if stopping:
                break
            self._watch(wanted)
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def _watch(self, wanted: frozenset[str]) -> None:
        if self._observer is None:
            self._observer = InotifyObserver(generate_full_events=True)
            self._observer.start()
        for folder in set(self._watched) - wanted:
            with self._lock:
                watch = self._watched.pop(folder)
            self._observer.unschedule(watch)
        for folder in wanted - set(self._watched):
            try:
                watch = self._observer.schedule(self, folder, recursive=False, event_filter=_EVENTS)
            except OSError:
                continue  # it is looked at without hints
            with self._lock:
                self._watched[folder] = watch
                self._happened.add(folder)  # what came before the hints
            os.eventfd_write(self._wake, 1)
