"""Watches the folders of definitions and says, in whole scans, what in it is to be believed (rules D4 and D6).

Events of inotify are hints only: they say when to look, and what was renamed or is still being written; what is there
is found by listing the folders, again every minute in any case. All that touches the file system is done in threads of
its own, which may hang on a dead mount without hurting the daemon. It reads no file.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping

from watchdog import events
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

from pyflowd.base.filenames import is_drop_in_folder
from pyflowd.clock import US, Clock
from pyflowd.folder.listing import list_all
from pyflowd.folder.loader_frames import Folders, Signature
from pyflowd.folder.settling import FolderGone, Scan, Settling
from pyflowd.folder.sources import key_in
from pyflowd.model.problem import Problem, Severity

RESCAN_US = 60 * US
UNWATCHED_RESCAN_US = 2 * US
"""Where inotify cannot be had, or the folder is not there."""
_JOIN_S = 2.0
_EVENTS: list[type[FileSystemEvent]] = [
    FileMovedEvent, FileClosedEvent, FileModifiedEvent, FileCreatedEvent, FileDeletedEvent,
    DirCreatedEvent, DirDeletedEvent, DirMovedEvent,
]  # fmt: skip
_EVENTS += [getattr(events, name) for name in ("FileAttribEvent", "DirAttribEvent") if hasattr(events, name)]
"""Another owner or mode; older versions of watchdog call that a modification."""


class Watcher(FileSystemEventHandler):
    """Pushes a `Scan` when something has changed and settled, `FolderGone` when the workflows cannot be listed."""

    def __init__(self, folders: Folders, clock: Clock) -> None:
        self._folders = folders
        self._clock = clock
        self._settling = Settling()
        self._found: deque[Scan | FolderGone] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._hint = threading.Condition()
        self._hints: list[tuple[str, str, int]] = []
        self._look = False
        self._asked = False
        self._again_us = 0
        self._tell_again = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._observer: InotifyObserver | None = None
        self._watched: dict[str, tuple[int, int]] = {}
        """Device and inode of each folder that is watched: another may have been put in its place."""

    def start(self, known: Mapping[str, Signature] | None = None) -> None:
        """`known`: files as they were read last; they are believed to be there until a scan has settled otherwise."""
        self._settling = Settling(known)
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when stopped, or after 2 s if the file system hangs; safe twice and before `start`."""
        with self._hint:
            self._stopping = True
            self._hint.notify()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            self._thread = None

    def fileno(self) -> int:
        """Readable when `receive` has something."""
        return self._wake

    def receive(self) -> list[Scan | FolderGone]:
        """What was found since the last call; the last one counts."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        return [self._found.popleft() for _ in range(len(self._found))]

    def rescan(self) -> None:
        """Look again now, whatever the events say, and tell what is found even if nothing has changed."""
        with self._hint:
            self._look = self._asked = True
            self._hint.notify()

    # ---- Events: in a thread of watchdog's -------------------------------------------------------------------------

    def on_any_event(self, event: FileSystemEvent) -> None:
        path = event.dest_path if event.event_type == "moved" else event.src_path  # empty: moved out of the folder
        key = self._key(os.fsdecode(path))
        if key is None:
            return
        with self._hint:
            self._hints.append((event.event_type, key, self._clock.mono_us()))
            self._look = True
            self._hint.notify()

    def _key(self, path: str) -> str | None:
        """The key of what an event is about; None: it is none of ours, as deeper folders are."""
        if not path:
            return ""
        for folder in _folders(self._folders):
            inner = path[len(folder) + 1 :]
            if path == folder or (path.startswith(folder + "/") and "/" not in inner):
                return key_in(self._folders, folder, inner)
            if path.startswith(folder + "/") and is_drop_in_folder(inner.partition("/")[0]) and inner.count("/") == 1:
                return key_in(self._folders, folder, inner)
        return "" if path in map(os.path.dirname, _folders(self._folders)) else None

    # ---- Scanning: in a thread of our own ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            last: Scan | FolderGone | None = None
            for hints, told in self._looks():
                found = self._scan(hints)
                if told or self._tell_again or found != last:
                    last = found
                    self._found.append(found)
                    os.eventfd_write(self._wake, 1)
        finally:
            self._unwatch()

    def _looks(self) -> Iterator[tuple[list[tuple[str, str, int]], bool]]:
        """Each time to scan: at once, on events, when something may have settled, every minute. With it the hints until
        then, and whether somebody waits for the scan.
        """
        while True:
            with self._hint:
                while not self._look and not self._stopping:
                    left_us = self._again_us - self._clock.mono_us()
                    if left_us <= 0:
                        break
                    self._hint.wait(left_us / US)
                if self._stopping:
                    return
                hints, self._hints, self._look = self._hints, [], False
                asked, self._asked = self._asked, False
            yield hints, asked

    def _scan(self, hints: list[tuple[str, str, int]]) -> Scan | FolderGone:
        for what, file, at_us in hints:
            if what == "moved":
                self._settling.moved_in(file)
            elif what == "modified":
                self._settling.written(file, at_us)
            elif what == "closed":
                self._settling.closed(file)
        try:
            problem = self._watch()
            found = list_all(self._folders)
        except OSError as error:
            self._unwatch()
            self._again_us = self._clock.mono_us() + UNWATCHED_RESCAN_US
            return FolderGone(f"{self._folders.workflows}: {error.strerror}")
        now_us = self._clock.mono_us()
        observed = self._settling.observe(found.entries, now_us)
        rescan_us = now_us + (RESCAN_US if problem is None else UNWATCHED_RESCAN_US)
        self._again_us = min(observed.look_again_us or rescan_us, rescan_us)
        self._tell_again = observed.again
        problems = sorted(found.problems.values(), key=lambda each: each.file)
        return Scan(
            entries=observed.entries,
            problems=(*problems, *([problem] if problem else [])),
            pending=observed.look_again_us is not None,
            gone=found.gone,
            blocked=found.blocked,
        )

    def _watch(self) -> Problem | None:
        """Watch the folders that are there now; a problem if that cannot be. Raises OSError if there are none."""
        os.stat(self._folders.workflows)
        there = {folder: _identity(folder) for folder in _watched(self._folders)}
        wanted = {folder: identity for folder, identity in there.items() if identity is not None}
        if self._watched == wanted:
            return None
        self._unwatch()
        observer = InotifyObserver(generate_full_events=True)  # tells a rename into the folder from a new file
        try:
            for folder in wanted:
                with_drop_ins = folder in (self._folders.workflows, self._folders.vendor)
                observer.schedule(self, folder, recursive=with_drop_ins, event_filter=_EVENTS)
            observer.start()
        except OSError as error:
            message = f"changes are noticed only every {UNWATCHED_RESCAN_US // US} s: {error.strerror}"
            fix = "raise fs.inotify.max_user_watches or max_user_instances"
            return Problem(
                file=self._folders.workflows, severity=Severity.WARNING, code="inotify", message=message, fix=fix
            )
        self._observer = observer
        self._watched = wanted
        return None

    def _unwatch(self) -> None:
        observer, self._observer, self._watched = self._observer, None, {}
        if observer is not None:
            observer.stop()
            observer.join()


def _folders(folders: Folders) -> list[str]:
    found = [folders.workflows, folders.templates, folders.vendor, folders.vendor_templates]
    return [folder for folder in found if folder]


def _watched(folders: Folders) -> list[str]:
    """All that are there, and the one above the workflows, in which that of the templates may yet appear."""
    return [*_folders(folders), os.path.dirname(folders.workflows)]


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
