"""Entries of the host's journal, in journald's native protocol: fields to bytes, and the sending end of its socket.

An entry is one datagram of fields, `NAME=value` and a newline each; a value that holds a newline goes as the name, a
newline, its length (u64, little endian), its bytes and a newline. An entry too large for a datagram goes as a sealed
memfd. See systemd's "Native Journal Protocol". Python's `systemd` module needs a C library at build and at run time,
and neither the keeper's `-I -S` nor a wheel that must install everywhere can have that; this is all we need of it.

It knows nothing of what entries say, and it never waits: what journald does not take now is kept, within bounds, and
what goes beyond them is counted and told in one entry as soon as journald reads again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from _socket import AF_UNIX, SCM_RIGHTS, SO_SNDBUF, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOL_SOCKET, socket
from collections import deque
from collections.abc import Callable, Iterable

SOCKET = "/run/systemd/journal/socket"
FOR_TESTS = "PYFLOW_JOURNAL_SOCKET"
"""A variable of the environment that names another socket, for tests."""
QUEUE_MAX = 8192
"""Entries kept for a journald that does not read."""
RETRY_S = 1.0
"""Between two looks whether there is a journald again."""
_BUFFER_BYTES = 8 << 20
_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
_GONE = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE, errno.ENOENT)

EMERGENCY, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO, DEBUG = range(8)
"""Values of PRIORITY, as syslog has them."""
TASK_IDENTIFIER = "pyflow-task"
"""SYSLOG_IDENTIFIER of what tasks say."""
OUTPUT_ID = "6f1f4f0c1b6d4d0e9d8a5c2b7e30a941"
"""MESSAGE_ID of one line of a task's output."""
LEFT_OUT_ID = "c3a5b0d94e2f4a6f8b17d2e94c60f358"
"""MESSAGE_ID of the word that lines of a task's output were left out."""
DROPPED_ID = "9be2d47c5a014c7e8f36b1d0e27fa4c5"
"""MESSAGE_ID of the word that entries were dropped."""


def encode(fields: Iterable[tuple[str, str | bytes | int]]) -> bytes:
    """The bytes of an entry, or of a part of one. Names must be fit for journald: A to Z, 0 to 9, `_`."""
    parts = []
    for name, value in fields:
        data = value if isinstance(value, bytes) else str(value).encode(errors="backslashreplace")
        if b"\n" in data:
            parts.append(b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data))
        else:
            parts.append(b"%s=%s\n" % (name.encode(), data))
    return b"".join(parts)


def path_of_socket() -> str:
    return os.environ.get(FOR_TESTS) or SOCKET


class Outbox:
    """Entries on their way to journald, in order. One thread."""

    def __init__(self, path: str, told_by: str) -> None:
        self._path = path
        self._told_by = told_by
        self._socket: socket | None = None
        self._queue: deque[bytes | Callable[[], bytes]] = deque()
        self._dropped = 0
        self._retry_at_s = 0.0
        self.blocked = False
        """Journald takes nothing more just now: flush again when `fileno` can be written."""

    def __len__(self) -> int:
        """How many entries wait."""
        return len(self._queue) + bool(self._dropped)

    def fileno(self) -> int:
        """Of the socket; -1 while there is none."""
        return self._socket.fileno() if self._socket else -1

    @property
    def is_absent(self) -> bool:
        """There was no journald at the last try."""
        return bool(self._retry_at_s)

    def wait_s(self) -> float | None:
        """When `flush` can do something: 0 for now, None if nothing waits or only `fileno` tells."""
        if not len(self) or self.blocked:
            return None
        return max(0.0, self._retry_at_s - time.monotonic()) if self.is_absent else 0.0

    def put(self, entry: bytes | Callable[[], bytes]) -> None:
        """Queue an entry for the next `flush`: its bytes, or what makes them when there is time for it."""
        if len(self._queue) >= QUEUE_MAX:
            self._dropped += 1
        elif callable(entry) and (self.blocked or self.is_absent):
            self._queue.append(entry())  # what it is made of is not kept for as long as that takes
        else:
            self._queue.append(entry)

    def flush(self, most: int = QUEUE_MAX + 1) -> None:
        """Send up to `most` entries, as far as journald takes them."""
        if self._retry_at_s and time.monotonic() < self._retry_at_s:
            return
        self._retry_at_s = 0.0
        self.blocked = False
        while most > 0 and self._queue:
            entry = self._queue[0]
            if callable(entry):
                entry = self._queue[0] = entry()
            if not self._send(entry):
                return
            self._queue.popleft()
            most -= 1
        if most > 0 and self._dropped and self._send(self._told_dropped()):
            self._dropped = 0

    def _told_dropped(self) -> bytes:
        words = f"{self._dropped} entries were dropped: journald did not read them in time"
        return encode((
            ("MESSAGE", words), ("MESSAGE_ID", DROPPED_ID), ("PRIORITY", WARNING),
            ("SYSLOG_IDENTIFIER", self._told_by), ("PYFLOW_DROPPED", self._dropped),
        ))  # fmt: skip

    def _send(self, entry: bytes) -> bool:
        """Whether it is done with: sent, or impossible to send and counted as dropped."""
        try:
            connected = self._socket or self._connect()
            try:
                connected.send(entry)
            except OSError as error:
                if error.errno not in _TOO_LARGE:
                    raise
                _send_memory(connected, entry)
        except BlockingIOError:
            self.blocked = True
            return False
        except OSError as error:
            if error.errno in _GONE or self._socket is None:
                self.close()
                self._retry_at_s = time.monotonic() + RETRY_S
                return False
            self._dropped += 1
        return True

    def _connect(self) -> socket:
        fresh = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
        try:
            fresh.setsockopt(SOL_SOCKET, SO_SNDBUF, _BUFFER_BYTES)
            fresh.connect(self._path)
        except OSError:
            fresh.close()
            raise
        self._socket = fresh
        return fresh

    def close(self) -> None:
        """Let go of the socket; what waits goes on waiting. Safe twice."""
        if self._socket:
            self._socket.close()
        self._socket = None
        self.blocked = False


def _send_memory(connected: socket, entry: bytes) -> None:
    """An entry that no datagram can hold: journald maps it, so nobody may change it any more."""
    handle = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(entry)
        while rest:
            rest = rest[os.write(handle, rest) :]
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
        connected.sendmsg([], [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", handle))])
    finally:
        os.close(handle)
