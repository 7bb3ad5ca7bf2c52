"""When the lines of a log arrived, and on which stream: the index beside it, searched, never read whole."""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import NamedTuple

from pyflowd.keeper.logindex import CUT, GAP, NOTE, RECORD_BYTES, STDERR, parse, streams

RECORDS_MAX = 50_000
"""Read for one block at most: a task that writes byte by byte has a record for each."""


class Arrivals:
    """Records that cover some bytes of a log, by their offsets."""

    def __init__(self, rows: list[tuple[int, int, int, int, int]]) -> None:
        """`rows`: offset, time, kind, value, stream; ascending."""
        self._rows = [row for row in rows if row[2] not in (CUT, NOTE)]
        self._offsets = [row[0] for row in self._rows]
        self._notes = [(row[0], row[0] + row[3]) for row in rows if row[2] == NOTE]
        self.gaps = {row[0]: row[3] for row in rows if row[2] == GAP}
        """Offset to how many bytes are missing there, or fewer."""

    def at(self, offset: int) -> Arrival:
        """Of the byte at `offset`."""
        found = bisect_right(self._offsets, offset) - 1
        note = any(begin <= offset < end for begin, end in self._notes)
        if found < 0:
            return Arrival(None, False, note)
        return Arrival(self._rows[found][1], self._rows[found][4] == STDERR, note)


class Arrival(NamedTuple):
    at_us: int | None
    """None: nothing tells of it."""
    stderr: bool
    note: bool
    """PyFlow's own word."""


def arrivals(index_fd: int, begin: int, end: int) -> Arrivals:
    """Of the bytes from `begin` up to `end`."""
    count = os.fstat(index_fd).st_size // RECORD_BYTES
    low, high = 0, count
    while low < high:  # the first record at or after `begin`; a CUT tells no order, its neighbour does
        middle = (low + high) // 2
        offset = next((row[0] for row in _rows(index_fd, middle, 2) if row[2] != CUT), None)
        if offset is None or offset >= begin:
            high = middle
        else:
            low = middle + 1
    number = max(0, low - 2)
    found: list[tuple[int, int, int, int, int]] = []
    while number < count and len(found) < RECORDS_MAX:
        rows = _rows(index_fd, number, 1024)
        if not rows:
            break
        found += rows
        number += len(rows)
        if next((row[0] for row in reversed(rows) if row[2] != CUT), 0) >= end:
            break
    return Arrivals(found)


def _rows(index_fd: int, number: int, count: int) -> list[tuple[int, int, int, int, int]]:
    data = os.pread(index_fd, count * RECORD_BYTES, number * RECORD_BYTES)
    return [(*record, stream) for record, stream in zip(parse(data), streams(data), strict=True)]
