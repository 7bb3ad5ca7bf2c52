"""Where the lines of a log begin: a map made by one pass over the file, of eight bytes for each 64 KiB of it.

A log that lost its middle to the quota has a hole; the lines after it are counted on, and none reaches over it. Knows
nothing of what lines say.
"""

from __future__ import annotations

import os
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from typing import NamedTuple

CHUNK_BYTES = 1 << 16
_READ_BYTES = 16 * CHUNK_BYTES
MAPS_MAX = 64
"""Maps kept by the process: of a log of 100 MB one has 13 KB."""


class Line(NamedTuple):
    number: int
    """From 1."""
    begin: int
    end: int
    """Offsets in the file, without the line's end."""


class Hole(NamedTuple):
    after: int
    """The number of the last line before it."""
    begin: int
    end: int


class _Segment:
    """Bytes without a hole: where each newline is, by chunks."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.end = begin
        self.counts = array("Q")
        """Newlines up to the end of each whole chunk."""
        self.rest = 0
        """In what comes after the last whole chunk."""
        self.open = False
        """The last line has no end yet."""

    @property
    def lines(self) -> int:
        return self._newlines + self.open

    @property
    def _newlines(self) -> int:
        return (self.counts[-1] if self.counts else 0) + self.rest

    def extend(self, fd: int, end: int) -> None:
        """Count what has come since."""
        if end <= self.end:
            return
        at = self.begin + len(self.counts) * CHUNK_BYTES
        total = self.counts[-1] if self.counts else 0
        self.rest = 0
        last = b"\n"
        while at < end:
            data = os.pread(fd, min(_READ_BYTES, end - at), at)
            if not data:
                break
            for begin in range(0, len(data), CHUNK_BYTES):
                found = data.count(b"\n", begin, begin + CHUNK_BYTES)
                if begin + CHUNK_BYTES <= len(data):
                    total += found
                    self.counts.append(total)
                else:
                    self.rest = found
            at += len(data)
            last = data[-1:]
        self.end = at
        self.open = last != b"\n"

    def start(self, fd: int, line: int) -> int:
        """Where a line begins, from 0; of the line after the last: the end."""
        if line <= 0:
            return self.begin
        if line > self._newlines:
            return self.end
        chunk = bisect_left(self.counts, line)
        left = line - (self.counts[chunk - 1] if chunk else 0)
        at = self.begin + chunk * CHUNK_BYTES
        data = os.pread(fd, min(CHUNK_BYTES, self.end - at), at)
        found = -1
        for _ in range(left):
            found = data.find(b"\n", found + 1)
            if found < 0:
                return self.end  # somebody has cut the file
        return at + found + 1

    def line_at(self, fd: int, offset: int) -> int:
        """The line, from 0, that has the byte at `offset`."""
        chunk = min((offset - self.begin) // CHUNK_BYTES, len(self.counts))
        at = self.begin + chunk * CHUNK_BYTES
        before = self.counts[chunk - 1] if chunk else 0
        return before + os.pread(fd, offset - at, at).count(b"\n")


class LineMap:
    """Of one log. Safe for threads; each has a descriptor of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._head = _Segment(0)
        self._tail: _Segment | None = None
        self.size = 0
        """Bytes that are counted."""
        self.memory: dict[str, tuple[int, int | None]] = {}
        """What a search for a first line found: up to which offset it looked, and the line's offset."""

    def extend(self, fd: int) -> None:
        """Count what has come since."""
        with self._lock:
            size = os.fstat(fd).st_size
            hole = _hole(fd, size)
            if size < self.size or (hole is None and self._tail is not None):
                self._head, self._tail, self.memory = _Segment(0), None, {}
            if hole is None:
                self._head.extend(fd, size)
            else:
                begin, end = hole
                if self._head.end > begin:  # the middle was left out since
                    self._head, self.memory = _Segment(0), {}
                self._head.extend(fd, begin)
                if self._tail is None or self._tail.begin != end:
                    self._tail = _Segment(end)
                self._tail.extend(fd, size)
            self.size = size

    @property
    def lines(self) -> int:
        return self._head.lines + (self._tail.lines if self._tail else 0)

    @property
    def unfinished(self) -> bool:
        """Whether the last line has no end yet."""
        return (self._tail or self._head).open

    @property
    def hole(self) -> Hole | None:
        return Hole(self._head.lines, self._head.end, self._tail.begin) if self._tail else None

    def segments(self) -> list[tuple[int, int, int]]:
        """Begin, end and the number of the first line of each part that holds bytes."""
        parts = [(self._head.begin, self._head.end, 1)]
        if self._tail is not None:
            parts.append((self._tail.begin, self._tail.end, self._head.lines + 1))
        return parts

    def start(self, fd: int, number: int) -> int:
        """Where a line begins."""
        if self._tail is not None and number > self._head.lines:
            return self._tail.start(fd, number - 1 - self._head.lines)
        return self._head.start(fd, number - 1)

    def number_at(self, fd: int, offset: int) -> int:
        """The number of the line that has this byte."""
        if self._tail is not None and offset >= self._tail.begin:
            return self._head.lines + 1 + self._tail.line_at(fd, offset)
        return 1 + self._head.line_at(fd, min(offset, self._head.end))

    def block(self, fd: int, first: int, lines_max: int, bytes_max: int, line_max: int) -> list[Line]:
        """Lines from `first` on: so many at most, and, but for one, no more bytes than these, of each at most
        `line_max` counted, as no more of it is shown."""
        found: list[Line] = []
        number, total = max(1, first), 0
        while number <= self.lines and len(found) < lines_max and total < bytes_max:
            part = self._tail if self._tail is not None and number > self._head.lines else self._head
            before = self._head.lines if part is self._tail else 0
            at = part.start(fd, number - 1 - before)
            data = os.pread(fd, min(CHUNK_BYTES, part.end - at), at)
            begin = 0
            while (newline := data.find(b"\n", begin)) >= 0 and len(found) < lines_max and total < bytes_max:
                found.append(Line(number, at + begin, at + newline))
                total += min(newline - begin, line_max)
                number, begin = number + 1, newline + 1
            if begin == 0 and number <= before + part.lines:  # longer than what was read
                end = part.start(fd, number - before)
                cut = 0 if number == before + part.lines and part.open else 1
                found.append(Line(number, at, end - cut))
                total += line_max
                number += 1
        return found


def _hole(fd: int, size: int) -> tuple[int, int] | None:
    """The first hole that has bytes after it; a file system that cannot tell has none."""
    try:
        begin = os.lseek(fd, 0, os.SEEK_HOLE)
        if begin >= size:
            return None
        return begin, os.lseek(fd, begin, os.SEEK_DATA)
    except OSError:
        return None


class LineMaps:
    """Of the logs that were read last. One is found by its file, which only a descriptor of the daemon leads to."""

    def __init__(self, most: int = MAPS_MAX) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._maps: OrderedDict[tuple[int, int, str, int], LineMap] = OrderedDict()

    def of(self, fd: int, name: str, attempt: int) -> LineMap:
        """Up to date. `name`: of run and task, as numbers of files are used again."""
        stat = os.fstat(fd)
        key = (stat.st_dev, stat.st_ino, name, attempt)
        with self._lock:
            found = self._maps.pop(key, None) or LineMap()
            self._maps[key] = found
            if len(self._maps) > self._most:
                self._maps.popitem(last=False)
        found.extend(fd)
        return found
