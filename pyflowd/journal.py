"""The daemon's own log, and its end of the host's journal.

Where standard error goes to journald, or the settings say so, messages are entries of their own, with what is to be
searched for as a field (PYFLOW_ACTION); else they are lines on standard error. Messages are sentences; their stable
`action` is what to search for. Never environment or secrets. It knows nothing of what other entries say.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping

from pyflowd.keeper.journald import DEBUG, ERROR, INFO, WARNING, Outbox, encode, path_of_socket

IDENTIFIER = "pyflowd"
TOLD_AS_EVENTS = frozenset({"definition_loaded", "definition_refused", "definition_removed", "notify_lost"})
"""Actions that are an event as well, which is in the journal already."""
_PRIORITIES = {logging.DEBUG: DEBUG, logging.INFO: INFO, logging.WARNING: WARNING, logging.ERROR: ERROR}


def is_connected(environment: Mapping[str, str], descriptor: int = 2) -> bool:
    """Whether a descriptor is the stream to journald that systemd has told of (`JOURNAL_STREAM`, device and inode)."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


def level_prefix(environment: Mapping[str, str], level: int) -> str:
    """What stands before a line that is no message of `logging`, where standard error goes to journald: it takes lines
    without one for mere information. Empty elsewhere."""
    return f"<{_PRIORITIES[level]}>" if is_connected(environment) else ""


class Journal:
    """Entries on their way to journald, from any thread; `flush` belongs to one. Never waits, but in `close`."""

    def __init__(self, path: str, *, active: bool) -> None:
        self.active = active
        """Whether entries are wanted at all."""
        self._outbox = Outbox(path, IDENTIFIER)
        self._lock = threading.Lock()

    def put(self, entry: bytes | Callable[[], bytes]) -> None:
        """Queue an entry, or what makes it; it goes at one of the next calls of `flush`."""
        with self._lock:
            self._outbox.put(entry)

    def say(self, entry: bytes) -> bool:
        """Send an entry now if journald takes it, else as soon as it does. False: there is no journald just now."""
        with self._lock:
            if self._outbox.is_absent:
                return False
            self._outbox.put(entry)
            if len(self._outbox) == 1:  # what waits before it goes first, in idle moments
                self._outbox.flush()
            return True

    def flush(self, most: int) -> None:
        """Send up to `most` entries, as far as journald takes them."""
        with self._lock:
            self._outbox.flush(most)

    def waiting(self) -> int:
        return len(self._outbox)

    def wait_s(self) -> float | None:
        """When `flush` can do something; None: nothing waits, or `blocked_fd` tells."""
        return self._outbox.wait_s()

    def blocked_fd(self) -> int:
        """What can be written when journald reads again; -1 where that is not waited for."""
        return self._outbox.fileno() if self._outbox.blocked else -1

    def close(self, timeout_s: float = 1.0) -> None:
        """Send what waits, for up to `timeout_s`."""
        end_s = time.monotonic() + timeout_s
        while self.waiting() and (left_s := end_s - time.monotonic()) > 0:
            self.flush(self.waiting())
            if self._outbox.is_absent:
                break
            if self.waiting() and self.blocked_fd() >= 0:
                poll = select.poll()
                poll.register(self.blocked_fd(), select.POLLOUT)
                poll.poll(left_s * 1000)
        self._outbox.close()


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # of a stream of text, which it does not say
    """Each message to the journal, or to standard error where there is none."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(sys.stderr)
        self.journal = journal
        self._plain = logging.Formatter("%(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        if not self.journal.active:
            super().emit(record)
            return
        action = getattr(record, "action", "")
        if action in TOLD_AS_EVENTS:
            return
        fields: list[tuple[str, str | bytes | int]] = [
            ("MESSAGE", self._plain.format(record)),
            ("PRIORITY", _PRIORITIES.get(record.levelno, INFO)),
            ("SYSLOG_IDENTIFIER", IDENTIFIER),
            ("PYFLOW_LOGGER", record.name),
        ]
        if action:
            fields.append(("PYFLOW_ACTION", action))
        if not self.journal.say(encode(fields)):
            super().emit(record)


class _Lines(logging.Formatter):
    """For standard error: the time, the level, the message and its action."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        action = getattr(record, "action", None)
        if not action:
            return text
        first, newline, rest = text.partition("\n")
        return f"{first} action={action}{newline}{rest}"


def start(*, verbose: bool) -> Journal:
    """Send all logging to the journal where standard error goes there, else to standard error."""
    journal = Journal(path_of_socket(), active=is_connected(os.environ))
    handler = _Handler(journal)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("watchdog").setLevel(logging.WARNING)
    return journal
