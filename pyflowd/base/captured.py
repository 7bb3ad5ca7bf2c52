"""What a task said on one of its two streams, taken from its log by the index beside it: `capture: stdout`.

The end of a process may be told before its last output is on the disk, and the logger may have had to leave something
out: both are said, so that a part is never taken for the whole. It knows the form of the index; it does not know
what the bytes are for, and it waits for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import Struct

from pyflowd.keeper.logindex import CUT, DATA, END, GAP, NOTE, RECORD_BYTES, STDERR, STDOUT, holes, parse

_CHUNK_BYTES = 43_690 * RECORD_BYTES
_TAIL_BYTES = 16 * RECORD_BYTES
"""Behind the end record stand a few notes at most."""
_READ_BYTES = 4096
"""At least so much of the log is read at once: pieces of two streams lie close to each other."""


class Captured(Struct, frozen=True, kw_only=True):
    """The bytes of one stream. `finished`: all that the task said is on the disk; until then the rest is empty."""

    data: bytes = b""
    finished: bool = False
    problem: str = ""
    """Why `data` is not all that the task said, in one line."""
    too_long: bool = False
    """It is more than was allowed; `data` is empty and `problem` says so."""

    @property
    def complete(self) -> bool:
        """Whether `data` is all that the task said on this stream."""
        return self.finished and not self.problem


def read_stream(log_fd: int, index_fd: int, stream: int, max_bytes: int) -> Captured:
    """What stands in a log of `stream`, STDOUT or STDERR, of an attempt that was started with `apart`.

    Cheap while the log is not finished, so it may be asked again and again; then it costs up to 0.1 s for each
    million records of the index. Reads without moving the descriptors' positions. Raises OSError.
    """
    if stream not in (STDOUT, STDERR):
        raise ValueError(f"{stream} is no stream that is kept apart")
    if not is_finished(index_fd):
        return Captured()
    index = _Index(index_fd, stream)
    pieces: list[tuple[int, int]] = []
    size_bytes, log_bytes = 0, os.fstat(log_fd).st_size
    for begin, end in index.pieces():
        if not begin <= end <= log_bytes:
            return Captured(finished=True, problem="the log and its index do not fit: somebody has changed one of them")
        size_bytes += end - begin
        if size_bytes > max_bytes:
            return Captured(finished=True, too_long=True, problem=f"it is more than {max_bytes} bytes")
        pieces.append((begin, end))
    return Captured(data=_read(log_fd, pieces), finished=True, problem=index.problem(pieces))


def is_finished(index_fd: int) -> bool:
    """Whether the end record is there: all output has arrived."""
    whole = os.fstat(index_fd).st_size // RECORD_BYTES * RECORD_BYTES
    tail = os.pread(index_fd, _TAIL_BYTES, max(0, whole - _TAIL_BYTES))
    return any(record[2] == END for record in parse(tail))


class _Index:
    """A walk through an index, in chunks: it may be far longer than what is looked for."""

    def __init__(self, index_fd: int, stream: int) -> None:
        self._index_fd = index_fd
        self._stream = stream
        self._cut = b""
        self._has_gap = False
        self._has_together = False

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Begin and end, in the log, of what came on the stream, in order."""
        begin = -1
        at = 0
        while len(chunk := os.pread(self._index_fd, _CHUNK_BYTES, at)) >= RECORD_BYTES:
            at += len(chunk) - len(chunk) % RECORD_BYTES
            chunk = chunk[: len(chunk) - len(chunk) % RECORD_BYTES]
            # The low bytes of kind and stream, one for each record: searching these is fast.
            kinds, streams = chunk[16::RECORD_BYTES], chunk[18::RECORD_BYTES]
            self._look_for_problems(chunk, kinds, streams)
            n = -1
            while True:
                if begin < 0:
                    n = streams.find(self._stream, n + 1)
                    if n < 0:
                        break
                    begin = _offset(chunk, n)
                n = _next_bound(kinds, n + 1)
                if n < 0:
                    break  # the piece goes on in the next chunk
                yield begin, _offset(chunk, n)
                begin = -1
                n -= 1  # the record that ends a piece may begin the next one

    def _look_for_problems(self, chunk: bytes, kinds: bytes, streams: bytes) -> None:
        self._has_gap = self._has_gap or GAP in kinds
        # Only DATA has a stream, so without one it is of both together.
        self._has_together = self._has_together or kinds.count(DATA) != len(streams) - streams.count(0)
        newest = kinds.rfind(CUT)
        if newest >= 0:
            self._cut = chunk[newest * RECORD_BYTES : (newest + 1) * RECORD_BYTES]

    def problem(self, pieces: list[tuple[int, int]]) -> str:
        """Why these pieces are not the whole, once all of them are known; empty: they are."""
        if self._has_together:
            return "the keeper that ran the task could not keep its standard output and error apart"
        if self._has_gap:
            return "some of it is missing: the disk was full, or the logger was killed"
        hole = holes(parse(self._cut))
        if hole and any(begin < hole[1] and hole[0] < end for begin, end in pieces):
            return "its middle was left out to keep the quota of the log"
        return ""


def _offset(chunk: bytes, n: int) -> int:
    return int.from_bytes(chunk[n * RECORD_BYTES : n * RECORD_BYTES + 8], "little")


def _next_bound(kinds: bytes, n: int) -> int:
    """The first record from `n` on that ends a piece: no CUT, and none of an unknown kind. -1: none."""
    return next((at for at in range(n, len(kinds)) if kinds[at] in (DATA, GAP, END, NOTE)), -1)


def _read(log_fd: int, pieces: list[tuple[int, int]]) -> bytes:
    found: list[bytes] = []
    buffer, buffer_at = b"", 0
    for begin, end in pieces:
        if not buffer_at <= begin <= end <= buffer_at + len(buffer):
            buffer, buffer_at = os.pread(log_fd, max(_READ_BYTES, end - begin), begin), begin
        found.append(buffer[begin - buffer_at : end - buffer_at])
    return b"".join(found)
