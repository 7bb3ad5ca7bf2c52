"""Watches the folder of definitions and says, in whole scans, what in it is to be believed (rules D4 and D6).

Events of inotify are hints only: they say when to look, and what was renamed or is still being written; what is there
is found by listing the folder, again every minute in any case. All that touches the file system is done in threads of
its own, which may hang on a dead mount without hurting the daemon. It reads no file.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Iterator, Mapping

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

from pyflowd.clock import US, Clock
from pyflowd.document import quote
from pyflowd.filenames import is_definition_name, looks_like_definition
from pyflowd.loader_frames import Signature, signature_of
from pyflowd.model import Problem, Severity
from pyflowd.settling import FolderGone, Scan, Settling

RESCAN_US = 60 * US
UNWATCHED_RESCAN_US = 2 * US
"""Where inotify cannot be had, or the folder is not there."""
_JOIN_S = 2.0
_EVENTS: list[type[FileSystemEvent]] = [
    FileMovedEvent, FileClosedEvent, FileModifiedEvent, FileCreatedEvent, FileDeletedEvent,
    DirCreatedEvent, DirDeletedEvent, DirMovedEvent,
]  # fmt: skip


def list_folder(folder: str) -> tuple[dict[str, Signature], list[Problem]]:
    """The definitions of a folder with their signatures, and what looks like one but is not read. Raises OSError."""
    entries = {}
    problems = []
    inside = os.path.realpath(folder).rstrip("/") + "/"
    with os.scandir(folder) as listed:
        for entry in listed:
            found = _judge(entry, inside)
            if isinstance(found, Signature):
                entries[entry.name] = found
            elif found:
                message, fix = found
                label = quote(entry.name)[1:-1]
                problems.append(Problem(file=label, code="not_read", message=message, fix=fix))
    return entries, sorted(problems, key=lambda problem: problem.file)


def _judge(entry: os.DirEntry[str], inside: str) -> Signature | tuple[str, str] | None:
    """The signature of a definition; message and fix where it only looks like one; None for what is none of ours."""
    name = entry.name
    if not looks_like_definition(name):
        if name.endswith(".d") and is_definition_name(name.removesuffix(".d")):
            return "drop-in folders are not supported by this version", "write the keys into the file"
        return None
    if not is_definition_name(name):
        return "its suffix has capital letters", "rename it"
    try:
        name.encode("utf-8")
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            if not os.path.realpath(entry.path).startswith(inside):
                return "it is a link that leads out of the folder", "copy the file here"
            status = os.stat(entry.path)
    except UnicodeEncodeError:
        return "its name is not UTF-8", "rename it"
    except FileNotFoundError:
        return ("it is a link that leads nowhere", "") if entry.is_symlink() else None
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}", ""
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file", "move it elsewhere"
    return signature_of(status)


class Watcher(FileSystemEventHandler):
    """Pushes a `Scan` when something has changed and settled, `FolderGone` when the folder cannot be listed."""

    def __init__(self, folder: str, clock: Clock) -> None:
        self._folder = os.path.abspath(folder)
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
        self._watched: tuple[int, int] | None = None
        """Device and inode of the folder that is watched: another may have been put in its place."""

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
        file = os.path.basename(os.fsdecode(path))
        with self._hint:
            self._hints.append((event.event_type, file, self._clock.mono_us()))
            self._look = True
            self._hint.notify()

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
            watched = self._watch()
            seen, problems = list_folder(self._folder)
        except OSError as error:
            self._unwatch()
            self._again_us = self._clock.mono_us() + UNWATCHED_RESCAN_US
            return FolderGone(f"{self._folder}: {error.strerror}")
        now_us = self._clock.mono_us()
        observed = self._settling.observe(seen, now_us)
        rescan_us = now_us + (RESCAN_US if watched is None else UNWATCHED_RESCAN_US)
        self._again_us = min(observed.look_again_us or rescan_us, rescan_us)
        self._tell_again = observed.again
        pending = observed.look_again_us is not None
        return Scan(observed.entries, (*problems, *([watched] if watched else [])), pending)

    def _watch(self) -> Problem | None:
        """Watch the folder that is there now; a problem if that cannot be. Raises OSError if there is none."""
        status = os.stat(self._folder)
        if self._watched == (status.st_dev, status.st_ino):
            return None
        self._unwatch()
        observer = InotifyObserver(generate_full_events=True)  # tells a rename into the folder from a new file
        try:
            observer.schedule(self, self._folder, recursive=False, event_filter=_EVENTS)
            observer.start()
        except OSError as error:
            message = f"changes are noticed only every {UNWATCHED_RESCAN_US // US} s: {error.strerror}"
            fix = "raise fs.inotify.max_user_watches or max_user_instances"
            return Problem(file=self._folder, severity=Severity.WARNING, code="inotify", message=message, fix=fix)
        self._observer = observer
        self._watched = (status.st_dev, status.st_ino)
        return None

    def _unwatch(self) -> None:
        observer, self._observer, self._watched = self._observer, None, None
        if observer is not None:
            observer.stop()
            observer.join()
