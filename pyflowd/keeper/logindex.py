"""The index beside a task's log: when which bytes arrived, and what is missing.

A log file holds the task's output verbatim. Its index is a file of records of 24 bytes, little endian:

    u64 offset    a position in the log file
    u64 time_us   wall clock, microseconds since the Unix epoch
    u32 kind      low 16 bits: one of the kinds below; high 16 bits: of DATA the stream, else 0
    u32 value     as the kind says

The stream is 1 for standard output, 2 for standard error, 0 for both of them together.

    DATA 1   The bytes from `offset` up to the offset of the next record that is no CUT arrived at `time_us` (reads
             within 1 ms of each other share a record). value: 0.
    GAP  2   Output, of either stream, is missing at `offset`: at most `value` bytes (0xFFFFFFFF: that or more),
             because the disk was full or a logger died.
    CUT  3   To keep the quota, the middle is left out: there is a hole of `value` blocks of 4,096 bytes from
             `offset` on, which reads as NUL bytes. Later holes begin where the earlier began and are longer: the
             newest CUT says it all.
    END  4   The last writer has closed; the log is complete, and `offset` is its size. value: 0. Only notes follow.
    NOTE 5   The `value` bytes from `offset` on are PyFlow's own words, one or more lines, not the task's.

Records but CUT stand in the order of their offsets. A reader drops a last record that is cut off, and passes over
kinds that it does not know. Bytes to records and back, nothing else; it imports nothing but `struct`.
"""

from __future__ import annotations

import struct

DATA, GAP, CUT, END, NOTE = 1, 2, 3, 4, 5
RECORD_BYTES = 24
CUT_BLOCK_BYTES = 4096
VALUE_MAX = 0xFFFF_FFFF
STREAMS = TOGETHER, STDOUT, STDERR = range(3)

_RECORD = struct.Struct("<QQII")

Record = tuple[int, int, int, int]
"""offset, time_us, kind (without the stream), value."""


def pack(offset: int, time_us: int, kind: int, value: int = 0, stream: int = 0) -> bytes:
    """The bytes of one record; a value too large for the field is written as `VALUE_MAX`."""
    return _RECORD.pack(offset, time_us, kind | stream << 16, min(value, VALUE_MAX))


def parse(content: bytes) -> list[Record]:
    """All whole records of an index, or of a part of it that begins at a record."""
    whole = len(content) - len(content) % RECORD_BYTES
    return [
        (offset, time_us, kind & 0xFFFF, value) for offset, time_us, kind, value in _RECORD.iter_unpack(content[:whole])
    ]


def streams(content: bytes) -> list[int]:
    """Of the same records the stream of each, one of STREAMS; 0 where it is no DATA."""
    whole = len(content) - len(content) % RECORD_BYTES
    return [kind >> 16 for _, _, kind, _ in _RECORD.iter_unpack(content[:whole])]


def holes(records: list[Record]) -> tuple[int, int] | None:
    """Start and end of what is left out of the log, by its newest CUT; None if nothing is."""
    for offset, _, kind, value in reversed(records):
        if kind == CUT:
            return offset, offset + value * CUT_BLOCK_BYTES
    return None
