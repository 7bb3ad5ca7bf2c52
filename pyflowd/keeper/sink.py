"""One attempt's log: bytes from its pipe to its file, the index beside it, the quota.

Both files are open with O_APPEND, so that two loggers (a new one after a death) never overwrite each other. A write
that fails never stops the task: the bytes are dropped, counted, and a gap is noted once there is space again. Knows
nothing of epoll, sockets or processes.
"""

from __future__ import annotations

import errno
import os

from pyflowd.keeper.logindex import CUT, CUT_BLOCK_BYTES, DATA, END, GAP, NOTE, RECORD_BYTES, pack

COALESCE_US = 1_000
"""Reads this close to the last record share it."""
LEAST_QUOTA_BYTES = 4 * CUT_BLOCK_BYTES
_PUNCH_HOLE_KEEP_SIZE = 1 | 2
_INDEX_BACKLOG_BYTES = 65_536
PIPE_BYTES = 65_536
"""At most one read of this size dies with a logger, and what a masker held back."""


class Sink:
    """Where the output of one attempt goes. `max_bytes` 0: no quota."""

    def __init__(self, attempt: str, log: int, index: int, max_bytes: int) -> None:
        self.attempt = attempt
        self.log = log
        self.index = index
        self.offset = os.fstat(log).st_size
        self._at_line_start = self.offset == 0
        self._record_us = 0  # time of the record that the next bytes may share; 0: none
        self._unwritten = b""  # of the index
        self._lost_bytes = 0
        self._lost_errno = 0
        self._at_end = False
        self._full = False  # over the quota, and the file system cannot punch holes
        self.open_pipes = 1
        """Counted by whoever reads them; after the last one comes `end`."""
        self._stream = 0  # of the newest bytes that the index accounts for; -1: they were our own words
        self.max_bytes = max(max_bytes, LEAST_QUOTA_BYTES) if max_bytes else 0
        # A quarter of the quota stays at the head; then room to work in, so that not each write cuts.
        self._hole_start = self.max_bytes // 4 // CUT_BLOCK_BYTES * CUT_BLOCK_BYTES
        self._hole_end = self._hole_start
        self._slack_bytes = max(CUT_BLOCK_BYTES * 2, self.max_bytes // 8)
        if self.max_bytes and self.offset > self.max_bytes:
            self._hole_end = _end_of_hole(log, self._hole_start)

    @property
    def owes(self) -> bool:
        """Whether something could not be written yet: a gap to note, records of the index."""
        return bool(self._unwritten) or (self._lost_bytes > 0 and not self._full)

    def write(self, payload: bytes, now_us: int, stream: int = 0) -> None:
        """Output of the task, of both streams together or of one."""
        if self._lost_bytes and not self._full:
            self._note_gap(now_us)
        if self._full or (stream != self._stream and stream and self._backlog_is_full()):
            self._lost_bytes += len(payload)
            return
        start = self.offset
        written = self._write_log(payload)
        shares_record = stream == self._stream and 0 <= now_us - self._record_us <= COALESCE_US
        if written and not shares_record and self._record(pack(start, now_us, DATA, stream=stream)):
            self._record_us, self._stream = now_us, stream
        if self.max_bytes and self.offset - (self._hole_end - self._hole_start) > self.max_bytes:
            self._cut(now_us)

    def _write_log(self, payload: bytes) -> int:
        """Write as much as goes; count the rest as lost."""
        written = 0
        try:
            while written < len(payload):
                written += os.write(self.log, payload[written:] if written else payload)
        except OSError as error:
            self._lost_bytes += len(payload) - written
            self._lost_errno = error.errno or 0
        if written:
            self.offset += written
            self._at_line_start = payload[written - 1] == 10
        return written

    def _record(self, record: bytes) -> bool:
        """Add a record to the index; what cannot be written waits, a torn record's rest first. False: no room."""
        if self._backlog_is_full():
            return False
        self._record_always(record)
        return True

    def _record_always(self, record: bytes) -> None:
        self._unwritten += record
        self._write_index()

    def _backlog_is_full(self) -> bool:
        """Then nothing may happen that the index must tell of: a change of stream, a hole, words of our own."""
        return len(self._unwritten) > _INDEX_BACKLOG_BYTES

    def _write_index(self) -> None:
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self.index, self._unwritten) :]
        except OSError:
            pass  # `owes` says so, and it is tried again

    def _note_gap(self, now_us: int) -> bool:
        """Say what was lost; false if that cannot be written now."""
        lost, number = self._lost_bytes, self._lost_errno
        reason = "its quota is used up" if self._full else os.strerror(number)
        gap = None if self._at_end else (self.offset, lost)  # `end` has recorded it
        self._lost_bytes = 0
        if self._write_note(f"pyflow: {lost} bytes of output lost here: {reason}\n", now_us, gap):
            return True
        self._lost_bytes, self._lost_errno = lost, number
        return False

    def note(self, line: str, now_us: int) -> bool:
        """A line of our own, marked as such in the index."""
        return self._write_note(line, now_us, None)

    def _write_note(self, line: str, now_us: int, gap: tuple[int, int] | None) -> bool:
        if self._backlog_is_full():
            return False
        start, lost_before = self.offset, self._lost_bytes
        words = line.encode() if self._at_line_start else b"\n" + line.encode()
        written = self._write_log(words)
        self._lost_bytes = lost_before  # our own words are not output
        if gap and written:
            self._record_always(pack(gap[0], now_us, GAP, gap[1]))
        if written:
            self._record_always(pack(start, now_us, NOTE, written))
            self._record_us, self._stream = 0, -1
        return written > 0

    def restarted(self, now_us: int, held_bytes: int = 0) -> None:
        """An earlier logger died with this log: at most one read of it is missing, and what it held back."""
        at, lost_bytes = self.offset, PIPE_BYTES + held_bytes
        torn = os.fstat(self.index).st_size % RECORD_BYTES
        if torn:
            self._unwritten = bytes(RECORD_BYTES - torn)  # a record of no meaning, so that the next ones can be read
        line = f"pyflow: the logger was restarted here; up to {lost_bytes} bytes of output may be missing\n"
        if not self._write_note(line, now_us, (at, lost_bytes)):
            self._record_always(pack(at, now_us, GAP, lost_bytes))

    def settle(self, now_us: int) -> None:
        """Try again to write what is owed."""
        self._write_index()
        if self._lost_bytes and not self._full:
            self._note_gap(now_us)

    def end(self, now_us: int) -> None:
        """The pipes are at their end. That something is missing is on record before the end is."""
        if self._lost_bytes and not self._note_gap(now_us):
            self._record_always(pack(self.offset, now_us, GAP, self._lost_bytes))
        self._at_end = True
        self._record_always(pack(self.offset, now_us, END))

    def _cut(self, now_us: int) -> None:
        """Leave the middle out: keep the head, and of the tail what the quota allows less the slack."""
        tail_bytes = self.max_bytes - self._hole_start - self._slack_bytes
        end = max(self._hole_start, self.offset - tail_bytes) // CUT_BLOCK_BYTES * CUT_BLOCK_BYTES
        if end <= self._hole_end or self._backlog_is_full():
            return
        try:
            _punch(self.log, self._hole_end, end - self._hole_end)
        except OSError as error:
            self._full = error.errno in (errno.EOPNOTSUPP, errno.ENOSYS)
            return
        self._hole_end = end
        self._record_always(pack(self._hole_start, now_us, CUT, (end - self._hole_start) // CUT_BLOCK_BYTES))
        self._record_us = 0


def _end_of_hole(log: int, start: int) -> int:
    """Where the hole that an earlier logger punched at `start` ends; `start` if there is none."""
    try:
        return os.lseek(log, start, os.SEEK_DATA)
    except OSError:
        return start


def _punch(log: int, start: int, length: int) -> None:
    import ctypes  # Python has no fallocate with a mode; most loggers never need it

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(
        ctypes.c_int(log), ctypes.c_int(_PUNCH_HOLE_KEEP_SIZE), ctypes.c_long(start), ctypes.c_long(length)
    ):
        raise OSError(ctypes.get_errno(), "fallocate")
