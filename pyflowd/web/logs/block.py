"""A block of a log: up to 200 lines or 64 KiB of it, with when they came and what is missing between them."""

from __future__ import annotations

import os

from msgspec import Struct

from pyflowd.clock import US
from pyflowd.web.logs.arrivals import Arrivals, arrivals
from pyflowd.web.logs.errors import is_error
from pyflowd.web.logs.linemap import Line, LineMap
from pyflowd.web.logs.opened import Log
from pyflowd.web.logs.text import Span, marked, spans
from pyflowd.web.times import number, size

BLOCK_LINES = 200
BLOCK_BYTES = 64 << 10
LINE_BYTES = 4 << 10
"""More of a line is behind a link."""


class Row(Struct, frozen=True, kw_only=True):
    """One line, or what is missing before one."""

    number: int = 0
    """0: not a line."""
    offset: str = ""
    """`+3:31.7`: since the attempt began."""
    at_us: int | None = None
    spans: list[Span] = []
    css: str = ""
    cut: int = 0
    """Bytes that are not shown."""
    text: str = ""
    """Where it is no line: what is missing."""
    first: int = 0
    """Where it is no line but lines that are left out: the first of them."""
    until: int = 0
    """And the one after the last."""


class Block(Struct, frozen=True, kw_only=True):
    rows: list[Row]
    first: int
    after: int
    """The number of the line after the last."""
    total: int
    unfinished: bool
    """The last line of the log has no end yet, and is in this block."""


def block(
    log: Log, lines: LineMap, first: int, *, most: int = BLOCK_LINES, since_us: int = 0, wanted: str = ""
) -> Block:
    """Lines from `first` on. `since_us`: when the attempt began; `wanted`: what is marked in them."""
    first = max(1, first)
    found = lines.block(log.fd, first, min(most, BLOCK_LINES), BLOCK_BYTES, LINE_BYTES)
    rows: list[Row] = []
    if found:
        came = arrivals(log.index_fd, found[0].begin, found[-1].end)
        buffer, begin = _whole(log.fd, found)
        hole = lines.hole
        for line in found:
            rows += _missing(came, line, hole.begin if hole else -1)
            rows.append(_row(log.fd, line, buffer, begin, came, since_us, wanted))
            if hole is not None and line.number == hole.after:
                rows.append(Row(text=f"{size(hole.end - hole.begin)} left out here to keep the quota of the log"))
    after = found[-1].number + 1 if found else first
    last = after > lines.lines
    return Block(
        rows=rows, first=first, after=after, total=lines.lines, unfinished=last and bool(found) and lines.unfinished
    )


def _whole(fd: int, found: list[Line]) -> tuple[bytes, int]:
    """Where the lines are short and next to each other, all their bytes by one read."""
    begin, end = found[0].begin, found[-1].end
    return (os.pread(fd, end - begin, begin), begin) if end - begin <= 4 * BLOCK_BYTES else (b"", 0)


def _row(fd: int, line: Line, buffer: bytes, begin: int, came: Arrivals, since_us: int, wanted: str) -> Row:
    length = line.end - line.begin
    if buffer and length <= LINE_BYTES:
        data = buffer[line.begin - begin : line.end - begin]
    else:
        data = os.pread(fd, min(length, LINE_BYTES), line.begin)
    cut = max(0, length - LINE_BYTES)
    if cut:
        data, cut = _long(fd, line, data)
    arrival = came.at(line.begin)
    css = "err" if is_error(data) else ""
    if arrival.note:
        css = "note"
    return Row(
        number=line.number,
        offset="" if arrival.at_us is None or not since_us else offset(arrival.at_us - since_us),
        at_us=arrival.at_us,
        spans=marked(spans(data), wanted),
        css=" ".join(name for name in (css, "e2" if arrival.stderr else "") if name),
        cut=cut,
    )


def _long(fd: int, line: Line, data: bytes) -> tuple[bytes, int]:
    """The begin of a long line and how much is left out; of one that is written over and over its last state."""
    tail = os.pread(fd, LINE_BYTES, line.end - LINE_BYTES).rstrip(b"\r")
    state = tail.rpartition(b"\r")
    if state[1]:
        return state[2], 0
    data = _whole_characters(data)
    return data, line.end - line.begin - len(data)


def _whole_characters(data: bytes) -> bytes:
    """Without the begin of a UTF-8 character whose end was cut off."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            return data[:-back] if (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) > back else data
    return data


def _missing(came: Arrivals, line: Line, hole: int) -> list[Row]:
    found = [count for at, count in came.gaps.items() if line.begin <= at <= line.end and at != hole]
    return [Row(text=f"{number(count)} bytes of output, or fewer, are missing here") for count in found]


def between(first: int, until: int) -> Row:
    """Lines that are left out of a page, from `first` up to but not with `until`."""
    count = until - first
    return Row(text=f"{number(count)} {'line' if count == 1 else 'lines'}", first=first, until=until)


def offset(us: int) -> str:
    """`+0:02.1`, `+1:02:03.4`."""
    tenths = max(0, us) * 10 // US
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes:02}" if hours else f"{minutes}"
    return f"+{f'{hours}:' if hours else ''}{clock}:{rest // 10:02}.{rest % 10}"
