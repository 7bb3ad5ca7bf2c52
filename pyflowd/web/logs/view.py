"""What of a log a page shows at first: a place in it or its first fault, and its end; the rest as rows to be opened."""

from __future__ import annotations

from msgspec import Struct

from pyflowd.web.logs.block import BLOCK_LINES, Row, between, block
from pyflowd.web.logs.errors import first_error, last_error
from pyflowd.web.logs.opened import Log

BEFORE = 6
"""Lines that are shown before the one that a page opens at."""
TAIL = 40
"""Lines of the end that are always shown."""


class LogShown(Struct, frozen=True, kw_only=True):
    rows: list[Row]
    total: int
    size: int
    """Bytes."""
    live: bool
    since_us: int
    """When the attempt began, which offsets count from."""
    at: int = 0
    """The line that it opens at; 0: its end."""
    error: int = 0
    """The first line that tells of a fault; 0: none is known."""
    last_error: int = 0
    """The last one of the log's end."""
    unfinished: bool = False


def shown(
    log: Log, *, since_us: int, failed: bool, at: int = 0, wanted: str = "", lines_max: int = BLOCK_LINES
) -> LogShown:
    """`failed`: open at the first fault. `at`: open there instead. `lines_max`: of each of the two parts."""
    lines = log.map()
    error = (first_error(log.fd, lines) or 0) if failed else 0
    last = (last_error(log.fd, lines) or 0) if failed else 0
    place = min(at, lines.lines) or error
    rows: list[Row] = []
    tail = max(1, lines.lines - (TAIL if place else lines_max) + 1)
    done = 1
    if place and place < tail:
        first = max(1, place - BEFORE)
        rows += [between(1, first)] if first > 1 else []
        part = block(log, lines, first, most=min(lines_max, tail - first), since_us=since_us, wanted=wanted)
        rows += part.rows
        done = part.after
    elif place:  # all from there on is shown
        tail = max(1, place - BEFORE)
    if done < tail:
        rows.append(between(done, tail))
    unfinished = False
    done = max(done, tail)
    while done <= lines.lines:  # the end is whole, however long its lines are: two or three blocks at most
        part = block(log, lines, done, since_us=since_us, wanted=wanted)
        rows += part.rows
        done, unfinished = part.after, part.unfinished
    return LogShown(
        rows=rows, total=lines.lines, size=lines.size, live=log.live, since_us=since_us, at=place, error=error,
        last_error=last, unfinished=unfinished,
    )  # fmt: skip
