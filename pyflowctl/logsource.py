"""One attempt's log and its index, read in order, as pieces of one time each; it may grow while it is read.

A piece holds whole lines where it can: a line that arrived in parts belongs to the time of its first byte. It knows
nothing of how output is shown.
"""

import posix

from pyflowd.keeper.logindex import CUT, END, GAP, NOTE, RECORD_BYTES, Record, parse

READ_BYTES = 1 << 20
_RECORDS_PER_READ = 8192
_CARRY_MAX_BYTES = 1 << 20
"""Most bytes of a line without an end that are held back."""
_LATEST_US = 253_402_214_400_000_000
"""The end of the year 9999, but for a day: no record is of later."""

Piece = tuple[int, bytes]
"""time_us, and whole lines."""


class LogSource:
    """The log of one attempt. It owns both descriptors."""

    def __init__(self, run: int, task: str, attempt: int, log_fd: int, index_fd: int) -> None:
        self.run = run
        self.task = task
        self.attempt = attempt
        self.position = 0
        """Bytes of the log before this one are done with."""
        self.since_us = 0
        self.ended = False
        """Whether the end record was read."""
        self._log_fd = log_fd
        self._index_fd = index_fd
        self._index_at = 0
        self._records: list[Record] = []
        self._number = 0  # of the next record in `_records`
        self._last_us = 0
        self._carry = b""
        self._carry_us = 0
        self._buffer = b""
        self._buffer_at = 0

    def close(self) -> None:
        posix.close(self._log_fd)
        posix.close(self._index_fd)

    def size_bytes(self) -> int:
        return posix.fstat(self._log_fd).st_size

    def without_index(self) -> None:
        """No more records come: what none of them tells of is of the log's last change."""
        if not self._last_us and not self._records:
            self._read_index()
        if not self._last_us and not self._records:
            self._last_us = max(1, posix.fstat(self._log_fd).st_mtime_ns // 1000)

    def start_at_tail(self, lines: int) -> None:
        """Leave out all but the last lines, now."""
        self.position = tail_offset(self._log_fd, self.size_bytes(), lines)

    def next_us(self) -> int | None:
        """The time of what comes next; None if nothing is there yet."""
        if self._number >= len(self._records):
            self._read_index()
        if self._number < len(self._records):
            record = self._records[self._number]
            # Bytes before the record that were not there when the one before it was read are of that one's time.
            return self._last_us if self.position < record[0] and self._last_us else record[1]
        return self._last_us if self._last_us and self.position < self.size_bytes() else None

    def pieces(self, until_us: int | None = None) -> list[Piece]:
        """What is there of times before `until_us`, up to about READ_BYTES; empty: nothing more for now."""
        found: list[Piece] = []
        budget = READ_BYTES
        while budget > 0 and (time_us := self.next_us()) is not None:
            if until_us is not None and time_us >= until_us:
                break
            end = self._step(time_us, found)
            if time_us < self.since_us:
                self.position = max(self.position, end)
                budget -= RECORD_BYTES
                continue
            data = self._read(end, time_us, found)
            if data:
                self._add_lines(found, time_us, data)
            budget -= RECORD_BYTES + len(data)
        return found

    def copy(self) -> bytes:
        """The next bytes as they are, without regard to the index; empty: no more for now."""
        found: list[Piece] = []
        data = self._read(self.size_bytes(), 0, found)
        return b"".join(note for _, note in found) + data

    def look_for_end(self) -> None:
        """See whether the end record is there, without reading all before it: only notes come after it."""
        size = posix.fstat(self._index_fd).st_size // RECORD_BYTES * RECORD_BYTES
        last = parse(posix.pread(self._index_fd, 16 * RECORD_BYTES, max(0, size - 16 * RECORD_BYTES)))
        self.ended = self.ended or any(record[2] == END for record in last)

    def rest(self) -> Piece | None:
        """The begin of a line whose end has not come; taken, it is forgotten here."""
        if not self._carry:
            return None
        piece = (self._carry_us, self._carry)
        self._carry = b""
        return piece

    def _read_index(self) -> None:
        records = parse(posix.pread(self._index_fd, _RECORDS_PER_READ * RECORD_BYTES, self._index_at))
        self._index_at += len(records) * RECORD_BYTES
        # What was cut is seen in the log itself, as a hole; an index may be too long to look for its newest CUT.
        self._records = [record for record in records if record[2] != CUT]
        self._number = 0
        size = self.size_bytes()
        if any(offset > size or time_us > _LATEST_US for offset, time_us, _, _ in self._records):
            self._records = [_sensible(record, size) for record in self._records]  # somebody has cut one of the files

    def _step(self, time_us: int, found: list[Piece]) -> int:
        """Go to the next record once the bytes of the current one are read; where the bytes of `time_us` end."""
        if self._number >= len(self._records):
            return self.size_bytes()
        offset, _, kind, value = self._records[self._number]
        if self.position < offset and self._last_us:
            return offset
        self._last_us = time_us
        end = self._next_offset()
        if self.position >= end or end - self.position <= READ_BYTES or time_us < self.since_us:
            self._number += 1
            self.ended = self.ended or kind == END
            if kind == GAP and not self._is_note(offset):
                self._add_note(found, time_us, f"pyflow: {value} bytes of output, or fewer, are missing here\n")
        return min(end, max(self.position, offset) + READ_BYTES)

    def _next_offset(self) -> int:
        """The offset of the record after the current one; the log's size if there is none yet."""
        if self._number + 1 < len(self._records):
            return self._records[self._number + 1][0]
        size = self.size_bytes()
        # The logger writes no two CUTs without another record between them: a few records are enough.
        for record in parse(posix.pread(self._index_fd, 4 * RECORD_BYTES, self._index_at)):
            if record[2] != CUT:
                return min(record[0], size)
        return size

    def _is_note(self, offset: int) -> bool:
        """Whether the record that follows is the logger's own note about a gap at `offset`."""
        if self._number < len(self._records):
            record = self._records[self._number]
            return record[2] == NOTE and record[0] == offset
        return False

    def _read(self, end: int, time_us: int, found: list[Piece]) -> bytes:
        """Bytes from `position` up to `end`, fewer at the end of a buffer; a hole is passed over and told."""
        data = b""
        while self.position < end and not data:
            at = self.position - self._buffer_at
            if not 0 <= at < len(self._buffer):
                self._fill(time_us, found)
                at = self.position - self._buffer_at
                if not self._buffer:
                    break
            data = self._buffer[at : at + max(0, end - self.position)]
            self.position += len(data)
        return data

    def _fill(self, time_us: int, found: list[Piece]) -> None:
        """Read ahead from `position`, which moves to the end of a hole if it stands in one.

        Holes are looked for after the read: what is one stays one, so bytes before it are the task's.
        """
        self._buffer = posix.pread(self._log_fd, READ_BYTES, self.position)
        self._buffer_at = self.position
        if not self._buffer:
            return
        hole = posix.lseek(self._log_fd, self.position, posix.SEEK_HOLE)
        if hole > self.position:
            self._buffer = self._buffer[: hole - self.position]
            return
        try:
            after = posix.lseek(self._log_fd, self.position, posix.SEEK_DATA)
        except OSError:  # nothing but the hole
            after = self.size_bytes()
        size = (after - self.position) / (1 << 20)
        self._add_note(found, time_us, f"pyflow: {size:.1f} MiB are left out here to keep the quota of the log\n")
        self.position = after
        self._buffer = posix.pread(self._log_fd, READ_BYTES, after)
        self._buffer_at = after

    def _add_lines(self, found: list[Piece], time_us: int, data: bytes) -> None:
        if self._carry:
            first = data.find(b"\n") + 1
            if not first and len(self._carry) < _CARRY_MAX_BYTES:
                self._carry += data
                return
            found.append((self._carry_us, self._carry + data[:first]))
            self._carry = b""
            data = data[first:]
        cut = data.rfind(b"\n") + 1
        if cut:
            found.append((time_us, data[:cut]))
        if cut < len(data):
            self._carry, self._carry_us = data[cut:], time_us

    def _add_note(self, found: list[Piece], time_us: int, text: str) -> None:
        if rest := self.rest():
            found.append((rest[0], rest[1] + b"\n"))
        found.append((time_us, text.encode()))


def _sensible(record: Record, size_bytes: int) -> Record:
    """A record tells of nothing that is not there: the log is written before its index."""
    offset, time_us, kind, value = record
    return min(offset, size_bytes), min(time_us, _LATEST_US), kind, value


def tail_offset(log_fd: int, size_bytes: int, lines: int) -> int:
    """Where the last `lines` lines of a file begin; 0 if it has no more than these."""
    at = size_bytes
    wanted = lines + 1  # the newline before the first line that is shown
    if size_bytes and posix.pread(log_fd, 1, size_bytes - 1) != b"\n":
        wanted -= 1
    while at > 0:
        begin = max(0, at - (1 << 16))
        block = posix.pread(log_fd, at - begin, begin)
        count = block.count(b"\n")
        if count >= wanted:
            cut = len(block)
            for _ in range(wanted):
                cut = block.rfind(b"\n", 0, cut)
            return begin + cut + 1
        wanted -= count
        at = begin
    return 0
