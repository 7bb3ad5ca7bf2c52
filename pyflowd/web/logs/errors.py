"""Which line of a log says that something went wrong: words of levels, ends of tracebacks, what a system call says."""

from __future__ import annotations

import math
import os
import re
import time

from pyflowd.web.logs.linemap import LineMap

_WORDS = (
    rb"\w*error|\w*exception|errors|fatal|critical|panic|panicked|traceback|fail|failed|failure|cannot|"
    rb"denied|no space left|no such file|not found|segfault|segmentation fault|killed|aborted|unbound variable|"
    rb"timed out|refused|unreachable|core dumped"
)
_ERROR = re.compile(rb"(?i)(?<![\w./-])(?:%b)(?![\w-]|\.\w)" % _WORDS)
_NONE = re.compile(
    rb"(?i)\b(?:0|no|without(?: any)?) +(?:\w+ +)?(?:errors?|failures?|failed|exceptions?)\b"
    rb"|\b(?:errors?|failures?|failed|exceptions?)\s*[=:]\s*(?:0|none|null|false)\b"
    rb"|\b(?:debug|trace|info)\b[\]:> ]"
)
"""A line that says that there is none, or is of a level below."""
_RARE = (
    b"error", b"exception", b"fatal", b"critical", b"panic", b"traceback", b"fail", b"cannot", b"denied",
    b"no space left", b"no such file", b"not found", b"segfault", b"segmentation", b"killed", b"aborted", b"unbound",
    b"timed out", b"refused", b"unreachable", b"core dumped",
)  # fmt: skip
"""In every line that matters, in small letters: looking for these first is ten times as fast as the pattern."""
_READ_BYTES = 1 << 20
_LINE_BYTES = 4096
BUDGET_S = 0.4
"""Of one page: a log that is longer is looked at further by the next one."""
LATE_BYTES = 1 << 18


def is_error(line: bytes) -> bool:
    """Whether a line, or what is shown of it, tells of a fault."""
    line = line[:_LINE_BYTES]
    return _ERROR.search(line) is not None and _NONE.search(line) is None


def first_error(fd: int, lines: LineMap, budget_s: float = BUDGET_S) -> int | None:
    """The number of the first line that tells of a fault. None: there is none.

    Of a log that the time does not suffice for: the first in what was looked at, else of its last part; the next call
    looks further.
    """
    looked, found = lines.memory.get("error", (0, None))
    if found is None:
        looked, found = _look(fd, lines, looked, time.monotonic() + budget_s)
        lines.memory["error"] = (looked, found)
    if found is None and looked < lines.size:
        _, found = _look(fd, lines, max(looked, lines.size - LATE_BYTES), math.inf)
    return None if found is None else lines.number_at(fd, found)


def last_error(fd: int, lines: LineMap) -> int | None:
    """The number of the last line that tells of a fault, in the log's last part. None: there is none.

    It mostly says why: scripts go on after a fault that they have expected, and a traceback ends with its error.
    """
    begin = max(0, lines.size - LATE_BYTES)
    data = os.pread(fd, lines.size - begin, begin)
    end = len(data)
    while end > 0:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if is_error(data[start:end]):
            return lines.number_at(fd, begin + start)
        end = start
    return None


def _look(fd: int, lines: LineMap, looked: int, end_s: float) -> tuple[int, int | None]:
    """Up to where it was looked, and where the line begins that was found."""
    for begin, end, _ in lines.segments():
        at = max(begin, looked)
        while at < end:
            data = os.pread(fd, min(_READ_BYTES, end - at), at)
            if not data:
                return at, None
            whole = data.rfind(b"\n") + 1 or len(data)
            if (hit := _first(data, whole)) is not None:
                return at + hit, at + hit
            at += whole
            if time.monotonic() > end_s:
                return at, None
    return lines.size, None


def _first(data: bytes, end: int) -> int | None:
    """Where in whole lines the first that matters begins."""
    low = data[:end].lower()
    at = 0
    # Where each word comes next: none is looked for again before it was passed.
    comes = {word: low.find(word) for word in _RARE}
    while True:
        nearest = min((place for place in comes.values() if place >= 0), default=-1)
        if nearest < 0:
            return None
        begin = low.rfind(b"\n", 0, nearest) + 1
        stop = low.find(b"\n", nearest)
        stop = end if stop < 0 else stop
        if is_error(low[max(begin, nearest - 2048) : stop]):
            return begin
        at = stop
        comes = {word: low.find(word, at) if 0 <= place < at else place for word, place in comes.items() if place >= 0}
